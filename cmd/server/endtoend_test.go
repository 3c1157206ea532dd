//go:build endtoend

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/alerttest"
)

// The end-to-end tests run the binaries that `make server agent` built, as a user would, on this machine's real values.
const (
	binaries   = "../../.build/"
	agentToken = "agent-token-of-the-test"
	apiToken   = "api-token-of-the-test"
	password   = "correct horse battery"
	botToken   = "1234:token-of-the-test"
)

// product is a running server with one agent.
type product struct {
	t          *testing.T
	http, grpc string
	server     *process
	agent      *process
}

type process struct {
	command *exec.Cmd
	ended   chan struct{}
	err     error
	output  *lockedBuffer
}

func startProcess(t *testing.T, environment []string, name string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(name, args...), ended: make(chan struct{}), output: &lockedBuffer{}}
	p.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, environment...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	require.NoError(t, p.command.Start())
	go func() {
		p.err = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill() // it may have ended already
		<-p.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.output)
		}
	})
	return p
}

// stop asks the process to end, and requires that it does so cleanly.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.command.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
		require.NoError(t, p.err, "a stop exits 0\n%s", p.output)
	case <-time.After(30 * time.Second):
		t.Fatalf("no end within 30 s of SIGTERM\n%s", p.output)
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// startProduct runs a server with a configuration file and an agent that takes a sample a second.
func startProduct(t *testing.T, config string, environment ...string) *product {
	t.Helper()
	directory := t.TempDir()
	file := filepath.Join(directory, "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	p := &product{t: t, http: freeAddress(t), grpc: freeAddress(t)}
	p.server = startProcess(t, append(environment, "GOHUB_AGENT_TOKEN="+agentToken, "GOHUB_API_TOKEN="+apiToken),
		binaries+"gohub-server", "--config", file, "--http-listen", p.http, "--grpc-listen", p.grpc, "--data-dir", filepath.Join(directory, "data"))
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + p.http + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond, "the server is ready")
	p.agent = startProcess(t, []string{"GOHUB_TOKEN=" + agentToken}, binaries+"gohub-agent", "run",
		"--server", p.grpc, "--interval", "1s", "--state-dir", filepath.Join(directory, "agent"))
	return p
}

// get reads a REST answer with the API token.
func (p *product) get(path string, into any) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.http+path, nil)
	require.NoError(p.t, err)
	request.Header.Set("Authorization", "Bearer "+apiToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, response.StatusCode, string(body))
	require.NoError(p.t, json.Unmarshal(body, into))
}

// waitForHost returns when the server shows this machine with a CPU value.
func (p *product) waitForHost() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var answer struct {
			Hosts []struct {
				Status string
				Latest struct{ Values map[string]float64 }
			}
		}
		p.get("/api/v1/hosts", &answer)
		if len(answer.Hosts) != 1 || answer.Hosts[0].Status != "HOST_STATUS_UP" {
			return false
		}
		_, ok := answer.Hosts[0].Latest.Values["cpu_usage_percent"]
		return ok
	}, 30*time.Second, 100*time.Millisecond, "the host is up and tells its CPU")
}

// burn keeps every core busy until the returned function is called.
func burn() (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	for range runtime.NumCPU() {
		group.Go(func() {
			for x := 1.0; ; x *= 1.0000001 {
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		close(done)
		group.Wait()
	})
}

// TestEndToEndForeignWebSocket follows the live values with somebody else's client, which knows docs/live.md only.
func TestEndToEndForeignWebSocket(t *testing.T) {
	p := startProduct(t, "")
	p.waitForHost()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := exec.CommandContext(ctx, "node", "e2e/foreign.mjs", "http://"+p.http, apiToken)
	client.Dir = "../../web"
	said, err := client.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "refusals:")
}

// TestEndToEndDashboard looks at the product through a browser: this machine is listed, its CPU value changes, the
// graph has points and still has them after a reload; under real load an alert fires, is shown, and is sent by e-mail,
// Telegram and webhook; when the load ends it resolves.
func TestEndToEndDashboard(t *testing.T) {
	mail, err := alerttest.NewSMTP(alerttest.SMTPOptions{})
	require.NoError(t, err)
	defer mail.Close()
	telegram := alerttest.NewTelegram(botToken)
	defer telegram.Close()
	webhook := alerttest.NewWebhook("webhook secret")
	defer webhook.Close()
	p := startProduct(t, fmt.Sprintf(`
alerts:
  interval: 1s
  rules:
    - {name: busy, metric: cpu_usage_percent, op: ">", threshold: 97, resolve: 90, for: 4s, severity: critical}
  notify:
    email:
      - {name: mail, host: %s, port: %d, tls: none, from: gohub@example.org, to: [ops@example.org]}
    telegram:
      - {name: bot, token: %q, chat_ids: ["-1001"], api_url: %q}
    webhooks:
      - {name: hook, url: %q, secret: webhook secret, allow_private: true}
`, mail.Host, mail.Port, botToken, telegram.URL, webhook.URL), "GOHUB_PASSWORD="+password)
	p.waitForHost()

	browser := exec.CommandContext(t.Context(), "node", "e2e/dashboard.mjs", "http://"+p.http, password)
	browser.Dir = "../../web"
	browser.Stderr = os.Stderr
	steps, err := browser.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, browser.Start())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	stopLoad, before := func() {}, 0
	defer func() { stopLoad() }()
	reached := map[string]bool{}
	for scanner := bufio.NewScanner(steps); scanner.Scan(); {
		step := scanner.Text()
		t.Log("browser: " + step)
		reached[step] = true
		switch step {
		case "waiting for an alert":
			// On a busy machine the alert may have fired by itself.
			require.Eventually(t, func() bool { return p.firing() == 0 }, 2*time.Minute, time.Second, "the machine is calm")
			before = len(webhook.Requests())
			stopLoad = burn()
		case "alert shown":
			requireNotified(ctx, t, before+1, "firing", mail, telegram, webhook)
			stopLoad()
		}
	}
	require.NoError(t, browser.Wait())
	require.True(t, reached["label set, and hosts found by it"])
	require.True(t, reached["alert resolved"])
	requireNotified(ctx, t, before+2, "resolved", mail, telegram, webhook)

	p.agent.stop(t)
	p.server.stop(t)
}

// firing returns how many alerts fire.
func (p *product) firing() int {
	var answer struct{ Alerts []struct{ State string } }
	p.get("/api/v1/alerts", &answer)
	count := 0
	for _, alert := range answer.Alerts {
		if alert.State == "ALERT_STATE_FIRING" {
			count++
		}
	}
	return count
}

// requireNotified waits until each receiver has its nth message, which says that the alert is in that state.
func requireNotified(ctx context.Context, t *testing.T, n int, state string, mail *alerttest.SMTP, telegram *alerttest.Telegram, webhook *alerttest.Webhook) {
	t.Helper()
	mails, err := mail.Wait(ctx, n)
	require.NoError(t, err)
	messages, err := telegram.Wait(ctx, n)
	require.NoError(t, err)
	requests, err := webhook.Wait(ctx, n)
	require.NoError(t, err)
	require.Equal(t, []string{"ops@example.org"}, mails[n-1].To)
	require.Contains(t, string(mails[n-1].Raw), "busy")
	require.Equal(t, "-1001", messages[n-1].Form["chat_id"])
	require.Contains(t, messages[n-1].Form["text"], "busy")
	require.Contains(t, strings.ToLower(string(requests[n-1].Body)), state)
}

// TestEndToEndPrometheus has a real Prometheus scrape the server with its token, and asks it for what it stored, also as dashboards
// and rules made for node_exporter do.
func TestEndToEndPrometheus(t *testing.T) {
	p := startProduct(t, "", "GOHUB_PASSWORD="+password, "GOHUB_METRICS_NODE_EXPORTER=true")
	p.waitForHost()

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.http+"/metrics", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "metrics need the token")

	request.Header.Set("Authorization", "Bearer "+apiToken)
	response, err = http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	requireNoComplaints(t, response.Body)
	request.URL.Path = "/metrics/hosts"
	response, err = http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	requireNoComplaints(t, response.Body)

	directory, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(directory, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`
scrape_configs:
  - job_name: node
    scrape_interval: 1s
    honor_labels: true
    authorization: {credentials: %s}
    static_configs: [{targets: [%q]}]
`, apiToken, p.http)), 0o600))
	startProcess(t, nil, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(directory, "data"), "--web.listen-address="+address)
	type series struct {
		Metric map[string]string
		Value  [2]any // when, and the number as text
	}
	ask := func(promql string) []series {
		response, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(promql))
		if err != nil {
			return nil
		}
		defer response.Body.Close()
		var answer struct{ Data struct{ Result []series } }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return nil
		}
		return answer.Data.Result
	}
	hostname, err := os.Hostname()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		result := ask("gohub_memory_used_ratio")
		return len(result) == 1 && result[0].Metric["host"] == hostname
	}, 60*time.Second, 200*time.Millisecond, "Prometheus has this host's memory")

	// All modes together take as long as the host's clock went on, and every core is there to divide a load by.
	for promql, want := range map[string]func(float64) bool{
		`sum by (instance) (avg without (cpu) (delta(node_cpu_seconds_total{job="node"}[10s]))) / sum by (instance) (delta(node_time_seconds[10s]))`: func(value float64) bool {
			return math.Abs(value-1) < 0.01
		},
		`1 - avg by (instance) (rate(node_cpu_seconds_total{job="node",mode="idle"}[10s]))`: func(value float64) bool { return value > 0 && value < 1 },
		`count by (instance) (node_cpu_seconds_total{job="node",mode="idle"})`:              func(value float64) bool { return value == float64(runtime.NumCPU()) },
	} {
		require.Eventually(t, func() bool {
			result := ask(promql)
			if len(result) != 1 || result[0].Metric["instance"] != hostname {
				return false
			}
			value, err := strconv.ParseFloat(result[0].Value[1].(string), 64)
			return err == nil && want(value)
		}, 60*time.Second, 200*time.Millisecond, promql) // ten seconds until the range is full
	}
}

// requireNoComplaints has Prometheus' own tool read an exposition. It may complain of how node_exporter spells its names.
func requireNoComplaints(t *testing.T, exposition io.Reader) {
	t.Helper()
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = exposition
	output, err := check.CombinedOutput()
	complaints := regexp.MustCompile(`(?m)^node_\w+ metric names should be written in 'snake_case' not 'camelCase'\n`).ReplaceAllString(string(output), "")
	require.Empty(t, complaints)
	if len(output) == 0 {
		require.NoError(t, err)
	}
}

// TestEndToEndForeignClient lists and calls the query service with grpcurl, which knows it by reflection alone.
func TestEndToEndForeignClient(t *testing.T) {
	p := startProduct(t, "", "GOHUB_PASSWORD="+password)
	p.waitForHost()
	grpcurl := func(args ...string) string {
		all := append([]string{"run", "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4", "-plaintext", "-H", "authorization: Bearer " + apiToken}, args...)
		output, err := exec.CommandContext(t.Context(), "go", all...).CombinedOutput()
		require.NoError(t, err, string(output))
		return string(output)
	}
	require.Contains(t, grpcurl(p.grpc, "list"), "gohub.v1.QueryService")
	require.Contains(t, grpcurl(p.grpc, "gohub.v1.QueryService/ListHosts"), `"status": "HOST_STATUS_UP"`)
	answer := grpcurl("-d", `{"hostId": 1, "metrics": ["cpu_usage_percent"], "step": 1}`, p.grpc, "gohub.v1.QueryService/QueryRange")
	require.Regexp(t, `"source": "(memory|raw)"`, answer) // raw if a batch was on its way
	require.Contains(t, answer, `"avg"`)

	// It watches until its time is over.
	output, err := exec.CommandContext(t.Context(), "go", "run", "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4", "-plaintext",
		"-H", "authorization: Bearer "+apiToken, "-max-time", "5", "-d", `{"host": {"hostId": 1}}`, p.grpc, "gohub.v1.LiveService/Watch").CombinedOutput()
	require.Error(t, err)
	for _, part := range []string{`"snapshot"`, `"delta"`, `"family": "filesystem"`, "DeadlineExceeded"} {
		require.Contains(t, string(output), part)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gohub-io/gohub/agent"
	"github.com/gohub-io/gohub/cmd/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := writeFile(t, "server: file:1\ninterval: 20s\ntop_processes: 3\nlog_level: debug\n")
	c, err := load([]string{"--server", "flag:1"}, []string{
		configVariable + "=" + file, "GOHUB_SERVER=environment:1", "GOHUB_INTERVAL=30s", "HOME=/home/x", "GOHUB_STATE_DIR=/s",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "flag:1" || c.Interval != 30*time.Second || c.TopProcesses != 3 || c.LogLevel != "debug" || c.LogFormat != "text" || c.StateDir != "/s" {
		t.Errorf("got %+v", c)
	}
}

func TestDefaultsAreAllowed(t *testing.T) {
	c, err := load(nil, []string{"HOME=/home/x"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "127.0.0.1:7701" || c.Interval != 10*time.Second || c.TopProcesses != 10 || c.ProcessInterval != 30*time.Second {
		t.Errorf("got %+v", c)
	}
}

func TestMistakesNameKeyValueAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		file    string
		want    []string
	}{
		{name: "unknown key", file: "sever: x:1\n", want: []string{"sever", "not a known key", "server", "agent.yaml"}},
		{name: "labels", environ: []string{"GOHUB_LABELS=site=ams,os=x"}, want: []string{`labels: "site=ams,os=x" is not allowed: no label can be named os`}},
		{name: "wrong type in the file", file: "top_processes: many\n", want: []string{`line 1: "many" is no whole number`}},
		{name: "duration without a unit in the file", file: "interval: 5\n", want: []string{`line 1: "5" is no duration such as "10s"`}},
		{name: "unknown variable", environ: []string{"GOHUB_INTERVALL=3s"}, want: []string{"GOHUB_INTERVALL is not known; the nearest are GOHUB_INTERVAL", "allowed are"}},
		{name: "unknown agent variable", environ: []string{"GOHUB_AGENT_INTERVAL=3s"}, want: []string{"GOHUB_AGENT_INTERVAL is not known", "GOHUB_INTERVAL"}},
		{name: "interval in the file", file: "interval: 10ms\n", want: []string{"interval", "10ms", "1s to 1h"}},
		{name: "interval in the environment", environ: []string{"GOHUB_INTERVAL=soon"}, want: []string{"GOHUB_INTERVAL", "soon", `no duration such as "10s"`}},
		{name: "interval as a flag", args: []string{"--interval", "2h"}, want: []string{"interval", "2h0m0s", "1h"}},
		{name: "number in the environment", environ: []string{"GOHUB_TOP_PROCESSES=x"}, want: []string{"GOHUB_TOP_PROCESSES", "whole number"}},
		{name: "interval of processes", args: []string{"--process-interval", "3m"}, want: []string{"process_interval", "3m0s", "0 (in each sample) to 2m0s"}},
		{name: "truth value in the environment", environ: []string{"GOHUB_AGENT_INSECURE_PLAINTEXT=perhaps"}, want: []string{"GOHUB_AGENT_INSECURE_PLAINTEXT", "true or false"}},
		{name: "server", args: []string{"--server", "nowhere"}, want: []string{"server", "nowhere", "host:port"}},
		{name: "spool", environ: []string{"GOHUB_SPOOL_MAX_BYTES=1000"}, want: []string{"spool_max_bytes", "1000", "1048576 to 68719476736"}},
		{name: "custom series", environ: []string{"GOHUB_AGENT_CUSTOM_SERIES=4000"}, want: []string{"custom_series", "4000", "1 to 3500"}},
		{name: "expression", environ: []string{"GOHUB_DISK_EXCLUDE=("}, want: []string{"disk_exclude", "("}},
		{name: "log level", args: []string{"--log-level", "loud"}, want: []string{"log_level", "loud", "debug"}},
		{name: "two tokens", environ: []string{"GOHUB_TOKEN=a", "GOHUB_TOKEN_FILE=/b"}, want: []string{"token_file"}},
		{name: "plaintext and TLS", environ: []string{"GOHUB_AGENT_INSECURE_PLAINTEXT=true", "GOHUB_TLS_CA_FILE=/x"}, want: []string{"insecure_plaintext", "tls_ca_file"}},
		{name: "stray argument", args: []string{"now"}, want: []string{"now"}},
		{name: "unknown flag", args: []string{"--sever", "x"}, want: []string{"sever"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			environ := append([]string{"HOME=/home/x"}, c.environ...)
			if c.file != "" {
				environ = append(environ, configVariable+"="+writeFile(t, c.file))
			}
			_, err := load(c.args, environ)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// TestServersVariablesAreNoMistake: both programs are tried out in one environment.
func TestServersVariablesAreNoMistake(t *testing.T) {
	c, err := load(nil, []string{"HOME=/home/x", "GOHUB_DATABASE_URL=x", "GOHUB_INSECURE_PLAINTEXT=false"})
	if err != nil {
		t.Fatal(err)
	}
	if c.InsecurePlaintext != nil {
		t.Error("the server's variable decides on the agent's TLS")
	}
}

// TestListOfVariablesIsComplete: settings lists the agent's variables, so that the server knows them too.
func TestListOfVariablesIsComplete(t *testing.T) {
	variables := []string{configVariable}
	for _, name := range tagsOf("env") {
		if strings.HasPrefix(name, settings.Prefix) {
			variables = append(variables, name)
		}
	}
	slices.Sort(variables)
	if listed := slices.Sorted(slices.Values(settings.Agent)); !slices.Equal(variables, listed) {
		t.Errorf("read are %q, listed %q", variables, listed)
	}
}

func TestSecretIsNotInErrors(t *testing.T) {
	_, err := load(nil, []string{"HOME=/home/x", "GOHUB_TOKEN=top secret"})
	if err == nil || strings.Contains(err.Error(), "top secret") {
		t.Errorf("got %v", err)
	}
}

func TestTransport(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name   string
		config config
		tls    bool
		warns  bool
	}{
		{"this machine", config{Server: "127.0.0.1:1"}, false, false},
		{"this machine by name", config{Server: "localhost:1"}, false, false},
		{"this machine, IPv6", config{Server: "[::1]:1"}, false, false},
		{"this machine, TLS asked for", config{Server: "127.0.0.1:1", InsecurePlaintext: &no}, true, false},
		{"this machine, a name to check", config{Server: "127.0.0.1:1", TLSServerName: "x"}, true, false},
		{"elsewhere", config{Server: "monitor.example.com:1"}, true, false},
		{"elsewhere, plaintext asked for", config{Server: "10.0.0.1:1", InsecurePlaintext: &yes}, false, true},
		{"elsewhere, the server's variable", config{Server: "10.0.0.1:1", othersPlaintext: true}, true, true},
		{"this machine, the server's variable", config{Server: "127.0.0.1:1", othersPlaintext: true}, false, false},
		{"a name that looks local", config{Server: "127.0.0.1.example.com:1"}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			got, err := c.config.transport(slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil || (got != nil) != c.tls || (log.Len() > 0) != c.warns {
				t.Errorf("TLS %t, %v, log %q", got != nil, err, log.String())
			}
		})
	}
}

func TestTokenFileIsReadAtEachConnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	c := &config{TokenFile: path}
	if _, err := c.tokenSource(); err == nil {
		t.Error("a missing file does not stop the start")
	}
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		source, err := c.tokenSource()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := source(); got != token || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestDefaultStateDir(t *testing.T) {
	home := map[string]string{"HOME": "/home/x"}
	for _, c := range []struct {
		goos        string
		uid         int
		environment map[string]string
		want        string
	}{
		{"linux", 0, home, "/var/lib/gohub-agent"},
		{"linux", 1000, home, "/home/x/.local/state/gohub-agent"},
		{"linux", 1000, map[string]string{"HOME": "/home/x", "XDG_STATE_HOME": "/state"}, "/state/gohub-agent"},
		{"linux", 1000, nil, ""},
		{"darwin", 0, home, "/usr/local/var/gohub-agent"},
		{"darwin", 501, home, "/home/x/Library/Application Support/GoHub"},
		{"windows", -1, map[string]string{"ProgramData": `D:\Data`}, `D:\Data\GoHub\Agent`},
	} {
		if got := defaultStateDir(c.goos, c.uid, c.environment); filepath.ToSlash(got) != filepath.ToSlash(c.want) {
			t.Errorf("%s %d: %q, want %q", c.goos, c.uid, got, c.want)
		}
	}
}

func TestCommands(t *testing.T) {
	environ := []string{"HOME=" + t.TempDir(), "GOHUB_STATE_DIR=" + filepath.Join(t.TempDir(), "state")}
	for _, c := range []struct {
		args   []string
		status int
		out    string
		err    string
	}{
		{[]string{"version"}, exitOK, "gohub-agent dev", ""},
		{[]string{"--version"}, exitOK, "gohub-agent dev", ""},
		{[]string{"--help"}, exitOK, "--tls-ca-file", ""},
		{[]string{"run", "--help"}, exitOK, "Usage:", ""},
		{[]string{"help"}, exitOK, "Usage:", ""},
		{nil, exitUsage, "", "Usage:"},
		{[]string{"rum"}, exitUsage, "", `unknown command "rum"`},
		{[]string{"run", "--interval", "0s"}, exitUsage, "", "interval: 0s is not allowed"},
		{[]string{"run", "--tls-ca-file", "/does/not/exist"}, exitFailed, "", "CA file"},
	} {
		var out, errs bytes.Buffer
		status := execute(t.Context(), c.args, environ, &out, &errs)
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
			t.Errorf("%q: status %d\nout: %s\nerr: %s", c.args, status, out.String(), errs.String())
		}
	}
}

func TestRunWithoutStateDirSaysHowToSetIt(t *testing.T) {
	file := writeFile(t, "")
	var out, errs bytes.Buffer
	status := execute(t.Context(), []string{"run", "--state-dir", filepath.Join(file, "x")}, []string{"HOME=/home/x"}, &out, &errs)
	if status != exitFailed || !strings.Contains(errs.String(), file) || !strings.Contains(errs.String(), "GOHUB_STATE_DIR") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}

func TestRunStoppedEndsWithSuccess(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var out, errs bytes.Buffer
	environ := []string{"HOME=/home/x", "GOHUB_STATE_DIR=" + t.TempDir(), "GOHUB_SERVER=127.0.0.1:1", "GOHUB_TOKEN=do-not-log"}
	if status := execute(ctx, []string{"run"}, environ, &out, &errs); status != exitOK {
		t.Errorf("status %d: %s", status, errs.String())
	}
	if strings.Contains(errs.String(), "do-not-log") {
		t.Errorf("the token is in the log: %s", errs.String())
	}
}

func TestMissingTokenIsNoWarningOnThisMachine(t *testing.T) {
	for server, level := range map[string]string{"127.0.0.1:1": "level=INFO", "monitor.invalid:1": "level=WARN"} {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var out, errs bytes.Buffer
		if status := execute(ctx, []string{"run", "--server", server, "--state-dir", t.TempDir()}, []string{"HOME=/home/x"}, &out, &errs); status != exitOK {
			t.Errorf("status %d: %s", status, errs.String())
		}
		if line, _, _ := strings.Cut(errs.String(), "\n"); !strings.Contains(line, "no token is set") || !strings.Contains(line, level) {
			t.Errorf("server %s: %s", server, line)
		}
	}
}

func TestSecondAgentOfAStateDirIsRefused(t *testing.T) {
	directory := t.TempDir()
	spool, err := agent.OpenDiskSpool(agent.DiskSpoolOptions{AgentID: "x", Directory: filepath.Join(directory, "spool"), MaxBytes: agent.MinSpoolBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	var out, errs bytes.Buffer
	status := execute(t.Context(), []string{"run", "--state-dir", directory}, []string{"HOME=/home/x"}, &out, &errs)
	if status != exitFailed || !strings.Contains(errs.String(), "in use by another agent") || !strings.Contains(errs.String(), "GOHUB_STATE_DIR") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}

func TestOncePrintsTableAndJSON(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two seconds")
	}
	environ := []string{"HOME=/home/x"}
	var out, errs bytes.Buffer
	if status := execute(t.Context(), []string{"once"}, environ, &out, &errs); status != exitOK || !strings.Contains(out.String(), "memory") {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
	out.Reset()
	if status := execute(t.Context(), []string{"once", "--json"}, environ, &out, &errs); status != exitOK {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	var sample struct {
		Host map[string]any `json:"host"`
	}
	if err := json.Unmarshal(out.Bytes(), &sample); err != nil || sample.Host["memory_total_bytes"] == nil {
		t.Errorf("%v: %s", err, out.String())
	}
}

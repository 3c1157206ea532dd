package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
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
)

// binaries is where the server and the agent are, once build has made them.
var binaries string

// build makes the two once, as `make run` does before it calls the script.
var build = sync.OnceValue(func() error {
	for _, name := range []string{"server", "agent"} {
		output, err := exec.Command("go", "build", "-o", filepath.Join(binaries, "gohub-"+name), "../cmd/"+name).CombinedOutput()
		if err != nil {
			return errors.New(string(output))
		}
	}
	return nil
})

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "gohub-run-test"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(binaries)
	os.Exit(code)
}

// script is a running deploy/run.
type script struct {
	t       *testing.T
	command *exec.Cmd
	output  *lockedBuffer
	ended   chan struct{}
	// data is the server's directory, by which its process is found.
	data string
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

func startScript(t *testing.T, environment ...string) *script {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it looks for processes in /proc")
	}
	require.NoError(t, build())
	directory := t.TempDir()
	s := &script{t: t, command: exec.Command("./run", binaries, "sqlite"), output: &lockedBuffer{}, ended: make(chan struct{}), data: filepath.Join(directory, "server")}
	s.command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + directory, "GOHUB_DATA_DIR=" + s.data, "GOHUB_STATE_DIR=" + filepath.Join(directory, "agent"),
		"GOHUB_INTERVAL=1s",
	}, environment...)
	s.command.Stdout, s.command.Stderr = s.output, s.output
	require.NoError(t, s.command.Start())
	go func() {
		_ = s.command.Wait() // the tests look at the state
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.command.Process.Signal(syscall.SIGTERM) // it has ended already if all went well
		<-s.ended
		if t.Failed() {
			t.Logf("deploy/run said:\n%s", s.output)
		}
	})
	return s
}

// requireExit waits for the end, which leaves no part behind.
func (s *script) requireExit(code int) {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		require.Fail(s.t, "deploy/run has not ended")
	}
	require.Equal(s.t, code, s.command.ProcessState.ExitCode())
	require.Zero(s.t, s.server(), "the server is left behind")
}

func (s *script) requireSaid(text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return strings.Contains(s.output.String(), text)
		}
	}, time.Minute, 50*time.Millisecond, text)
	require.Contains(s.t, s.output.String(), text)
}

// server returns the server's process, 0 if there is none.
func (s *script) server() int {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(s.t, err)
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(command), s.data) {
			process, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(s.t, err)
			return process
		}
	}
	return 0
}

// foreign stands for another program that has a port, and answers whatever is asked over HTTP. It counts the connections.
func foreign(t *testing.T) (address string, connections func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	count := 0
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				mu.Lock()
				defer mu.Unlock()
				count++
			}
		},
	}
	go func() { _ = server.Serve(listener) }() // it ends with the listener
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

const anyPort = "127.0.0.1:0"

func TestRunFailsWhereAPortIsTaken(t *testing.T) {
	address, connections := foreign(t)
	for key, environment := range map[string][]string{
		"http_listen": {"GOHUB_HTTP_LISTEN=" + address, "GOHUB_GRPC_LISTEN=" + anyPort},
		"grpc_listen": {"GOHUB_HTTP_LISTEN=" + anyPort, "GOHUB_GRPC_LISTEN=" + address},
	} {
		t.Run(key, func(t *testing.T) {
			s := startScript(t, environment...)
			s.requireExit(1)
			require.Contains(t, s.output.String(), key+": listen tcp "+address+": bind: address already in use")
			require.Contains(t, s.output.String(), "run: the server ended by itself, with status 1")
			require.NotContains(t, s.output.String(), "GoHub runs")
		})
	}
	require.Zero(t, connections(), "nothing of ours went to the other program")
}

// dashboard is the address that the script prints.
var dashboard = regexp.MustCompile(`Look at  (\S+)`)

// TestRunTakesSettingsFromTheEnvironment: with TLS, tokens and a database that is not meant, the agent gets through, the
// address is right, and Ctrl-C ends it all with success.
func TestRunTakesSettingsFromTheEnvironment(t *testing.T) {
	directory := t.TempDir()
	certificate, key := writeCertificate(t, directory)
	token := filepath.Join(directory, "token")
	require.NoError(t, os.WriteFile(token, []byte("agent-token-of-the-test\n"), 0o600))
	s := startScript(
		t, "GOHUB_HTTP_LISTEN=:0", "GOHUB_GRPC_LISTEN=:0", "GOHUB_TLS_CERT_FILE="+certificate, "GOHUB_TLS_KEY_FILE="+key,
		"GOHUB_AGENT_TOKEN_FILE="+token, "GOHUB_TOKEN=of-another-server", "GOHUB_API_TOKEN=api-token-of-the-test", "GOHUB_PASSWORD=correct horse",
		"GOHUB_DATABASE_URL_FILE=/nowhere", "GOHUB_INSECURE_PLAINTEXT=false",
	)
	s.requireSaid("Look at")
	url := dashboard.FindStringSubmatch(s.output.String())[1]
	require.Regexp(t, `^https://127\.0\.0\.1:\d+/$`, url)

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"api/v1/hosts", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer api-token-of-the-test")
	require.Eventually(t, func() bool {
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(body), `"HOST_STATUS_UP"`)
	}, time.Minute, 100*time.Millisecond, "the agent is let in")

	require.NoError(t, s.command.Process.Signal(os.Interrupt))
	s.requireExit(0)
}

func TestRunEndsWithTheStatusOfThePartThatDied(t *testing.T) {
	s := startScript(t, "GOHUB_HTTP_LISTEN="+anyPort, "GOHUB_GRPC_LISTEN="+anyPort)
	s.requireSaid("Look at")
	require.NoError(t, syscall.Kill(s.server(), syscall.SIGKILL))
	s.requireExit(128 + int(syscall.SIGKILL))
	require.Contains(t, s.output.String(), "run: the server ended by itself, with status 137")
}

func TestRunEndsWhenTheAgentDoes(t *testing.T) {
	s := startScript(t, "GOHUB_HTTP_LISTEN="+anyPort, "GOHUB_GRPC_LISTEN="+anyPort, "GOHUB_TOP_PROCESSES=many")
	s.requireExit(2)
	require.Contains(t, s.output.String(), "GOHUB_TOP_PROCESSES")
	require.Contains(t, s.output.String(), "run: the agent ended by itself, with status 2")
}

// writeCertificate makes a self-signed certificate of a name that is not this machine's.
func writeCertificate(t *testing.T, directory string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gohub"}, DNSNames: []string{"monitor.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(directory, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", encoded)
}

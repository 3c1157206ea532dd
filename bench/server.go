package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a gohub-server under measurement.
type server struct {
	HTTP, GRPC string

	command *exec.Cmd
	log     *tail
	ended   chan struct{}
	err     error
}

// startServer runs the server on the given addresses (free ones where they are empty) and waits until it is ready.
func (o *Options) startServer(ctx context.Context, db *database, httpAddress, grpcAddress string, environment ...string) (*server, error) {
	var err error
	for _, address := range []*string{&httpAddress, &grpcAddress} {
		if *address == "" {
			if *address, err = freeAddress(); err != nil {
				return nil, err
			}
		}
	}
	s := &server{HTTP: httpAddress, GRPC: grpcAddress, log: &tail{}, ended: make(chan struct{})}
	s.command = exec.Command(o.ServerBinary, "--http-listen", httpAddress, "--grpc-listen", grpcAddress, "--data-dir", db.directory, "--log-level", "warn")
	// Nothing of the caller's own settings may change what is measured.
	s.command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + db.directory}, environment...)
	s.command.Env = append(s.command.Env, o.ServerEnvironment...)
	if db.url != "" {
		s.command.Env = append(s.command.Env, "GOHUB_DATABASE_URL="+db.url)
	}
	s.command.Stdout, s.command.Stderr = s.log, s.log
	// The server must not outlive a benchmark that is killed, nor get its Ctrl-C.
	s.command.SysProcAttr = ownGroup()
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		s.err = s.command.Wait()
		close(s.ended)
	}()
	if err := s.ready(ctx); err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// freeAddress finds a free port below those that systems give to outgoing connections (Linux: from 32768): while a
// killed server's port is free, one of thousands of reconnecting agents would else get it as its own and meet itself.
func freeAddress() (string, error) {
	const first, ports, tries = 20_000, 12_000, 100
	var err error
	for range tries {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports))); err == nil {
			defer listener.Close()
			return listener.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// ready waits until the server answers. It listens with TLS or without.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Transport: insecureTransport(), Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for {
		for _, scheme := range []string{"http", "https"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+s.HTTP+"/readyz", nil)
			if err != nil {
				return err
			}
			if response, err := client.Do(request); err == nil {
				response.Body.Close()
				if response.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended (%w); it said:\n%s", s.err, s.log)
		case <-ctx.Done():
			return fmt.Errorf("the server is not ready: %w; it said:\n%s", ctx.Err(), s.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) pid() int { return s.command.Process.Pid }

// kill ends the server with SIGKILL and waits for its end.
func (s *server) kill() {
	if err := s.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-s.ended
}

// stop asks the server to end, and kills it when it takes too long.
func (s *server) stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w; it said:\n%s", err, s.log)
	}
	select {
	case <-s.ended:
		if s.err != nil {
			return fmt.Errorf("the server ended badly: %w; it said:\n%s", s.err, s.log)
		}
		return nil
	case <-time.After(40 * time.Second):
		s.kill()
		return fmt.Errorf("the server did not stop; it said:\n%s", s.log)
	}
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// tailBytes is enough for the words before an end.
const tailBytes = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	if over := t.text.Len() - tailBytes; over > 0 {
		t.text.Next(over)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}

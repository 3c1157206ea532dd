package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/gohub-io/gohub/bench/rig"
)

// server is a gohub-server under measurement.
type server struct {
	HTTP, GRPC string

	command *exec.Cmd
	log     *rig.Tail
	ended   chan struct{}
	err     error
}

// manyViewers and manyConnections are the settings that let the viewers of a benchmark in: all come from one address.
const (
	manyViewers     = "GOHUB_MAX_VIEWERS_PER_ADDRESS=1000000"
	manyConnections = "GOHUB_HTTP_CONNECTIONS_PER_ADDRESS=1000000"
)

// startServer runs the server on the given addresses (free ones where they are empty) and waits until it is ready.
func (o *Options) startServer(ctx context.Context, db *database, httpAddress, grpcAddress string, environment ...string) (*server, error) {
	var err error
	for _, address := range []*string{&httpAddress, &grpcAddress} {
		if *address == "" {
			if *address, err = rig.FreeAddress(); err != nil {
				return nil, err
			}
		}
	}
	s := &server{HTTP: httpAddress, GRPC: grpcAddress, log: &rig.Tail{}, ended: make(chan struct{})}
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

package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// socketPatience is how long a program may take to send, and to take the answer.
	socketPatience = 5 * time.Second
	// maxSenders are served at once; others wait in the socket's queue.
	maxSenders = 4
	// acceptPause is how long it is waited after no connection could be taken, as when there are no files left.
	acceptPause = 100 * time.Millisecond
)

// customSocket is a unix socket to which programs send series in the text format. Each connection is one text: the program sends it,
// closes its side for writing, and reads "ok" or what is wrong.
type customSocket struct {
	listener *net.UnixListener
	pushed   *pushedSeries
	patience time.Duration
	log      *slog.Logger
	closing  chan struct{} // closed by close
	serving  sync.WaitGroup
	places   chan struct{}
}

// listenCustom makes the socket and serves it until close. What a program that has died left at the path is replaced.
func listenCustom(path string, pushed *pushedSeries, patience time.Duration, log *slog.Logger) (*customSocket, error) {
	if err := clearSocket(path); err != nil {
		return nil, fmt.Errorf("socket for custom metrics %s: %w", path, err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket for custom metrics %s: %w; the directory must be there and writable, and the path at most about 100 bytes long", path, err)
	}
	// The owner and the group may send, as the directory's owner sees fit.
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("socket for custom metrics: %w", err), listener.Close())
	}
	s := &customSocket{
		listener: listener, pushed: pushed, patience: patience, log: log, closing: make(chan struct{}), places: make(chan struct{}, maxSenders),
	}
	s.serving.Go(s.accept) // ends by close, which waits
	return s, nil
}

// clearSocket removes a socket that nobody serves.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is something else than a socket at this path; remove it or name another path")
	}
	connection, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(errors.New("another program serves it; give this agent a path of its own"), connection.Close())
	}
	return os.Remove(path)
}

// accept serves one connection after the other, some at once.
func (s *customSocket) accept() {
	failing := false
	for {
		select {
		case s.places <- struct{}{}:
		case <-s.closing:
			return
		}
		connection, err := s.listener.AcceptUnix()
		if err == nil {
			failing = false
			s.serving.Go(func() { // ends within two patiences
				defer func() { <-s.places }()
				s.serve(connection)
			})
			continue
		}
		<-s.places
		if !failing && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("no connection can be taken on the socket for custom metrics", "error", err)
			failing = true
		}
		select {
		case <-time.After(acceptPause):
		case <-s.closing:
			return
		}
	}
}

func (s *customSocket) serve(connection *net.UnixConn) {
	defer connection.Close()
	stop := make(chan struct{})
	defer close(stop)
	_ = connection.SetDeadline(time.Now().Add(s.patience)) // fails only on a closed one, and so does what follows
	s.serving.Go(func() {                                  // ends with serve
		select {
		case <-s.closing:
			_ = connection.SetDeadline(time.Now()) // see above
		case <-stop:
		}
	})
	answer := "ok\n"
	if err := s.take(connection); err != nil {
		answer = "error: " + err.Error() + "\n"
	}
	_ = connection.SetWriteDeadline(time.Now().Add(s.patience)) // see above
	_, _ = io.WriteString(connection, answer)                   // a program that has gone wants no answer
}

func (s *customSocket) take(connection *net.UnixConn) error {
	text, err := io.ReadAll(io.LimitReader(connection, maxTextBytes+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the text did not end within %s: close your side for writing once it is sent", s.patience)
	case err != nil:
		return err
	case len(text) > maxTextBytes:
		return fmt.Errorf("the text has over %d bytes, the limit", maxTextBytes)
	}
	return s.pushed.push(text)
}

// close stops listening, ends what is being served and waits for it. The socket's file is gone then.
func (s *customSocket) close() {
	close(s.closing)
	if err := s.listener.Close(); err != nil {
		s.log.Debug("the socket for custom metrics was closed already", "error", err)
	}
	s.serving.Wait()
}

// Package relaytest has what tests of several servers need: a NATS server in the process, and lines that can be cut and frozen.
package relaytest

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// Password is that of every NATS that Bus starts: it must be nowhere in logs.
const Password = "password-of-the-bus"

// Bus starts a NATS server and returns its URL. It stops when the test ends.
func Bus(t testing.TB) string {
	t.Helper()
	bus, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "gohub", Password: Password, NoLog: true, NoSigs: true,
	})
	require.NoError(t, err)
	bus.Start()
	t.Cleanup(func() {
		bus.Shutdown()
		bus.WaitForShutdown()
	})
	require.True(t, bus.ReadyForConnections(10*time.Second))
	address := bus.Addr().String()
	return (&url.URL{Scheme: "nats", User: url.UserPassword("gohub", Password), Host: address}).String()
}

// Line passes connections on to an address, and can be cut and frozen.
type Line struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	thawed *sync.Cond // of mu
	cut    bool
	frozen bool
	ends   map[net.Conn]struct{}
}

// NewLine opens a line to the server of a URL, and returns the URL that leads through it. It ends with the test.
func NewLine(t testing.TB, to string) (line *Line, through string) {
	t.Helper()
	parsed, err := url.Parse(to)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &Line{listener: listener, target: parsed.Host, ends: map[net.Conn]struct{}{}}
	l.thawed = sync.NewCond(&l.mu)
	l.running.Go(l.accept)
	t.Cleanup(func() {
		listener.Close()
		l.Cut()
		l.running.Wait()
	})
	parsed.Host = listener.Addr().String()
	return l, parsed.String()
}

// Cut ends all connections, and refuses others until Heal.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.frozen = true, false
	for end := range l.ends {
		end.Close()
	}
	l.thawed.Broadcast()
}

// Freeze has nothing pass until Heal; the connections stay, and do not know.
func (l *Line) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

// Heal lets everything pass again.
func (l *Line) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.frozen = false, false
	l.thawed.Broadcast()
}

func (l *Line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(client) })
	}
}

func (l *Line) serve(client net.Conn) {
	defer client.Close()
	target, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer target.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.ends[client], l.ends[target] = struct{}{}, struct{}{}
	l.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() { l.pass(target, client) })
	l.pass(client, target)
	up.Wait()
	l.mu.Lock()
	delete(l.ends, client)
	delete(l.ends, target)
	l.mu.Unlock()
}

// pass copies until an end breaks, and closes both then.
func (l *Line) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.frozen {
			l.thawed.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

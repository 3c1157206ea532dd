package main

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/auth"
)

// limitedListener bounds how many connections an address may have open, so that one machine can not use up what all share, and,
// with the other listener of the process, how many there may be in all.
// It hands out connections as they are: gRPC reads a bare TCP connection without a buffer of its own. So it does not see
// when one is closed, and looks only when an address seems to have too many.
type limitedListener struct {
	net.Listener
	perAddress int
	ceiling    *ceiling
	refused    prometheus.Counter

	// All below is guarded by ceiling.mu.

	open map[netip.Prefix][]net.Conn
	// held is how many are in open, among them some that are closed.
	held int
	// sweepAt is how many addresses there may be before those without a connection are forgotten.
	sweepAt int
}

// fewAddresses are never swept.
const fewAddresses = 1024

// ceiling is the bound on the connections of several listeners together. Its listeners are made before any accepts.
type ceiling struct {
	max int
	now func() time.Time

	mu        sync.Mutex
	listeners []*limitedListener
	// fullUntil is until when it is not looked again whether connections were closed.
	fullUntil time.Time
}

func newCeiling(most int) *ceiling { return &ceiling{max: most, now: time.Now} }

// listen makes a listener for a protocol, which its metric is named after.
func (c *ceiling) listen(inner net.Listener, protocol string, perAddress int, registerer prometheus.Registerer) *limitedListener {
	l := &limitedListener{
		Listener: inner, perAddress: perAddress, ceiling: c, open: map[netip.Prefix][]net.Conn{}, sweepAt: fewAddresses,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_" + protocol + "_refused_connections_total",
			Help: "Connections that were closed at once because their address, or the server, had too many.",
		}),
	}
	registerer.MustRegister(l.refused)
	c.listeners = append(c.listeners, l)
	return l
}

// hasRoom tells whether there may be one more. To find out costs a look at every connection, so a server that is full does it
// once a second, not for each that it refuses. Called with mu held.
func (c *ceiling) hasRoom() bool {
	if c.held() < c.max {
		return true
	}
	now := c.now()
	if now.Before(c.fullUntil) {
		return false
	}
	for _, l := range c.listeners {
		l.sweep()
	}
	if c.held() < c.max {
		return true
	}
	c.fullUntil = now.Add(time.Second)
	return false
}

func (c *ceiling) held() int {
	held := 0
	for _, l := range c.listeners {
		held += l.held
	}
	return held
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.admit(conn) {
			return conn, err
		}
		l.refused.Inc()
		_ = conn.Close() // nothing was written to it
	}
}

// admit counts a connection in, or returns false.
func (l *limitedListener) admit(conn net.Conn) bool {
	address := auth.AddressOwner(conn.RemoteAddr().String())
	if !address.IsValid() {
		return true // no address to count by, as on a Unix socket
	}
	l.ceiling.mu.Lock()
	defer l.ceiling.mu.Unlock()
	if len(l.open) >= l.sweepAt {
		l.sweep()
	}
	if !l.ceiling.hasRoom() {
		return false
	}
	open := l.open[address]
	// Doubling is when a list would grow: addresses that come and go do not pile up closed connections.
	if len(open) >= l.perAddress || len(open) == cap(open) {
		alive := living(open)
		l.held -= len(open) - len(alive)
		open = alive
	}
	if len(open) >= l.perAddress {
		l.open[address] = open
		return false
	}
	l.open[address] = append(open, conn)
	l.held++
	return true
}

// sweep forgets connections that are closed, and addresses that have none any more. Called with ceiling.mu held.
func (l *limitedListener) sweep() {
	l.held = 0
	for address, conns := range l.open {
		if conns = living(conns); len(conns) == 0 {
			delete(l.open, address)
		} else {
			l.open[address] = conns
			l.held += len(conns)
		}
	}
	l.sweepAt = max(2*len(l.open), fewAddresses)
}

// living returns the connections that are not closed, in place.
func living(conns []net.Conn) []net.Conn {
	alive := conns[:0]
	for _, conn := range conns {
		if !isClosed(conn) {
			alive = append(alive, conn)
		}
	}
	clear(conns[len(alive):])
	return alive
}

// isClosed reports whether this side has closed the connection.
func isClosed(conn net.Conn) bool {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := raw.SyscallConn()
	if err == nil {
		err = control.Control(func(uintptr) {})
	}
	return errors.Is(err, net.ErrClosed)
}

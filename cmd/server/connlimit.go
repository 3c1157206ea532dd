package main

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/auth"
)

// limitedListener bounds how many connections an address may have open, so that one machine can not use up what all share.
// It hands out connections as they are: gRPC reads a bare TCP connection without a buffer of its own. So it does not see
// when one is closed, and looks only when an address seems to have too many.
type limitedListener struct {
	net.Listener
	perAddress int
	refused    prometheus.Counter

	mu   sync.Mutex
	open map[netip.Prefix][]net.Conn
	// sweepAt is how many addresses there may be before those without a connection are forgotten.
	sweepAt int
}

// fewAddresses are never swept.
const fewAddresses = 1024

func newLimitedListener(inner net.Listener, perAddress int, registerer prometheus.Registerer) *limitedListener {
	l := &limitedListener{
		Listener: inner, perAddress: perAddress, open: map[netip.Prefix][]net.Conn{}, sweepAt: fewAddresses,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_grpc_refused_connections_total", Help: "Connections that were closed at once because their address had too many.",
		}),
	}
	registerer.MustRegister(l.refused)
	return l
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.sweepAt {
		l.sweep()
	}
	open := l.open[address]
	// Doubling is when a list would grow: addresses that come and go do not pile up closed connections.
	if len(open) >= l.perAddress || len(open) == cap(open) {
		open = living(open)
	}
	if len(open) >= l.perAddress {
		l.open[address] = open
		return false
	}
	l.open[address] = append(open, conn)
	return true
}

// sweep forgets addresses that have no connection any more.
func (l *limitedListener) sweep() {
	for address, conns := range l.open {
		if conns = living(conns); len(conns) == 0 {
			delete(l.open, address)
		} else {
			l.open[address] = conns
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

package chaos

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// relay passes connections on to an address that can change, and can cut them.
//
//	client ──▶ relay ──▶ target         up
//	client ◀── relay ◀── target         down
type relay struct {
	listener net.Listener
	tap      tap
	accepted sync.WaitGroup

	mu     sync.Mutex
	target string
	links  map[*link]struct{}
	closed bool
}

// link is a connection through a relay.
type link struct {
	client, target net.Conn
	// answered is closed and gone when the answer to a commit that the client has sent has passed; without one it is nil.
	committing sync.Mutex
	answered   chan struct{}
}

// tap moves the bytes of a link, each of its two functions in a goroutine of its own until an end breaks.
type tap struct {
	up, down func(l *link) error
}

func plainUp(l *link) error {
	_, err := io.Copy(l.target, l.client)
	return err
}

func plainDown(l *link) error {
	_, err := io.Copy(l.client, l.target)
	return err
}

// openRelay listens on a free port. With an empty target it refuses everyone.
func openRelay(target string, t tap) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a relay: %w", err)
	}
	if t.up == nil {
		t.up = plainUp
	}
	if t.down == nil {
		t.down = plainDown
	}
	r := &relay{listener: listener, tap: t, target: target, links: map[*link]struct{}{}}
	r.accepted.Go(r.accept) // ends with the listener; close waits for it
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.accepted.Go(func() { r.serve(client) })
	}
}

// serve passes one connection on until it breaks.
func (r *relay) serve(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	address := r.target
	r.mu.Unlock()
	if address == "" {
		return
	}
	target, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return
	}
	defer target.Close()
	l := &link{client: client, target: target}
	r.mu.Lock()
	if r.closed || r.target != address {
		r.mu.Unlock()
		return
	}
	r.links[l] = struct{}{}
	r.mu.Unlock()
	var up sync.WaitGroup
	up.Go(func() {
		_ = r.tap.up(l) // either end broke, or a trap sprang: both end the link
		l.cut()
	})
	_ = r.tap.down(l)
	l.setCommitting(false)
	l.cut()
	up.Wait()
	r.mu.Lock()
	delete(r.links, l)
	r.mu.Unlock()
}

func (l *link) cut() {
	l.client.Close()
	l.target.Close()
}

// point leads new connections to another address, and cuts those that there are.
func (r *relay) point(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for l := range r.links {
		l.cut()
	}
}

// close ends the relay and its connections, and waits for them.
func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for l := range r.links {
		l.cut()
	}
	r.mu.Unlock()
	r.accepted.Wait()
}

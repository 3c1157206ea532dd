package live

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	// Deltas that wait for a viewer: two seconds of them at the default tick, so that a hiccup of the network, or the
	// time that a large snapshot takes, does not cost another snapshot.
	maxPending = 8
	// A long frame is written in pieces, each with a deadline of its own: a slow line is no dead one.
	writePiece = 64 << 10
	// After its close frame the server waits this long for the viewer's.
	closeGrace = time.Second
	// What a viewer had sent before it saw the close frame is read and thrown away up to this size, for closing a socket
	// with unread bytes resets the connection, and the close frame may be lost.
	maxDrain = 256 << 10
)

// viewer is one connection. Two goroutines serve it: the reader, which is the one that the HTTP server started, and
// the writer, which the reader starts and waits for. Only the writer writes to the connection.
type viewer struct {
	hub     *Hub
	conn    net.Conn
	topic   *topic        // guarded by Hub.mu
	wake    chan struct{} // capacity 1: there is something in the outbox; anyone sends, never closed
	written chan struct{} // closed by the writer, when it has written its last

	mu  sync.Mutex // guards the outbox; taken after Hub.mu where both are held
	out outbox
}

// outbox is what waits to be written: at most one of each kind, the newest, and a bounded number of deltas.
type outbox struct {
	close  frame // the last frame; nothing is taken or offered after it
	reason reason
	pong   frame
	reply  frame // an error
	alerts frame
	// behind: the viewer needs a snapshot. Deltas that it will hold are not kept.
	behind bool
	deltas []frame // at most maxPending, in order
	ping   bool
	pinged time.Time // when the last ping was asked for, or the viewer came
	// silentSince is when the oldest ping that no frame has followed was written; zero if there is none.
	silentSince time.Time
}

func newViewer(h *Hub, conn net.Conn) *viewer {
	v := &viewer{
		hub:     h,
		conn:    conn,
		wake:    make(chan struct{}, 1),
		written: make(chan struct{}),
	}
	v.out.pinged = h.now()
	return v
}

// change lets f change the outbox and wakes the writer, unless the connection is ending.
func (v *viewer) change(f func(out *outbox)) {
	v.mu.Lock()
	if v.out.reason != "" {
		v.mu.Unlock()
		return
	}
	f(&v.out)
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// end makes a close frame the last one. Only the first reason counts. reader and hub call it.
func (v *viewer) end(r reason, last frame) {
	v.change(func(out *outbox) { *out = outbox{reason: r, close: last} })
}

// offer hands over a delta. It never waits: a viewer whose outbox is full is behind, and gets a snapshot when it can
// take one. Called with Hub.mu held.
func (v *viewer) offer(delta frame) {
	v.change(func(out *outbox) {
		switch {
		case out.behind:
		case len(out.deltas) < maxPending:
			out.deltas = append(out.deltas, delta)
		default:
			clear(out.deltas)
			out.deltas = out.deltas[:0]
			out.behind = true
			v.hub.metrics.conflated.Inc()
		}
	})
}

// restart drops what waits of the old subscription and asks for a snapshot. Called with Hub.mu held.
func (v *viewer) restart() {
	v.change(func(out *outbox) {
		clear(out.deltas)
		out.deltas = out.deltas[:0]
		out.behind = true
	})
}

func (v *viewer) offerAlerts(alerts frame) {
	v.change(func(out *outbox) { out.alerts = alerts })
}

func (v *viewer) offerError(text string) {
	v.change(func(out *outbox) { out.reply = compileError(text) })
}

// heard is called for every frame that came whole.
func (v *viewer) heard() {
	v.mu.Lock()
	v.out.silentSince = time.Time{}
	v.mu.Unlock()
}

// checkPing asks for a ping every interval, and ends the connection if one has not been answered for as long.
func (v *viewer) checkPing(now time.Time, interval time.Duration) {
	v.mu.Lock()
	silent := !v.out.silentSince.IsZero() && now.Sub(v.out.silentSince) >= interval
	due := now.Sub(v.out.pinged) >= interval
	v.mu.Unlock()
	switch {
	case silent:
		v.end(reasonPingTimeout, compileClose(ws.StatusPolicyViolation, "no answer to a ping"))
	case due:
		v.change(func(out *outbox) { out.ping, out.pinged = true, now })
	}
}

// serve runs the connection until it has ended, and closes it. source is the connection behind the HTTP server's
// buffer.
func (v *viewer) serve(source io.Reader) {
	go v.write()
	err := v.read(source) // has ended the outbox, so that the writer ends
	<-v.written
	if errors.As(err, new(*closing)) {
		_, _ = io.CopyN(io.Discard, source, maxDrain) // the writer has set a deadline
	}
	_ = v.conn.Close()
}

// read takes requests until the connection breaks, the viewer closes it (a nil error) or breaks the protocol (a
// *closing), and ends the outbox accordingly.
func (v *viewer) read(source io.Reader) error {
	requests := &requestReader{source: source, max: int64(v.hub.options.MaxFrameBytes)}
	for {
		in, err := requests.next()
		if err != nil {
			var why *closing
			if errors.As(err, &why) {
				v.end(why.reason, compileClose(why.code, why.text))
			} else {
				v.end(reasonClient, nil)
			}
			return err
		}
		v.heard()
		switch in.op {
		case ws.OpClose:
			v.end(reasonClient, closeReply(in.payload))
			return nil
		case ws.OpPing:
			pong := compile(ws.OpPong, in.payload)
			v.change(func(out *outbox) { out.pong = pong })
		case ws.OpText:
			v.handle(in.payload)
		}
	}
}

func (v *viewer) handle(text []byte) {
	request, err := parseRequest(text)
	if err == nil {
		err = v.hub.subscribe(v, request)
	}
	if err != nil {
		v.offerError(err.Error())
	}
}

// write writes what the outbox has until its last frame is written or a write fails. The reader can not end without
// ending the outbox, so the writer does not outlive it by more than a write.
func (v *viewer) write() {
	defer close(v.written)
	defer func() { _ = v.conn.SetReadDeadline(time.Now().Add(closeGrace)) }()
	for {
		next, data, last := v.take()
		if next == nil && !last {
			<-v.wake
			continue
		}
		if err := v.send(next); err != nil {
			v.end(reasonWrite, nil)
			_ = v.conn.Close() // wakes the reader
			return
		}
		if last {
			v.finish()
			return
		}
		if data {
			v.hub.metrics.messages.Inc()
		}
	}
}

// take returns the next frame, whether it is a message (not a control frame), and whether it is the last one. The last
// one may be nil.
func (v *viewer) take() (next frame, data, last bool) {
	v.mu.Lock()
	out := &v.out
	switch {
	case out.reason != "":
		next, last = out.close, true
	case out.pong != nil:
		next, out.pong = out.pong, nil
	case out.ping:
		next, out.ping = ws.CompiledPing, false
		if out.silentSince.IsZero() {
			// Before the write, for the answer may come before the write returns.
			out.silentSince = v.hub.now()
		}
	case out.reply != nil:
		next, out.reply, data = out.reply, nil, true
	case out.alerts != nil:
		next, out.alerts, data = out.alerts, nil, true
	case out.behind:
		v.mu.Unlock()
		return v.hub.catchUp(v), true, false
	case len(out.deltas) > 0:
		next, data = out.deltas[0], true
		copy(out.deltas, out.deltas[1:])
		out.deltas[len(out.deltas)-1] = nil // or it would be held as long as the viewer
		out.deltas = out.deltas[:len(out.deltas)-1]
	}
	v.mu.Unlock()
	return next, data, last
}

func (v *viewer) send(f frame) error {
	for len(f) > 0 {
		piece := f[:min(len(f), writePiece)]
		if err := v.conn.SetWriteDeadline(time.Now().Add(v.hub.options.WriteTimeout)); err != nil {
			return err
		}
		n, err := v.conn.Write(piece)
		v.hub.metrics.bytes.Add(float64(n))
		if err != nil {
			return err
		}
		f = f[n:]
	}
	return nil
}

// finish tells the viewer that nothing more comes, so that it closes its side.
func (v *viewer) finish() {
	if half, ok := v.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

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
	binary  bool          // the form of what it gets
	topic   *topic        // guarded by Hub.mu
	wake    chan struct{} // capacity 1: there is something in the outbox; anyone sends, never closed
	written chan struct{} // closed by the writer, when it has written its last

	mu  sync.Mutex // guards the outbox; taken after Hub.mu where both are held
	out outbox

	// batch and pieces are the writer's, for deltas that are being written, and deadlineSet is when it last set its deadline.
	batch       []*message
	pieces      net.Buffers
	deadlineSet time.Time
}

// outbox is what waits to be written: at most one of each kind, the newest, and a place in the topic's backlog.
type outbox struct {
	close  frame // the last frame; nothing is taken or offered after it
	reason reason
	pong   frame
	reply  frame // an error
	alerts frame
	// behind: the viewer needs a snapshot, which sets its place: next is the position in topic's backlog.
	behind bool
	topic  *topic
	next   uint64
	ping   bool
	pinged time.Time // when the last ping was asked for, or the viewer came
	// silentSince is when the oldest ping that no frame has followed was written; zero if there is none.
	silentSince time.Time
}

func newViewer(h *Hub, conn net.Conn, binary bool) *viewer {
	v := &viewer{
		hub:     h,
		conn:    conn,
		binary:  binary,
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
	v.poke()
}

// end makes a close frame the last one. Only the first reason counts. reader and hub call it.
func (v *viewer) end(r reason, last frame) {
	v.change(func(out *outbox) { *out = outbox{reason: r, close: last} })
}

// poke wakes the writer. It never waits.
func (v *viewer) poke() {
	select {
	case v.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// restart forgets the place in the old subscription and asks for a snapshot. Called with Hub.mu held.
func (v *viewer) restart() {
	v.change(func(out *outbox) { out.behind, out.topic = true, nil })
}

func (v *viewer) offerAlerts(alerts *alertFrames) {
	v.change(func(out *outbox) {
		out.alerts = alerts.text
		if v.binary {
			out.alerts = alerts.binary
		}
	})
}

func (v *viewer) offerError(text string) {
	v.change(func(out *outbox) { out.reply = compileError(text, v.binary) })
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
		var err error
		if next == nil && !last {
			var some bool
			if some, err = v.sendDeltas(); err == nil && !some {
				<-v.wake
			}
		} else {
			err = v.send(next)
		}
		if err != nil {
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
	}
	v.mu.Unlock()
	return next, data, last
}

// sendDeltas writes deltas that wait in the topic's backlog, and tells whether there were some, or a snapshot is needed.
func (v *viewer) sendDeltas() (bool, error) {
	v.mu.Lock()
	out := &v.out
	if out.reason != "" || out.behind || out.topic == nil {
		some := out.reason != "" || out.behind
		v.mu.Unlock()
		return some, nil
	}
	var there, newest bool
	of := out.topic
	if v.batch, there, newest = of.backlog.collect(out.next, v.batch[:0]); !there {
		out.behind = true
		v.hub.metrics.conflated.Inc()
	}
	out.next += uint64(len(v.batch))
	v.mu.Unlock()
	if len(v.batch) == 0 {
		return !there, nil
	}
	err := v.sendBatch()
	if newest {
		of.waiting.Add(-1)
	}
	now := v.hub.options.Now()
	for _, m := range v.batch {
		if err == nil && !m.received.IsZero() {
			v.hub.metrics.lag.Observe(now.Sub(m.received).Seconds())
		}
		m.release()
	}
	clear(v.batch)
	v.hub.metrics.messages.Add(float64(len(v.batch)))
	return true, err
}

// sendBatch writes the batch, with one system call if it is small.
func (v *viewer) sendBatch() error {
	size := 0
	for _, m := range v.batch {
		size += len(m.frame())
	}
	if len(v.batch) == 1 || size > writePiece {
		for _, m := range v.batch {
			if err := v.send(m.frame()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := v.extendDeadline(); err != nil {
		return err
	}
	v.pieces = v.pieces[:0]
	for _, m := range v.batch {
		v.pieces = append(v.pieces, m.frame())
	}
	room := v.pieces // WriteTo moves the slice along
	n, err := v.pieces.WriteTo(v.conn)
	clear(room)
	v.pieces = room
	v.hub.metrics.bytes.Add(float64(n))
	return err
}

// deadlineEvery is how often a write deadline is set at most; one a write took 6 % of a broadcast's time.
const deadlineEvery = time.Second

// extendDeadline gives the next write at least three quarters of the timeout, and all but a second of a long one.
func (v *viewer) extendDeadline() error {
	now, timeout := time.Now(), v.hub.options.WriteTimeout
	if now.Sub(v.deadlineSet) < min(deadlineEvery, timeout/4) {
		return nil
	}
	v.deadlineSet = now
	return v.conn.SetWriteDeadline(now.Add(timeout))
}

func (v *viewer) send(f frame) error {
	for len(f) > 0 {
		piece := f[:min(len(f), writePiece)]
		if err := v.extendDeadline(); err != nil {
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

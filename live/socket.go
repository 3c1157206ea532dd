package live

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/time/rate"
)

const (
	// A long frame is written in pieces, each with a deadline of its own: a slow line is no dead one.
	writePiece = 64 << 10
	// After its close frame the server waits this long for the viewer's.
	closeGrace = time.Second
	// What a viewer had sent before it saw the close frame is read and thrown away up to this size, for closing a socket
	// with unread bytes resets the connection, and the close frame may be lost.
	maxDrain = 256 << 10
	// A subscription may take a topic and a snapshot that no one else needs, made while all others wait. People who go through
	// pages ask for some at once; a viewer that asks for more than that waits.
	subscriptionBurst = 5
	subscriptionEvery = time.Second
)

// socket is a viewer's WebSocket connection. Two goroutines serve it: the reader, which is the one that the HTTP server started, and
// the viewer's writer, which the reader starts and waits for.
type socket struct {
	viewer *viewer
	conn   net.Conn
	// subscriptions are the reader's.
	subscriptions *rate.Limiter

	// pieces are the writer's, for deltas that are being written, and deadlineSet is when it last set its deadline.
	pieces      net.Buffers
	deadlineSet time.Time
}

func newSocket(h *Hub, conn net.Conn, in form) *socket {
	s := &socket{viewer: newViewer(h, in), conn: conn, subscriptions: rate.NewLimiter(rate.Every(subscriptionEvery), subscriptionBurst)}
	s.viewer.outlet = s
	return s
}

// serve runs the connection until it has ended, and closes it. source is the connection behind the HTTP server's
// buffer.
func (s *socket) serve(source io.Reader) {
	go s.viewer.write()
	err := s.read(source) // has ended the outbox, so that the writer ends
	<-s.viewer.written
	if errors.As(err, new(*closing)) {
		_, _ = io.CopyN(io.Discard, source, maxDrain) // the writer has set a deadline
	}
	_ = s.conn.Close()
}

// heard is called for every frame that came whole.
func (s *socket) heard() {
	s.viewer.mu.Lock()
	s.viewer.out.silentSince = time.Time{}
	s.viewer.mu.Unlock()
}

// look asks for a ping every interval, and ends the connection if one has not been answered for as long.
func (s *socket) look(now time.Time) {
	interval := s.viewer.hub.options.PingInterval
	s.viewer.mu.Lock()
	silent := !s.viewer.out.silentSince.IsZero() && now.Sub(s.viewer.out.silentSince) >= interval
	due := now.Sub(s.viewer.out.pinged) >= interval
	s.viewer.mu.Unlock()
	switch {
	case silent:
		s.viewer.end(reasonPingTimeout, compileClose(ws.StatusPolicyViolation, "no answer to a ping"))
	case due:
		s.viewer.change(func(out *outbox) { out.ping, out.pinged = true, now })
	}
}

// read takes requests until the connection breaks, the viewer closes it (a nil error) or breaks the protocol (a
// *closing), and ends the outbox accordingly.
func (s *socket) read(source io.Reader) error {
	requests := &requestReader{source: source, max: int64(s.viewer.hub.options.MaxFrameBytes)}
	for {
		in, err := requests.next()
		if err != nil {
			var why *closing
			if errors.As(err, &why) {
				s.viewer.end(why.reason, compileClose(why.code, why.text))
			} else {
				s.viewer.end(reasonClient, nil)
			}
			return err
		}
		s.heard()
		switch in.op {
		case ws.OpClose:
			s.viewer.end(reasonClient, closeReply(in.payload))
			return nil
		case ws.OpPing:
			pong := compile(ws.OpPong, in.payload)
			s.viewer.change(func(out *outbox) { out.pong = pong })
		case ws.OpText:
			s.handle(in.payload)
		}
	}
}

func (s *socket) handle(text []byte) {
	request, err := parseRequest(text)
	if err == nil && !s.waitTurn() {
		return // the next read tells why
	}
	if err == nil {
		err = s.viewer.hub.subscribe(s.viewer, request)
	}
	if err != nil {
		s.offerError(err.Error())
	}
}

// waitTurn waits until the viewer may subscribe again, and returns false if it was ended meanwhile. Nothing is read from it until
// then: what it sends besides stays in the connection's buffers, and each request is a sign of life.
func (s *socket) waitTurn() bool {
	wait := s.subscriptions.Reserve().Delay()
	if wait == 0 {
		return true
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
		return true
	case <-s.viewer.ended:
		return false
	}
}

func (s *socket) offerError(text string) {
	s.viewer.change(func(out *outbox) { out.reply = compileError(text, s.viewer.form) })
}

// sendBatch writes the batch, with one system call if it is small.
func (s *socket) sendBatch(batch []*message) error {
	size := 0
	for _, m := range batch {
		size += len(m.frame())
	}
	if len(batch) == 1 || size > writePiece {
		for _, m := range batch {
			if err := s.send(m.frame()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.extendDeadline(); err != nil {
		return err
	}
	s.pieces = s.pieces[:0]
	for _, m := range batch {
		s.pieces = append(s.pieces, m.frame())
	}
	room := s.pieces // WriteTo moves the slice along
	n, err := s.pieces.WriteTo(s.conn)
	clear(room)
	s.pieces = room
	s.viewer.hub.metrics.bytes.Add(float64(n))
	return err
}

// deadlineEvery is how often a write deadline is set at most; one a write took 6 % of a broadcast's time.
const deadlineEvery = time.Second

// extendDeadline gives the next write at least three quarters of the timeout, and all but a second of a long one.
func (s *socket) extendDeadline() error {
	now, timeout := time.Now(), s.viewer.hub.options.WriteTimeout
	if now.Sub(s.deadlineSet) < min(deadlineEvery, timeout/4) {
		return nil
	}
	s.deadlineSet = now
	return s.conn.SetWriteDeadline(now.Add(timeout))
}

func (s *socket) send(f frame) error {
	for len(f) > 0 {
		piece := f[:min(len(f), writePiece)]
		if err := s.extendDeadline(); err != nil {
			return err
		}
		n, err := s.conn.Write(piece)
		s.viewer.hub.metrics.bytes.Add(float64(n))
		if err != nil {
			return err
		}
		f = f[n:]
	}
	return nil
}

// finish has the viewer close its side, and gives it a moment for that.
func (s *socket) finish(last frame) error {
	if err := s.send(last); err != nil {
		return err
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(closeGrace))
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return nil
}

// cut wakes the reader too.
func (s *socket) cut() { _ = s.conn.Close() }

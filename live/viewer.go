package live

import (
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// viewer is one who looks on, by WebSocket or by gRPC. Only its writer, a goroutine, uses its outlet.
type viewer struct {
	hub     *Hub
	outlet  outlet
	form    form          // of what it gets
	topic   *topic        // guarded by Hub.mu
	wake    chan struct{} // capacity 1: there is something in the outbox; anyone sends, never closed
	ended   chan struct{} // closed by end
	written chan struct{} // closed by the writer, when it has written its last

	mu  sync.Mutex // guards the outbox; taken after Hub.mu where both are held
	out outbox

	// batch is the writer's, for deltas that are being written.
	batch []*message
}

// outlet is the way to a viewer. The writer sends and finishes.
type outlet interface {
	// send writes a message, or a control frame, and sendBatch several deltas.
	send(f frame) error
	sendBatch(batch []*message) error
	// finish writes the last frame, if there is one, and tells the viewer that nothing more comes.
	finish(last frame) error
	// cut breaks it for a viewer that was ended and does not go.
	cut()
	// look is called now and then, to find viewers that are not there any more. It does not wait.
	look(now time.Time)
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

// newViewer returns a viewer without an outlet.
func newViewer(h *Hub, in form) *viewer {
	v := &viewer{
		hub:     h,
		form:    in,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
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
	v.change(func(out *outbox) {
		*out = outbox{reason: r, close: last}
		close(v.ended)
	})
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
	v.change(func(out *outbox) { out.alerts = alerts[v.form] })
}

// write writes what the outbox has until its last frame is written or a write fails. Who started it ends the outbox before leaving,
// so the writer does not outlive the viewer by more than a write.
func (v *viewer) write() {
	defer close(v.written)
	for {
		next, data, last := v.take()
		var err error
		switch {
		case last:
			err = v.outlet.finish(next)
		case next != nil:
			err = v.outlet.send(next)
		default:
			var some bool
			if some, err = v.sendDeltas(); err == nil && !some {
				<-v.wake
			}
		}
		if err != nil {
			v.end(reasonWrite, nil)
			v.outlet.cut()
			return
		}
		if last {
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
	err := v.outlet.sendBatch(v.batch)
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

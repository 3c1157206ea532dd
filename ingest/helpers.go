package ingest

import (
	"sync"
	"time"
)

// helpers are goroutines that run errands for streams. One is started when none is free, so an agent that does not read holds
// up nobody but itself, and ends when it was not needed for a while.
//
// Sending is an errand, and so is all that needs a deep stack, while streams are mostly silent: the goroutine of a handler
// keeps the largest stack that it ever needed, and there are thousands of them. Waiting takes 4 KiB, anything else 8.
type helpers struct {
	work    chan errand
	stop    chan struct{} // closed by Server.Wait
	running sync.WaitGroup
}

type errand interface{ run() }

// idleHelper is how long a goroutine waits for the next errand: a flush acknowledges many at once.
const idleHelper = 2 * time.Second

func newHelpers() *helpers {
	return &helpers{work: make(chan errand), stop: make(chan struct{})}
}

// run has an errand run, and does not wait for it.
func (h *helpers) run(e errand) {
	select {
	case h.work <- e:
	default:
		h.running.Go(func() { h.serve(e) })
	}
}

func (h *helpers) serve(e errand) {
	idle := time.NewTimer(idleHelper)
	defer idle.Stop()
	for {
		e.run()
		e = nil // not to keep a session for as long as there is no other
		idle.Reset(idleHelper)
		select {
		case e = <-h.work:
		case <-idle.C:
			return
		case <-h.stop:
			return
		}
	}
}

// wait ends the idle goroutines. No session may be left.
func (h *helpers) wait() {
	close(h.stop)
	h.running.Wait()
}

// call is an errand that is waited for.
type call struct {
	work func() error
	done chan error
}

func (c *call) run() { c.done <- c.work() }

// call has work run, and returns what it does.
func (h *helpers) call(work func() error) error {
	c := &call{work, make(chan error, 1)}
	h.run(c)
	return <-c.done
}

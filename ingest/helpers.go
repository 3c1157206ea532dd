package ingest

import (
	"slices"
	"sync"
	"time"
)

// helpers are goroutines that run errands for streams. One is started when none is free, so an agent that does not read holds
// up nobody but itself, and ends when it was not needed for a while.
//
// Sending is an errand, and so is all that needs a deep stack, while streams are mostly silent: the goroutine of a handler
// keeps the largest stack that it ever needed, and there are thousands of them. Waiting takes 4 KiB, anything else 8.
type helpers struct {
	stop    chan struct{} // closed by Server.Wait
	running sync.WaitGroup

	mu sync.Mutex
	// idle is a stack: who was needed last is needed next, so that the time of those runs out whom only a burst had needed.
	idle []*helper
}

// helper is one of the goroutines.
type helper struct {
	// work has room for one errand, which is given to who was taken out of helpers.idle.
	work chan errand
}

type errand interface{ run() }

// idleHelper is how long a goroutine waits for the next errand: a flush acknowledges many at once.
const idleHelper = 2 * time.Second

func newHelpers() *helpers { return &helpers{stop: make(chan struct{})} }

// run has an errand run, and does not wait for it.
func (h *helpers) run(e errand) {
	h.mu.Lock()
	last := len(h.idle) - 1
	if last < 0 {
		h.mu.Unlock()
		h.running.Go(func() { h.serve(e) })
		return
	}
	one := h.idle[last]
	h.idle[last] = nil
	h.idle = h.idle[:last]
	h.mu.Unlock()
	one.work <- e
}

func (h *helpers) serve(e errand) {
	one := &helper{work: make(chan errand, 1)}
	idle := time.NewTimer(idleHelper)
	defer idle.Stop()
	for {
		e.run()
		e = nil // not to keep a session for as long as there is no other
		idle.Reset(idleHelper)
		h.mu.Lock()
		h.idle = append(h.idle, one)
		h.mu.Unlock()
		select {
		case e = <-one.work:
		case <-idle.C:
			if h.retire(one) {
				return
			}
			e = <-one.work // it was needed at that moment
		case <-h.stop:
			return
		}
	}
}

// retire takes a helper out of those who are idle. It returns false if it is not idle any more.
func (h *helpers) retire(one *helper) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	place := slices.Index(h.idle, one) // among the first, for it has been idle for long
	if place < 0 {
		return false
	}
	h.idle = slices.Delete(h.idle, place, place+1)
	return true
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

package agent

import (
	"fmt"
	"sync"
	"time"
)

// guard runs calls into the kernel that may never return (statfs on a dead network mount, a sensor behind a stuck bus), so
// that they cost the sampling at most a bounded wait. A call that is still out is not started again until it comes back,
// so at most one goroutine a key is ever lost to it.
type guard struct {
	mu  sync.Mutex
	out map[string]time.Time // keys of calls that have not returned, and since when
}

func newGuard() *guard { return &guard{out: make(map[string]time.Time)} }

// call is one guarded call. Its fields may be read once done is closed.
type call[T any] struct {
	done  chan struct{} // closed by the call's goroutine
	value T
	err   error
}

// start begins f in a goroutine of its own, unless the call under this key is still out: then it says since when.
func start[T any](g *guard, key string, f func() (T, error)) (c *call[T], stuckSince time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if since, out := g.out[key]; out {
		return nil, since
	}
	g.out[key] = time.Now()
	c = &call[T]{done: make(chan struct{})}
	// The goroutine ends when f returns; nobody can end it sooner, a call into the kernel has no cancel.
	go func() {
		defer func() {
			if p := recover(); p != nil {
				c.err = fmt.Errorf("panic: %v", p)
			}
			g.mu.Lock()
			delete(g.out, key)
			g.mu.Unlock()
			close(c.done)
		}()
		c.value, c.err = f()
	}()
	return c, time.Time{}
}

// within runs f and waits for it at most the timeout.
func within[T any](g *guard, key string, timeout time.Duration, f func() (T, error)) (T, error) {
	var none T
	c, since := start(g, key, f)
	if c == nil {
		return none, fmt.Errorf("%s has not answered since %s", key, since.UTC().Format(time.RFC3339))
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.value, c.err
	case <-timer.C:
		return none, fmt.Errorf("%s did not answer within %s", key, timeout)
	}
}

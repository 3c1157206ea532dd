package live

import (
	"sync"
	"sync/atomic"
)

// changes gathers the hosts that changed for one who watches. When no one does, a change costs the look whether one does.
type changes struct {
	watched atomic.Bool
	// wake says that there are some; capacity 1, never closed.
	wake chan struct{}

	mu    sync.Mutex // guards hosts, and every host's queued; no other lock is taken under it
	hosts []*host
}

// watch starts or ends the gathering.
func (c *changes) watch(on bool) {
	c.watched.Store(on)
	if !on {
		c.take(nil)
	}
}

// note remembers a host that has changed.
func (c *changes) note(h *host) {
	if !c.watched.Load() {
		return
	}
	c.mu.Lock()
	first := len(c.hosts) == 0
	if !h.queued {
		h.queued = true
		c.hosts = append(c.hosts, h)
	}
	c.mu.Unlock()
	if first {
		select {
		case c.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// take returns the hosts that have changed since, and gathers the next ones in room.
func (c *changes) take(room []*host) []*host {
	clear(room)
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.hosts
	for _, h := range changed {
		h.queued = false
	}
	c.hosts = room[:0]
	return changed
}

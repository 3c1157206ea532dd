package ingest

import (
	"context"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of what is on its way to storage. What does not fit waits, in no order.
type budget struct {
	limit int64
	used  atomic.Int64
	space gate
}

// take waits for room for n bytes as long as ctx lasts. More than the limit is let in alone.
func (b *budget) take(ctx context.Context, n int64) error {
	return b.space.await(ctx, func() bool {
		for {
			used := b.used.Load()
			if used > 0 && used+n > b.limit {
				return false
			}
			if b.used.CompareAndSwap(used, used+n) {
				return true
			}
		}
	})
}

// give returns what was taken.
func (b *budget) give(n int64) {
	b.used.Add(-n)
	b.space.open()
}

// gate lets goroutines wait for a condition that others make true. Opening costs one atomic load while no one waits.
type gate struct {
	waiting atomic.Bool
	mu      sync.Mutex
	opened  chan struct{}
}

// await returns once try does, which it calls again whenever the gate opens, or with ctx's error.
func (g *gate) await(ctx context.Context, try func() bool) error {
	for !try() {
		opened := g.wait()
		if try() { // opened since the first try
			return nil
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// wait returns a channel that the next open closes.
func (g *gate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
	g.waiting.Store(true)
	return g.opened
}

// open is called after the condition has become true.
func (g *gate) open() {
	if !g.waiting.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Store(false)
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

package ingest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// entry is a batch on its way to storage, and the stream that waits for its acknowledgement.
type entry struct {
	batch *storage.Batch
	rows  int
	from  *session
}

// shard is a ring and the one flusher that empties it. All batches of a host go through the same shard, so they stay
// in order.
type shard struct {
	ring *ring[entry]
	// ready wakes the flusher. It holds one token at most: the flusher looks at the whole ring when it wakes.
	ready chan struct{}
	space gate
}

func newShard(capacity int) *shard {
	return &shard{ring: newRing[entry](capacity), ready: make(chan struct{}, 1), space: gate{opened: make(chan struct{})}}
}

// put hands an entry to the flusher, waiting for a free slot as long as ctx lasts. That wait is the back-pressure: the
// caller does not receive from its stream meanwhile, and gRPC's flow control holds the agent back.
func (s *shard) put(ctx context.Context, e entry) error {
	for !s.ring.push(e) {
		opened := s.space.wait()
		if s.ring.push(e) { // freed since the first try
			break
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
	return nil
}

// gather waits for entries and returns those of one flush in dst: it stops at maxRows rows, or when the first entry has
// waited for age. The slots stay taken. It returns an empty slice when ctx ends while the ring is empty.
func (s *shard) gather(ctx context.Context, dst []entry, maxRows int, age time.Duration) []entry {
	rows := 0
	take := func() {
		for rows < maxRows {
			e, ok := s.ring.at(len(dst))
			if !ok {
				return
			}
			dst = append(dst, e)
			rows += max(e.rows, 1)
		}
	}
	var due <-chan time.Time
	for {
		take()
		if rows >= maxRows {
			return dst
		}
		if len(dst) > 0 && due == nil {
			timer := time.NewTimer(age)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-s.ready:
		case <-due:
			take()
			return dst
		case <-ctx.Done():
			take()
			return dst
		}
	}
}

// free gives back the slots of the n oldest entries, and lets the streams on that wait for one.
func (s *shard) free(n int) {
	s.ring.free(n)
	s.space.open()
}

func countRows(entries []entry) int {
	rows := 0
	for i := range entries {
		rows += entries[i].rows
	}
	return rows
}

// gate lets goroutines wait until the next open. Opening costs one atomic load while no one waits.
type gate struct {
	waiting atomic.Bool
	mu      sync.Mutex
	opened  chan struct{}
}

// wait returns a channel that the next open closes. The caller checks its condition again before it blocks on it.
func (g *gate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Store(true)
	return g.opened
}

func (g *gate) open() {
	if !g.waiting.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Store(false)
	close(g.opened)
	g.opened = make(chan struct{})
}

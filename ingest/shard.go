package ingest

import (
	"context"
	"sync/atomic"
	"time"
)

// shard is a ring and the one flusher that empties it. All batches of a host go through the same shard, so they stay
// in order.
type shard struct {
	ring  *ring[*entry]
	space gate
	// failing is why the flusher could store nothing the last time, nil if it could. Others read it.
	failing atomic.Pointer[error]
}

func newShard(slots int) *shard { return &shard{ring: newRing[*entry](slots)} }

// put hands an entry to the flusher, waiting for a free slot as long as ctx lasts. That wait is the back-pressure: the
// caller does not receive from its stream meanwhile, and gRPC's flow control holds the agent back.
func (s *shard) put(ctx context.Context, e *entry) error {
	if s.ring.push(e) {
		return nil
	}
	return s.space.await(ctx, func() bool { return s.ring.push(e) })
}

// gathering says when a flush is large or old enough.
type gathering struct {
	// maxRows is the most that a flush takes.
	maxRows int
	// age is how long the first entry of a flush waits for others …
	age time.Duration
	// … unless there are this many rows or entries already: they are worth a commit. So an idle server commits seldom, and a
	// busy one, for which more comes in during every commit, never waits.
	enoughRows, enoughEntries int
}

func newGathering(maxRows, slots int, age time.Duration) gathering {
	return gathering{maxRows: maxRows, age: age, enoughRows: max(maxRows/10, 1), enoughEntries: max(slots/16, 1)}
}

// gather waits for entries and returns those of one flush in dst. The slots stay taken. It returns an empty slice when ctx
// ends while the ring is empty.
func (s *shard) gather(ctx context.Context, dst []*entry, g gathering) []*entry {
	rows := 0
	var due <-chan time.Time
	for {
		for rows < g.maxRows {
			e, ok := s.ring.at(len(dst))
			if !ok {
				break
			}
			dst = append(dst, e)
			rows += max(e.inserts(), 1)
		}
		if rows >= g.enoughRows || len(dst) >= g.enoughEntries {
			return dst
		}
		want := 1
		if len(dst) > 0 {
			if due == nil {
				timer := time.NewTimer(g.age)
				defer timer.Stop()
				due = timer.C
			}
			// As many as make enough if the next are as large as these were.
			each := (rows + len(dst) - 1) / len(dst)
			want = min((g.enoughRows-rows+each-1)/each, g.enoughEntries-len(dst))
		}
		if s.ring.await(len(dst) + want) {
			continue
		}
		select {
		case <-s.ring.ready:
		case <-due:
			g.enoughEntries = len(dst) // what has come since is taken along
		case <-ctx.Done():
			g.enoughEntries = 0
		}
	}
}

// free gives back the slots of the n oldest entries, and lets the streams on that wait for one.
func (s *shard) free(n int) {
	s.ring.free(n)
	s.space.open()
}

package query

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errBusy: no slot became free in time.
var errBusy = errors.New("the server is busy")

// slots bound how many range queries run at once. Each holds a connection of the database, which it keeps busy, and its
// whole answer in memory.
type slots struct {
	taken chan struct{}
	wait  time.Duration
}

func newSlots(count int, wait time.Duration) *slots {
	return &slots{taken: make(chan struct{}, count), wait: wait}
}

// take waits for a slot, and returns errBusy (wrapped) if none becomes free in time. The caller gives the slot back by
// release.
func (s *slots) take(ctx context.Context) (release func(), err error) {
	release = func() { <-s.taken }
	select {
	case s.taken <- struct{}{}:
		return release, nil
	default:
	}
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case s.taken <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, fmt.Errorf("%w: %d range queries run already, the limit, and none ended within %s", errBusy, cap(s.taken), s.wait)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

package auth

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// addressLimiter gives every client address a bucket of tries. It remembers a bounded number of addresses and forgets
// the one that tried least recently. It is safe for concurrent use.
type addressLimiter struct {
	every rate.Limit
	burst int
	max   int

	mu sync.Mutex
	// recent holds *bucket, the newest try in front; byKey leads into it.
	recent *list.List
	byKey  map[netip.Prefix]*list.Element
}

type bucket struct {
	key     netip.Prefix
	limiter *rate.Limiter
}

func newAddressLimiter(every rate.Limit, burst, addresses int) *addressLimiter {
	return &addressLimiter{every: every, burst: burst, max: addresses, recent: list.New(), byKey: make(map[netip.Prefix]*list.Element)}
}

// take returns 0 and takes a try, or returns how long to wait for the next one.
func (l *addressLimiter) take(key netip.Prefix, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	element, ok := l.byKey[key]
	if ok {
		l.recent.MoveToFront(element)
	} else {
		if l.recent.Len() >= l.max {
			oldest := l.recent.Back()
			delete(l.byKey, l.recent.Remove(oldest).(*bucket).key)
		}
		element = l.recent.PushFront(&bucket{key: key, limiter: rate.NewLimiter(l.every, l.burst)})
		l.byKey[key] = element
	}
	reservation := element.Value.(*bucket).limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

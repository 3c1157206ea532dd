package agent

import (
	"math/rand/v2"
	"time"
)

// backoff spaces attempts: full jitter under a ceiling that doubles, so that a fleet that lost its server does not come
// back at once. Not safe for concurrent use.
type backoff struct {
	base, ceiling time.Duration
	// floor keeps a lucky draw from making a busy loop.
	floor   time.Duration
	attempt int
}

func (b *backoff) reset() { b.attempt = 0 }

// mostDoublings of the base are above every ceiling.
const mostDoublings = 32

// grow has the ceiling be that of the next wait.
func (b *backoff) grow() { b.attempt = max(b.attempt, mostDoublings) }

func (b *backoff) next() time.Duration {
	limit := b.ceiling
	if b.attempt < mostDoublings && b.base<<b.attempt < b.ceiling && b.base<<b.attempt > 0 {
		limit = b.base << b.attempt
	}
	b.attempt++
	return max(time.Duration(rand.Int64N(int64(limit)+1)), b.floor)
}

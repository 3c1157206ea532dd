package measure

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// A bucket is a microsecond wide at first, and then a thirty-second of its lower edge: a quantile is at most 3 % too high.
	bucketsADoubling = 32
	// What takes longer than 2^40 µs, twelve days, counts as that.
	mostDoublings = 36
)

// Histogram counts durations that come too often to keep each. It is safe for concurrent use, and its zero value is ready.
type Histogram struct {
	counts [bucketsADoubling * (mostDoublings + 1)]atomic.Int64
	count  atomic.Int64
}

// Add counts a duration; a negative one, which clocks may cause, as none.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucketOf(max(d.Microseconds(), 0))].Add(1)
	h.count.Add(1)
}

// Count is how many were added since the last Reset.
func (h *Histogram) Count() int64 { return h.count.Load() }

// Reset forgets all.
func (h *Histogram) Reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.count.Store(0)
}

// Millis returns the q-quantile in milliseconds, NaN for none.
func (h *Histogram) Millis(q float64) float64 {
	total := int64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
	}
	rank := int64(math.Ceil(q * float64(total)))
	seen := int64(0)
	for i := range h.counts {
		seen += h.counts[i].Load()
		if total > 0 && seen >= max(rank, 1) {
			return float64(edgeOf(i)) / 1000
		}
	}
	return math.NaN()
}

// bucketOf returns the bucket of a number of microseconds: below 64 each has its own.
func bucketOf(micros int64) int {
	doublings := min(max(bits.Len64(uint64(micros))-6, 0), mostDoublings-1)
	return min(bucketsADoubling*doublings+int(micros>>doublings), bucketsADoubling*(mostDoublings+1)-1)
}

// edgeOf returns the first number of microseconds above a bucket, or the only one in it.
func edgeOf(bucket int) int64 {
	if bucket < 2*bucketsADoubling {
		return int64(bucket)
	}
	doublings := bucket/bucketsADoubling - 1
	return int64(bucket-bucketsADoubling*doublings+1) << doublings
}

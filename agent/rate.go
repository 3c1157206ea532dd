package agent

import (
	"math"
	"math/bits"
	"time"
)

// minElapsed is the shortest time over which a rate means anything: under it the grain of the counters (10 ms of CPU, a few
// packets) shows.
const minElapsed = 100 * time.Millisecond

// rate is the growth of a counter in units a second. It is nil, for a tick, where the growth is unknown: the counter went
// down (the device was replaced or the machine rebooted) or no time passed.
func rate(before, now uint64, elapsed time.Duration) *float32 {
	if now < before || elapsed < minElapsed {
		return nil
	}
	v := float32(roundRate(float64(now-before) / elapsed.Seconds()))
	return &v
}

// What is measured between two moments is not as exact as a float can tell, and noise does not compress: with all of its digits a
// sample takes at least a quarter more on disk. So shares are told to a 16th of a percent, which is right to the one decimal that is shown (the
// grain of two processors' clocks over ten seconds is a 20th); rates to 10 bits, a part in a thousand; and load averages, of which the kernel tells two
// decimals, to a 128th, which shows as the same two. They are parts of two because a float that ends early compresses, and 0.1 does not
// end. A size of which a part is taken is told in whole MiB from 16 MiB up and in KiB below, downwards: the parts of a whole are then never more than
// it. Counters and whole sizes are exact. A database that compresses keeps all of them but rates as whole numbers (Packing in the contract).
const (
	shareGrain = 16
	loadGrain  = 128
	rateBits   = 10

	sizeGrain      = 1 << 20
	smallSizeGrain = 1 << 10
	leastInMiB     = 16 * sizeGrain
)

func roundShare(percent float64) float64 { return math.Round(percent*shareGrain) / shareGrain }

func roundLoad(average float64) float64 { return math.Round(average*loadGrain) / loadGrain }

func roundSize(bytes uint64) uint64 {
	if bytes >= leastInMiB {
		return bytes - bytes%sizeGrain
	}
	return bytes - bytes%smallSizeGrain
}

func roundRate(v float64) float64 {
	fraction, exponent := math.Frexp(v)
	return math.Ldexp(math.Round(math.Ldexp(fraction, rateBits)), exponent-rateBits)
}

// times is n units in bytes, or more than any database keeps: a counter that ran below 0 must not come around as an ordinary one.
func times(n, unit uint64) uint64 {
	if high, low := bits.Mul64(n, unit); high == 0 {
		return low
	}
	return math.MaxUint64
}

// growth32 is the growth of a counter that the kernel keeps in 32 bits. A value lower than before is a wrap only if the
// caller knows that the device was not reset (its other counters grew) and the counter was in its upper half.
func growth32(before, now uint64) (uint64, bool) {
	switch {
	case now >= before:
		return now - before, true
	case before >= 1<<31 && before < 1<<32:
		return now + 1<<32 - before, true
	default:
		return 0, false
	}
}

// percentOf is part/whole in percent, held within 0 and 100 (two counters read a moment apart can disagree); nil when the
// whole is nothing.
func percentOf(part, whole float64) *float32 {
	if !(whole > 0) {
		return nil
	}
	v := float32(roundShare(min(max(part/whole*100, 0), 100)))
	return &v
}

// sum adds the rates of a machine's devices, of which some may be unknown.
type sum struct {
	known, lacking bool
	added          float64
}

// add takes the rate of a device, and whether it was there at the reading before.
func (s *sum) add(v *float32, seen bool) {
	if v != nil {
		s.known, s.added = true, s.added+float64(*v)
	} else if seen {
		s.lacking = true
	}
}

// total is the rate of all of them. A device that has just come is left out; it is nil if one that was there has no rate, as
// after a reset, for without it the rest would show as a dip, and if there is none.
func (s *sum) total() *float32 {
	if !s.known || s.lacking {
		return nil
	}
	return pointer(float32(roundRate(s.added)))
}

// highest keeps the greatest of some values; it is nil if there are none.
type highest struct{ value *float32 }

func (h *highest) add(v *float32) {
	if v == nil {
		return
	}
	if h.value == nil || *v > *h.value {
		c := *v
		h.value = &c
	}
}

// readings holds the counters of each device (by name) from the previous tick, and when they were read, by the monotonic
// clock, so that steps of the wall clock do not bend rates.
type readings[C any] struct {
	at     time.Time
	byName map[string]C
	spare  map[string]C // the map before last, used again
}

// since returns the time from the previous reading to now, 0 before the first.
func (r *readings[C]) since(now time.Time) time.Duration {
	if r.at.IsZero() {
		return 0
	}
	return now.Sub(r.at)
}

// fresh returns an empty map for this tick's counters, to be handed to keep.
func (r *readings[C]) fresh() map[string]C {
	if r.spare == nil {
		return make(map[string]C)
	}
	clear(r.spare)
	return r.spare
}

func (r *readings[C]) keep(now time.Time, current map[string]C) {
	r.spare, r.byName, r.at = r.byName, current, now
}

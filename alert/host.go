package alert

import (
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// host is what the engine remembers of a host between evaluations. All moments but sample are of the server's clock,
// so that a host's wrong clock neither hides nor makes an alert.
type host struct {
	id uint32
	// hostname, interval and status are as the source showed them last.
	hostname string
	interval time.Duration
	status   gohubv1.HostStatus
	// sample is the time of the newest sample, by the host's clock, and stored that of the newest one when the engine
	// saw the host first: about then the server's last life heard it.
	sample, stored time.Time
	// heardAt is when a new sample was last noticed; for a host that was silent from the start, when the server began
	// to listen.
	heardAt time.Time
	// lag is how far behind the server's clock the newest sample was when it was noticed, and usual is the lag of the
	// samples that count: the error of the host's clock and the way here.
	lag, usual time.Duration
	// fresh: this evaluation has a new sample that counts. heard: it has a new sample.
	fresh, heard bool
	// tick is the evaluation that saw the host last; absentSince is since when the source does not have it.
	tick        uint64
	absentSince time.Time
}

// observe notes the host's newest sample. A sample is fresh if it is new, the host is not down, and the host is not
// just delivering what it kept while it could not reach the server: replayed values must neither fire nor resolve.
// That shows as samples that are much older than usual, and whose age changes; an age that stays is a clock that was
// set, and is the usual one from then on.
func (h *host) observe(now time.Time, current Host, interval time.Duration) {
	h.hostname, h.interval, h.status = current.Hostname(), current.Interval(), current.Status()
	h.fresh, h.heard = false, false
	if h.heardAt.IsZero() {
		h.heardAt = now
	}
	sample := current.Sampled()
	if sample.IsZero() {
		return
	}
	first := h.sample.IsZero()
	if !first && sample.Equal(h.sample) {
		return
	}
	if first {
		h.stored = sample
	}
	h.sample = sample
	before := h.lag
	h.lag = now.Sub(sample)
	up := isUp(h.status)
	if first && !up {
		// What the server read from the database at its start.
		return
	}
	h.heardAt, h.heard = now, true
	if h.status == gohubv1.HostStatus_HOST_STATUS_DOWN {
		return
	}
	if h.lag > h.usual+h.gapLimit(interval) && (h.lag-before).Abs() > 2*interval {
		return
	}
	h.usual = h.lag
	h.fresh = true
}

// isUp tells whether a host is heard: one that is late may have sent what was not looked at yet, and is not down.
func isUp(status gohubv1.HostStatus) bool {
	return status == gohubv1.HostStatus_HOST_STATUS_UP || status == gohubv1.HostStatus_HOST_STATUS_LATE
}

// gapLimit is how far apart two samples may be for the time between them to count as observed: the three intervals
// after which a host is down, and two evaluations.
func (h *host) gapLimit(interval time.Duration) time.Duration {
	return max(3*h.interval, minGap) + 2*interval
}

// name is what alerts call the host.
func (h *host) name() string {
	if name := clean(h.hostname); name != "" {
		return name
	}
	return fmt.Sprintf("host %d", h.id)
}

package live

import (
	"strconv"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// View is a host as it was at one moment, copied flat, for those who go through the whole fleet again and again: the
// alert evaluation and the exposition. One View is used for one host after the other, and then allocates nothing once it
// has seen the largest. The strings that it gives out may be kept.
type View struct {
	id       storage.HostID
	hostname string
	interval time.Duration
	status   gohubv1.HostStatus
	// statusSince is zero if it is not known; skew and lag are in seconds.
	statusSince time.Time
	skew, lag   float64
	sampled     time.Time
	facts       *gohubv1.HostFacts
	blocks      []block

	// cpu is what the exposition has added up of the host, if it does.
	cpu *cpuSeconds

	// version, shape and phase say what the exposition has to make anew.
	version uint64
	shape   uint32
	phase   phase
}

// Each copies one host after the other, by id, into view and calls see with it. Nothing is locked meanwhile, so see may
// take its time.
func (s *State) Each(view *View, see func(*View)) {
	m := s.moment()
	for _, h := range s.all() {
		h.view(view, m)
		see(view)
	}
}

func (h *host) view(v *View, m moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.copyTo(v, m)
}

// viewChanged is view, unless the host is as it was when the exposition looked last, which it tells.
func (h *host) viewChanged(v *View, m moment, known made) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.version == known.version && h.phase(m) == known.phase {
		return false
	}
	h.copyTo(v, m)
	return true
}

// copyTo is called with mu held.
func (h *host) copyTo(v *View, m moment) {
	if v.blocks == nil {
		v.blocks = make([]block, len(families))
	}
	v.facts = h.identity.GetFacts()
	v.id, v.hostname, v.interval = h.id, v.facts.GetHostname(), time.Duration(v.facts.GetIntervalMillis())*time.Millisecond
	v.status, v.statusSince = h.status(m)
	v.sampled = h.sampled
	v.skew, v.lag = h.clock()
	v.version, v.shape, v.phase = h.version, h.shape, h.phase(m)
	for i := range h.blocks {
		v.blocks[i].copy(&h.blocks[i])
	}
}

// phase is called with mu held.
func (h *host) phase(m moment) phase {
	switch status, _ := h.status(m); status {
	case gohubv1.HostStatus_HOST_STATUS_UP, gohubv1.HostStatus_HOST_STATUS_LATE:
		return phaseUp
	case gohubv1.HostStatus_HOST_STATUS_DOWN:
		// One that has not sent since the start was silent for longer, as far as its last stored sample tells.
		since := h.heard
		if since.IsZero() {
			since = h.sampled
		}
		if m.now.Sub(since) > hostGone {
			return phaseNone
		}
		return phaseDown
	default:
		return phaseUnknown
	}
}

func (v *View) made() made { return made{v.version, v.shape, v.phase} }

// idText is the host's number as text.
func (v *View) idText() string { return strconv.FormatUint(uint64(v.id), 10) }

// bits are those of a reading as it came, or missing.
func (v *View) bits(metric *catalogue.Metric, row int) uint64 {
	b := &v.blocks[metric.Family.Place()]
	if row >= b.rows {
		return missing
	}
	return b.bits(row, metric.Index)
}

// ID is the host's number.
func (v *View) ID() uint32 { return uint32(v.id) }

// Hostname is what the host calls itself, empty before its facts are told.
func (v *View) Hostname() string { return v.hostname }

// Interval is how often the host says that it sends, 0 before its facts are told.
func (v *View) Interval() time.Duration { return v.interval }

// Status tells whether the host's samples arrive.
func (v *View) Status() gohubv1.HostStatus { return v.status }

// Sampled is the time of the newest sample, by the host's clock; zero if there is none.
func (v *View) Sampled() time.Time { return v.sampled }

// Rows is the number of instances of a family in the newest sample; of the host family, 0 or 1.
func (v *View) Rows(family *catalogue.Family) int { return v.blocks[family.Place()].rows }

// Label is the i-th label of an instance of a family.
func (v *View) Label(family *catalogue.Family, row, i int) string {
	return v.blocks[family.Place()].label(row, i)
}

// Value is the reading of a metric in an instance of its family, and whether there is one.
func (v *View) Value(metric *catalogue.Metric, row int) (float64, bool) {
	return v.blocks[metric.Family.Place()].value(row, metric.Index)
}

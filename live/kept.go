package live

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultBytes is room for the instances of 5,000 machines with hundreds each.
	DefaultBytes = 512 << 20
	// Of a host that has been down for this long the instances are let go: nothing shows them as present any more.
	letGoAfter = 24 * time.Hour
	// letGoEvery is how often such hosts are looked for.
	letGoEvery = time.Minute
)

// kept counts what the instances of all hosts take, which agents decide. The host family's row is not counted: it has a fixed size,
// and hosts are bounded in number.
//
// Over the limit a host that takes more than an equal share keeps only its host row, so that who fills the memory with what no machine
// has does not take the others' values away. It gets its instances back with the first sample after there is room.
type kept struct {
	limit, used atomic.Int64
	// share is the limit divided by the hosts.
	share atomic.Int64
	// cut counts the hosts that keep only their host row.
	cut atomic.Int64
	// lookedAt is when hosts to let go were looked for, in Unix nanoseconds.
	lookedAt atomic.Int64
}

// full tells whether there is too much; after a cut there must be an eighth of room, so that it does not come and go.
func (k *kept) full(isCut bool) bool {
	limit := k.limit.Load()
	if isCut {
		limit -= limit / 8
	}
	return k.used.Load() > limit
}

func (k *kept) divide(hosts int) { k.share.Store(k.limit.Load() / int64(max(hosts, 1))) }

// Limit sets how many bytes the instances of all hosts may take, DefaultBytes until it is called. It is called before hosts come.
func (s *State) Limit(bytes int64) {
	s.kept.limit.Store(bytes)
	s.kept.divide(1)
}

// Collectors tell of the memory of the hosts' instances.
func (s *State) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_live_memory_bytes",
			Help: "Memory that the newest values of all hosts' instances take: cores, filesystems, processes and so on.",
		}, func() float64 { return float64(s.kept.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_live_hosts_cut",
			Help: "Hosts of which no instances are shown live, because those of all hosts would take more memory than they may.",
		}, func() float64 { return float64(s.kept.cut.Load()) }),
	}
}

// letGo has hosts that were down for long keep only their host row.
func (s *State) letGo() {
	now := s.now()
	if last := s.kept.lookedAt.Load(); now.Sub(time.Unix(0, last)) < letGoEvery || !s.kept.lookedAt.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	for _, h := range s.all() {
		h.mu.Lock()
		gone := h.bytes > 0 && now.Sub(h.heard) > letGoAfter
		if gone {
			h.empty()
			h.version++
		}
		h.mu.Unlock()
		if gone {
			s.changes.note(h)
		}
	}
}

// empty gives the host's instances back. It is called with mu held.
func (h *host) empty() {
	for i := range h.blocks[1:] {
		h.blocks[1+i] = block{layout: h.blocks[1+i].layout}
	}
	h.kept.used.Add(-h.bytes)
	h.bytes = 0
	h.shape++
}

// fit counts what the instances take now, if they are others than before, and cuts the host if it is too much. It is called with mu held.
func (h *host) fit(changed bool) {
	if changed {
		bytes := int64(0)
		for i := range h.blocks[1:] {
			bytes += h.blocks[1+i].bytes()
		}
		if bytes != h.bytes {
			h.kept.used.Add(bytes - h.bytes)
			h.bytes = bytes
		}
	}
	if h.bytes > 0 && h.kept.full(false) && h.bytes > h.kept.share.Load() {
		h.empty()
		h.isCut = true
		h.kept.cut.Add(1)
	}
}

// bytes is about what the block takes.
func (b *block) bytes() int64 { return int64(4*cap(b.words) + len(b.text) + 4*cap(b.ends)) }

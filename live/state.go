// Package live holds the newest values of every host in memory, once, and shows them while they change. In the data's
// path it stands beside storage: ingest tells State each sample that it takes, and the fleet list, the alert
// evaluation, the Prometheus gauges (NewCollector) and the browsers (Hub, over WebSocket) all read that one State.
package live

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// State is the newest sample and the status of every host. All methods are safe for concurrent use. A call holds the
// lock of one host at a time, and never during I/O, so a reader of the whole fleet does not hold ingest up.
//
// Hosts are never removed: their number is bounded by the agents that were enrolled. What is kept of their instances is bounded in
// bytes (kept.go).
type State struct {
	now func() time.Time
	// listening is the moment's.
	listening atomic.Pointer[moment]
	// apart is the moment's, nil for zero.
	apart   atomic.Pointer[time.Time]
	changes changes
	// jsonRoster and protoRoster keep what lists of the hosts are made of.
	jsonRoster, protoRoster roster
	kept                    kept

	mu   sync.RWMutex // guards those below, not the hosts themselves
	byID map[storage.HostID]*host
	// sorted holds the hosts by id. It is never changed, and nil when a host has come since it was made: a whole fleet may
	// come at once, in any order.
	sorted []*host
}

// NewState returns a State without hosts. now tells the time that statuses are judged by; nil is time.Now.
func NewState(now func() time.Time) *State {
	if now == nil {
		now = time.Now
	}
	s := &State{now: now, byID: make(map[storage.HostID]*host)}
	s.listening.Store(&moment{listening: now()})
	s.Limit(DefaultBytes)
	s.changes.wake = make(chan struct{}, 1)
	s.jsonRoster.form, s.protoRoster.form = formJSON, formProto
	return s
}

// SetDeaf tells whether the server can take no samples, because its database is away. Then no host is down: one whose
// samples do not come is unknown, until some time after the server can take them again.
func (s *State) SetDeaf(deaf bool) {
	if s.listening.Load().deaf != deaf {
		s.listening.Store(&moment{listening: s.now(), deaf: deaf})
	}
}

// Deaf tells what SetDeaf has told.
func (s *State) Deaf() bool { return s.listening.Load().deaf }

// moment is the present.
func (s *State) moment() moment {
	m := *s.listening.Load()
	m.now = s.now()
	if apart := s.apart.Load(); apart != nil {
		m.apart = *apart
	}
	return m
}

// SetHost makes a host known, or takes its new facts. A host without samples has status UNSPECIFIED until samples
// could have been expected, counted from the first SetHost. h.Facts is copied.
func (s *State) SetHost(h storage.Host) {
	known := s.ensure(h.ID)
	known.setIdentity(h)
	s.changes.note(known)
}

// Restore takes the newest stored samples, so that a restarted server shows the fleet's last values at once. They say
// nothing about the status. A host that has sent since the start keeps what it sent.
func (s *State) Restore(latest []storage.Latest) {
	now := s.now()
	for _, l := range latest {
		known := s.ensure(l.Host)
		known.restore(l, now)
		s.changes.note(known)
	}
}

// Observe takes a sample that ingest has validated. receivedAt is when the server had it. The sample may be any age:
// one that is older than the newest says that the host is alive, but its values are not shown. The exception is a host
// whose newest sample has not been followed by a newer one for so long that it would be down: then its clock has been
// set back, and the older sample is the true one.
//
// The sample is not kept; only its label values (strings) are.
func (s *State) Observe(id storage.HostID, sample *catalogue.Sample, receivedAt time.Time) {
	s.observe(nil, id, sample, receivedAt)
}

func (s *State) observe(from *Peer, id storage.HostID, sample *catalogue.Sample, receivedAt time.Time) {
	h := s.ensure(id)
	h.observe(from, sample, receivedAt)
	s.changes.note(h)
}

// Host returns one host with everything, and whether there is such a host. The answer is the caller's, except for what does not
// change with its samples, which is shared and must not be changed.
func (s *State) Host(id storage.HostID) (*gohubv1.Host, bool) {
	h, ok := s.lookup(id)
	if !ok {
		return nil, false
	}
	return h.message(s.moment()), true
}

// all returns the hosts by id. The caller must not change the slice.
func (s *State) all() []*host {
	s.mu.RLock()
	sorted := s.sorted
	s.mu.RUnlock()
	if sorted != nil {
		return sorted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = slices.SortedFunc(maps.Values(s.byID), func(a, b *host) int { return cmp.Compare(a.id, b.id) })
	}
	return s.sorted
}

func (s *State) lookup(id storage.HostID) (*host, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.byID[id]
	return h, ok
}

// ensure returns the host and adds it if it is new: a host that sends before its facts are told is shown by its id.
func (s *State) ensure(id storage.HostID) *host {
	if h, ok := s.lookup(id); ok {
		return h
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.byID[id]; ok {
		return h
	}
	h := newHost(id, len(s.byID), now, &s.kept)
	s.byID[id] = h
	s.kept.divide(len(s.byID))
	s.sorted = nil
	return h
}

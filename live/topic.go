package live

import (
	"time"

	"github.com/gobwas/ws"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// topicKey names what a viewer can subscribe to: the fleet, or a host with everything.
type topicKey struct {
	fleet bool
	host  storage.HostID // if not fleet
}

// topic is a subject that has subscribers. It is made for the first one and forgotten after the last, so that what no
// one looks at costs nothing. Hub.mu guards all fields.
//
// Its messages are numbered: a snapshot carries the number of the newest delta, for it holds all up to it and perhaps
// more; the next delta, the next number. Since a host travels whole, getting a change twice does no harm.
type topic struct {
	key   topicKey
	state *State
	// single is the host of a topic that is not the fleet, as a slice.
	single []*host
	// seq is the number of the newest delta; after the largest comes 0.
	seq uint32
	// marks tells what the deltas have told so far, by host.index (by 0 in a topic of one host).
	marks       []mark
	subscribers map[*viewer]struct{}
	// backlog has a lock of its own, for the viewers' writers; only the hub adds to it.
	backlog backlog
	// snapshot is the newest that someone needed, of snapshotAt, and snapshotNext the position of the delta that follows it.
	snapshot     frame
	snapshotNext uint64
	snapshotAt   time.Time
}

// mark tells what viewers know of a host. The status is in it because it changes by the mere passage of time.
type mark struct {
	version uint64
	status  gohubv1.HostStatus
}

// mark is called with mu held.
func (h *host) mark(m moment) mark {
	status, _ := h.status(m)
	return mark{h.version, status}
}

func newTopic(key topicKey, state *State, h *host, m moment) *topic {
	t := &topic{key: key, state: state, subscribers: make(map[*viewer]struct{})}
	if !key.fleet {
		t.single = []*host{h}
	}
	// The first snapshot will hold what is now; deltas are about what comes after.
	for _, h := range t.hosts() {
		h.mu.Lock()
		*t.mark(h) = h.mark(m)
		h.mu.Unlock()
	}
	return t
}

func (t *topic) hosts() []*host {
	if t.key.fleet {
		return t.state.all()
	}
	return t.single
}

func (t *topic) mark(h *host) *mark {
	index := 0
	if t.key.fleet {
		index = h.index
	}
	if missing := index + 1 - len(t.marks); missing > 0 {
		t.marks = append(t.marks, make([]mark, missing)...) // a version is never 0: unknown hosts differ from it
	}
	return &t.marks[index]
}

// delta makes a message of those of the hosts that have changed since the last delta, and tells whether there were any.
func (t *topic) delta(m moment, hosts []*host) bool {
	var out *message
	for _, h := range hosts {
		known := t.mark(h)
		h.mu.Lock()
		if newest := h.mark(m); newest != *known {
			*known = newest
			if out == nil {
				out = newMessage()
				out.buf = appendHostsStart(out.buf, deltaKind, t.seq+1)
			} else {
				out.buf = append(out.buf, ',')
			}
			out.buf = h.appendJSON(out.buf, m, !t.key.fleet)
		}
		h.mu.Unlock()
	}
	if out == nil {
		return false
	}
	out.buf = appendHostsEnd(out.buf)
	out.seal(ws.OpText)
	t.seq++
	t.backlog.add(out)
	return true
}

// snapshotServes is for how long a snapshot is given to those who come, with the deltas since: a thousand viewers that come back
// at once need not have one each.
const snapshotServes = time.Second

// whole returns the topic's snapshot and the position of the delta that follows it.
func (t *topic) whole(m moment, scratch []byte) (snapshot frame, next uint64, _ []byte) {
	if t.snapshot != nil && m.now.Sub(t.snapshotAt) < snapshotServes && t.backlog.has(t.snapshotNext) {
		return t.snapshot, t.snapshotNext, scratch
	}
	scratch = appendHostsStart(scratch[:0], snapshotKind, t.seq)
	for i, h := range t.hosts() {
		if i > 0 {
			scratch = append(scratch, ',')
		}
		h.mu.Lock()
		scratch = h.appendJSON(scratch, m, !t.key.fleet)
		h.mu.Unlock()
	}
	scratch = appendHostsEnd(scratch)
	t.snapshot, t.snapshotNext, t.snapshotAt = compile(ws.OpText, scratch), t.backlog.next, m.now
	return t.snapshot, t.snapshotNext, scratch
}

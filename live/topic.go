package live

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// topic is a subject that has subscribers. It is made for the first one and forgotten after the last, so that what no
// one looks at costs nothing. Hub.mu guards all fields.
//
// Its messages are numbered: a snapshot carries the number of the newest delta, for it holds all up to it and perhaps
// more; the next delta, the next number. Since a host travels whole, getting a change twice does no harm.
type topic struct {
	subject
	state *State
	// single is the host of a topic that is not the fleet, as a slice.
	single []*host
	// seq is the number of the newest delta; after the largest comes 0.
	seq uint32
	// marks tells what the deltas have told so far, by host.index (by 0 in a topic of one host).
	marks       []mark
	subscribers map[*viewer]struct{}
	// waiting is about how many of them have not written the newest delta.
	waiting atomic.Int32
	// gone is for delta.
	gone []storage.HostID
	// backlog has a lock of its own, for the viewers' writers; only the hub adds to it.
	backlog backlog
	// snapshot is the newest that someone needed, of snapshotAt, and snapshotNext the position of the delta that follows it.
	snapshot     frame
	snapshotNext uint64
	snapshotAt   time.Time
}

// mark tells what viewers know of a host. The status is in it because it changes by the mere passage of time.
type mark struct {
	version  uint64
	status   gohubv1.HostStatus
	member   bool
	identity *gohubv1.Host
}

// newest is the host's mark as it should be. It is called with h.mu held.
func (t *topic) newest(h *host, m moment) mark {
	status, _ := h.status(m)
	return mark{h.version, status, t.match == nil || t.match(h.identity), h.identity}
}

// newTopic makes the topic of a subject. h is the host of one that is not the fleet.
func newTopic(of subject, state *State, h *host, m moment) *topic {
	t := &topic{subject: of, state: state, subscribers: make(map[*viewer]struct{})}
	if !of.key.fleet {
		t.single = []*host{h}
	}
	// The first snapshot will hold what is now; deltas are about what comes after.
	for _, h := range t.hosts() {
		h.mu.Lock()
		*t.mark(h) = t.newest(h, m)
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
	t.gone = t.gone[:0]
	for _, h := range hosts {
		known := t.mark(h)
		h.mu.Lock()
		newest := t.newest(h, m)
		if newest != *known && (newest.member || known.member) {
			first := out == nil
			if first {
				out = newMessage()
				out.buf = t.appendStart(out.buf, deltaKind, t.seq+1)
			}
			// A host whose identity is the same is of another version because of a sample.
			sampled := newest.version != known.version && newest.identity == known.identity
			if sampled && (out.received.IsZero() || h.taken.Before(out.received)) {
				out.received = h.taken
			}
			if newest.member {
				out.buf = t.appendHost(out.buf, h, m, first, newest.identity != known.identity || !known.member)
			} else {
				t.gone = append(t.gone, h.id)
			}
		}
		*known = newest
		h.mu.Unlock()
	}
	if out == nil {
		return false
	}
	out.buf = t.appendEnd(out.buf, t.gone)
	t.seq++
	if t.key.form == formProto {
		out.sealProto(deltaKind, t.seq)
	} else {
		out.seal(t.opCode())
	}
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
	scratch = t.appendStart(scratch[:0], snapshotKind, t.seq)
	first := true
	for _, h := range t.hosts() {
		h.mu.Lock()
		if t.match == nil || t.match(h.identity) {
			scratch = t.appendHost(scratch, h, m, first, true)
			first = false
		}
		h.mu.Unlock()
	}
	scratch = t.appendEnd(scratch, nil)
	t.snapshotNext, t.snapshotAt = t.backlog.next, m.now
	if t.key.form == formProto {
		t.snapshot = compileProto(snapshotKind, t.seq, scratch)
	} else {
		t.snapshot = compile(t.opCode(), scratch)
	}
	return t.snapshot, t.snapshotNext, scratch
}

func (t *topic) opCode() ws.OpCode {
	if t.key.form == formBinary {
		return ws.OpBinary
	}
	return ws.OpText
}

// appendStart opens a message that carries hosts, appendEnd closes it.
func (t *topic) appendStart(buf []byte, kind hostsKind, seq uint32) []byte {
	switch {
	case t.key.form == formProto:
		return buf // what stands in front tells the length
	case t.key.form == formJSON:
		return appendHostsStart(buf, kind, seq)
	case kind == deltaKind:
		return binary.AppendUvarint(append(buf, binaryDelta), uint64(seq))
	default:
		return appendSchema(binary.AppendUvarint(append(buf, binarySnapshot), uint64(seq)), &t.shape)
	}
}

// appendHost encodes a host. facts tells whether viewers may not know its facts, which only the binary form leaves out. It is
// called with h.mu held.
func (t *topic) appendHost(buf []byte, h *host, m moment, first, facts bool) []byte {
	switch t.key.form {
	case formProto:
		return h.appendProto(buf, m, &t.shape)
	case formBinary:
		return h.appendBinary(buf, m, &t.shape, facts)
	}
	if !first && buf[len(buf)-1] != '[' {
		buf = append(buf, ',')
	}
	return h.appendJSON(buf, m, &t.shape)
}

func (t *topic) appendEnd(buf []byte, gone []storage.HostID) []byte {
	switch t.key.form {
	case formProto:
		return appendProtoGone(buf, gone)
	case formJSON:
		return appendHostsEnd(buf, gone)
	}
	for _, id := range gone {
		buf = binary.AppendUvarint(append(buf, entryGone), uint64(id))
	}
	return append(buf, entryEnd)
}

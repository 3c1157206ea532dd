package live

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Peer is another server that stores into the same database, as far as the State knows it. Of a host the server counts whose
// sample is the newest by the agent's clock: an agent sends to one server at a time, so no clock of a server decides who has it.
//
// While news of a server is missed, its hosts are unknown, and so is every host that falls silent here, for its agent may have
// gone there. That ends when the news comes again; or, for a host that storage shows no sign of either, after the time that agents
// have to come back.
//
// All methods are safe for concurrent use.
type Peer struct {
	state     *State
	condition atomic.Pointer[condition]
}

// condition is how a peer is.
type condition struct {
	// lost is since when its news may be missed, zero if they are heard.
	lost time.Time
	// listening and deaf are as those of a moment, except that listening is zero until the peer was deaf.
	listening time.Time
	deaf      bool
}

// NewPeer returns a peer that is heard.
func (s *State) NewPeer() *Peer {
	p := &Peer{state: s}
	p.condition.Store(&condition{})
	return p
}

// SetHost is State.SetHost with what the peer knows of a host.
func (p *Peer) SetHost(h storage.Host) { p.state.SetHost(h) }

// Observe is State.Observe with a sample that the peer has received.
func (p *Peer) Observe(id storage.HostID, sample *catalogue.Sample, receivedAt time.Time) {
	p.state.observe(p, id, sample, receivedAt)
}

// Catch takes the newest sample that the peer has of a host, as State.Own has told it there, after samples were missed.
func (p *Peer) Catch(id storage.HostID, sample *catalogue.Sample, taken, heard, upSince time.Time) {
	h := p.state.ensure(id)
	h.observe(p, sample, taken)
	h.mu.Lock()
	if h.peer == p {
		if heard.After(h.heard) {
			h.heard = heard
		}
		if upSince.Before(h.upSince) {
			h.upSince = upSince
		}
	}
	h.mu.Unlock()
	p.state.changes.note(h)
}

// SetLost tells since when news of the peer may be missed; zero, that all that it has told by now is known. It is not called by
// two goroutines at once, nor is SetDeaf beside it.
func (p *Peer) SetLost(since time.Time) {
	c := *p.condition.Load()
	c.lost = since
	p.condition.Store(&c)
}

// SetDeaf is State.SetDeaf for the peer.
func (p *Peer) SetDeaf(deaf bool) {
	if c := *p.condition.Load(); c.deaf != deaf {
		c.deaf, c.listening = deaf, p.state.now()
		p.condition.Store(&c)
	}
}

// judge makes the moment that of the peer, and returns since when its news may be missed. A nil peer is this server.
func (p *Peer) judge(m *moment) (lost time.Time) {
	if p == nil {
		return time.Time{}
	}
	c := p.condition.Load()
	m.listening, m.deaf = c.listening, c.deaf
	return c.lost
}

// elsewhereSince tells whether another server may hear the host, which this one does not: the host was heard when news began to be
// missed, and has not had the time to come back; or storage has shown it since. lost is what judge has returned. It is called
// with mu held.
func (h *host) elsewhereSince(m moment, lost time.Time) (since time.Time, may bool) {
	missed := latest(m.apart, lost)
	if missed.IsZero() {
		return missed, false
	}
	patience := h.silence + reconnectGrace
	may = missed.Sub(h.heard) <= h.silence && m.now.Sub(missed) <= patience || h.elsewhere.After(h.heard) && m.now.Sub(h.elsewhere) <= patience
	return latest(missed, h.heard), may
}

// SetApart tells since when other servers may hear hosts and this one would not know of it, zero for not at present.
func (s *State) SetApart(since time.Time) {
	if since.IsZero() {
		s.apart.Store(nil)
		return
	}
	s.apart.Store(&since)
}

// HeardElsewhere tells that samples of a host came into storage, by which server ever. It counts while this server is apart.
func (s *State) HeardElsewhere(id storage.HostID) {
	h, known := s.lookup(id)
	if !known {
		return
	}
	now := s.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.elsewhere = now
}

// Own is a host whose newest sample this server has received itself.
type Own struct {
	// Identity has the ids, the facts and when it was first seen. It is shared and must not be changed.
	Identity *gohubv1.Host
	// Sample is the newest one in the contract's wire format. It has no instances that come and go if they are of an older one.
	Sample []byte
	// Taken is when it was received, Heard when anything was, and UpSince since when without a break.
	Taken, Heard, UpSince time.Time

	row []byte
}

// Own calls see for the hosts above an id, by id, that this server hears itself, until see returns false. What see gets is used
// again for the next.
func (s *State) Own(after storage.HostID, see func(*Own) bool) {
	var one Own
	for _, h := range s.all() {
		if h.id > after && h.own(&one) && !see(&one) {
			return
		}
	}
}

// own fills in one, and tells whether this server hears the host.
func (h *host) own(one *Own) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heard.IsZero() || h.peer != nil {
		return false
	}
	one.Identity, one.Taken, one.Heard, one.UpSince = h.identity, h.taken, h.heard, h.upSince
	one.Sample = protowire.AppendTag(one.Sample[:0], sampleTime, protowire.VarintType)
	one.Sample = protowire.AppendVarint(one.Sample, uint64(h.sampled.UnixMilli()))
	for i := range h.blocks {
		b := &h.blocks[i]
		if b.family.Ephemeral && b.told != h.sampled.UnixMilli() {
			continue // who gets this sample would hold them as long as if they were of its time
		}
		for row := range b.rows {
			one.row = b.appendRow(one.row[:0], row)
			one.Sample = protowire.AppendTag(one.Sample, b.family.Number, protowire.BytesType)
			one.Sample = protowire.AppendBytes(one.Sample, one.row)
		}
	}
	return true
}

// sampleTime is the number of the field with a sample's time.
var sampleTime = (*gohubv1.Sample)(nil).ProtoReflect().Descriptor().Fields().ByName("time_unix_millis").Number()

// appendRow encodes a row as the family's message.
func (b *block) appendRow(buf []byte, row int) []byte {
	for i := range b.family.Labels {
		buf = protowire.AppendTag(buf, b.family.Labels[i].Number, protowire.BytesType)
		buf = protowire.AppendString(buf, b.label(row, i))
	}
	for i, metric := range b.family.Metrics {
		bits := b.bits(row, i)
		if bits == missing {
			continue
		}
		switch metric.Type {
		case catalogue.Float:
			buf = protowire.AppendFixed32(protowire.AppendTag(buf, metric.Number, protowire.Fixed32Type), uint32(bits))
		case catalogue.Double:
			buf = protowire.AppendFixed64(protowire.AppendTag(buf, metric.Number, protowire.Fixed64Type), bits)
		default:
			buf = protowire.AppendVarint(protowire.AppendTag(buf, metric.Number, protowire.VarintType), bits)
		}
	}
	return buf
}

// latest returns the last of some times.
func latest(times ...time.Time) time.Time {
	last := times[0]
	for _, t := range times[1:] {
		if t.After(last) {
			last = t
		}
	}
	return last
}

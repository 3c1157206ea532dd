package live

import (
	"math"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

const (
	// A host is down after this many intervals without a sample …
	missedIntervals = 3
	// … but not before this time: an agent that sends every second is not down for a hiccup of the network.
	minSilence = 10 * time.Second
	// An agent that does not tell its interval is taken to have the agent's default.
	defaultInterval = 10 * time.Second
	// A host is late after this many intervals without a sample, but not before half of minSilence.
	lateIntervals = 2
	// After a start of the server, or when its database is back, agents that were backing off need this long on top to come back.
	reconnectGrace = 30 * time.Second
	// The fastest way fades by this part of the difference a sample, so that a clock that was set is seen after some.
	fastestFades = 8
	// A clock that is wrong by less than this may be right, and the samples slow.
	trustedClock = 2 * time.Second
)

// host is what State knows of one host.
type host struct {
	id storage.HostID
	// index counts the hosts in the order in which they became known; it never changes.
	index int
	// since is when the host became known to this State.
	since time.Time
	// queued is guarded by State.changes.
	queued bool
	// kept is the State's.
	kept *kept

	mu sync.Mutex // guards all below
	// version grows with every change but those of the status, which follows from the time.
	version uint64
	// shape grows with every change of the facts and of the instances of families that do not come and go.
	shape uint32
	// identity has the ids, the facts and first_seen. It is replaced, never changed: answers share it.
	identity *gohubv1.Host
	// identityJSON is identity's encoding without the closing brace, and identityProto that for gRPC, so that a delta does not
	// encode facts again. They are nil until someone looks at the host.
	identityJSON, identityProto []byte
	// silence is for how long the host may send nothing and not be down, late for how long it is not late.
	silence, late time.Duration
	// upSince is when the first sample was received of those that came without a break.
	upSince time.Time
	// lag is how much older than its receipt the newest sample was, and fastest about the least that lag was of late: the error of
	// the host's clock and the shortest way here.
	lag, fastest time.Duration
	// heard is when the newest sample of whatever age was received; zero if none was since the start.
	heard time.Time
	// sampled is the time of the newest sample by the agent's clock, zero if there is none, and taken when the server
	// took it.
	sampled, taken time.Time
	// peer is the server that took it, nil for this one. elsewhere is when storage last showed that some server hears the host.
	peer      *Peer
	elsewhere time.Time
	// blocks holds the newest sample's values, by the family's place in families.
	blocks []block
	// bytes is what the blocks but the first take. isCut: they are empty, as those of all hosts took too much.
	bytes int64
	isCut bool
}

func newHost(id storage.HostID, index int, now time.Time, kept *kept) *host {
	h := &host{id: id, index: index, since: now, kept: kept, blocks: make([]block, len(families))}
	for i := range h.blocks {
		h.blocks[i].layout = &layouts[i]
	}
	h.adopt(&gohubv1.Host{HostId: uint32(id)})
	return h
}

func (h *host) setIdentity(from storage.Host) {
	identity := &gohubv1.Host{HostId: uint32(from.ID), AgentId: from.AgentID.String()}
	if from.Facts != nil {
		identity.Facts = proto.CloneOf(from.Facts)
		cleanStrings(identity.Facts.ProtoReflect())
	}
	if !from.FirstSeen.IsZero() {
		identity.FirstSeen = timestamppb.New(from.FirstSeen)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// A later registration knows nothing of it.
	identity.ClonedAt = h.identity.ClonedAt
	if from.ClonedAt.After(identity.ClonedAt.AsTime()) {
		identity.ClonedAt = timestamppb.New(from.ClonedAt)
	}
	identity.ServerLabels = h.identity.ServerLabels
	identity.Labels = label.Merge(identity.GetFacts().GetLabels(), identity.ServerLabels)
	// Every reconnect tells the same facts again; only a change may cost the viewers a delta.
	if !proto.Equal(identity, h.identity) {
		h.adopt(identity)
	}
}

// adopt is called with mu held, or before the host is shared.
func (h *host) adopt(identity *gohubv1.Host) {
	h.identity = identity
	h.identityJSON, h.identityProto = nil, nil
	interval := time.Duration(identity.GetFacts().GetIntervalMillis()) * time.Millisecond
	if interval == 0 {
		interval = defaultInterval
	}
	h.silence = max(missedIntervals*interval, minSilence)
	h.late = max(lateIntervals*interval, minSilence/2)
	h.version++
	h.shape++
}

// cleanStrings replaces invalid UTF-8, which neither JSON nor Prometheus can carry.
func cleanStrings(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() == protoreflect.StringKind && !field.IsList() && !field.IsMap() {
			m.Set(field, protoreflect.ValueOfString(clean(value.String())))
		}
		if field.IsMap() && field.MapValue().Kind() == protoreflect.StringKind {
			value.Map().Range(func(key protoreflect.MapKey, text protoreflect.Value) bool {
				value.Map().Set(key, protoreflect.ValueOfString(clean(text.String())))
				return true
			})
		}
		return true
	})
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (h *host) restore(from storage.Latest, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.heard.IsZero() || !from.Time.After(h.sampled) {
		return
	}
	h.sampled, h.taken = from.Time.Truncate(time.Millisecond), now
	b := &h.blocks[0]
	b.resize(1)
	for i, metric := range b.family.Metrics {
		bits := uint64(missing)
		if i < len(from.Values) {
			switch value := from.Values[i]; {
			case math.IsNaN(value) || math.IsInf(value, 0):
			case metric.Type == catalogue.Float:
				bits = uint64(math.Float32bits(float32(value)))
			case value >= 0:
				bits = uint64(value)
			}
		}
		b.setBits(0, i, bits)
	}
	h.version++
}

// observe takes a sample that a server has received, this one if from is nil.
func (h *host) observe(from *Peer, sample *catalogue.Sample, receivedAt time.Time) {
	sampled := time.UnixMilli(sample.TimeUnixMillis)
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.heard.IsZero()
	if first || receivedAt.Sub(h.heard) > h.silence {
		h.upSince = receivedAt
	}
	if receivedAt.After(h.heard) {
		h.heard = receivedAt
	}
	if sampled.Before(h.sampled) && receivedAt.Sub(h.taken) <= h.silence {
		return
	}
	h.sampled, h.taken, h.peer = sampled, receivedAt, from
	h.lag = receivedAt.Sub(sampled)
	if first || h.lag < h.fastest {
		h.fastest = h.lag
	} else {
		h.fastest += (h.lag - h.fastest) / fastestFades
	}
	if h.isCut && !h.kept.full(true) {
		h.isCut = false
		h.kept.cut.Add(-1)
	}
	blocks := h.blocks
	if h.isCut {
		blocks = blocks[:1]
	}
	changed := false
	for i := range blocks {
		if !blocks[i].fill(sample) {
			changed = true
			if !families[i].Ephemeral {
				h.shape++
			}
		}
	}
	h.fit(changed)
	h.version++
}

// moment is when, and for how long, a host's silence is judged.
type moment struct {
	now time.Time
	// listening is since when the server takes samples without a break; since when it does not, if deaf.
	listening time.Time
	deaf      bool
	// apart is since when some other server may hear hosts and this one would not know, zero if it would.
	apart time.Time
}

// status is the host's status and since when it is so, which may not be known. It is called with mu held.
//
//	         no sample for late           for silence
//	up ──────────────────────────▶ late ─────────────▶ down
//	 ▲                              │                   │
//	 └──────────── a sample ────────┴───────────────────┘
//
// In the place of down it is unknown while the server can not take samples, and, where none has come since it can, until
// agents had the time to come back. A host of which another server may know more is unknown too (peer.go).
func (h *host) status(m moment) (gohubv1.HostStatus, time.Time) {
	lost := h.peer.judge(&m)
	if !h.heard.IsZero() && (lost.IsZero() || h.heard.After(lost)) {
		if quiet := m.now.Sub(h.heard); quiet <= h.late {
			return gohubv1.HostStatus_HOST_STATUS_UP, h.upSince
		} else if quiet <= h.silence {
			return gohubv1.HostStatus_HOST_STATUS_LATE, h.heard
		}
	}
	began := m.listening
	if h.since.After(began) {
		began = h.since
	}
	if m.deaf || h.heard.Before(m.listening) && m.now.Sub(began) <= h.silence+reconnectGrace {
		return gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED, began
	}
	if since, may := h.elsewhereSince(m, lost); may {
		return gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED, since
	}
	if h.heard.IsZero() {
		return gohubv1.HostStatus_HOST_STATUS_DOWN, h.sampled
	}
	return gohubv1.HostStatus_HOST_STATUS_DOWN, h.heard
}

// clock tells by how much the host's clock is ahead, and how long the newest sample was on its way, in seconds. It is called
// with mu held.
func (h *host) clock() (skew, lag float64) {
	way := h.lag
	if h.fastest.Abs() > trustedClock {
		way -= h.fastest
	}
	return inSeconds(-h.fastest), inSeconds(max(way, 0))
}

// inSeconds rounds to milliseconds, which is what sample times have.
func inSeconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1e3 }

// message builds the host as the contract has it.
func (h *host) message(m moment) *gohubv1.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	message := h.describe(m)
	if h.sampled.IsZero() {
		return message
	}
	message.Latest = &gohubv1.Reading{Time: timestamppb.New(h.sampled)}
	if h.blocks[0].rows > 0 {
		message.Latest.Values = h.blocks[0].readings(0)
	}
	for i := range h.blocks[1:] {
		b := &h.blocks[1+i]
		for row := range b.rows {
			instance := &gohubv1.Instance{Family: b.family.Name, Labels: b.labels(row), Values: b.readings(row)}
			message.Latest.Instances = append(message.Latest.Instances, instance)
		}
	}
	return message
}

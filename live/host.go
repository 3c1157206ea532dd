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
	// After a start of the server, agents that were backing off need this long on top to come back.
	reconnectGrace = 30 * time.Second
)

// families is the catalogue's order; a host's blocks are in it. The first is the host family.
var families = catalogue.Families()

// host is what State knows of one host.
type host struct {
	id storage.HostID
	// index counts the hosts in the order in which they became known; it never changes.
	index int
	// since is when the host became known to this State.
	since time.Time

	mu sync.Mutex // guards all below
	// version grows with every change but those of the status, which follows from the time.
	version uint64
	// shape grows with every change of the facts and of the instances of families that do not come and go.
	shape uint32
	// identity has the ids, the facts and first_seen. It is replaced, never changed: answers share it.
	identity *gohubv1.Host
	// identityJSON is identity's encoding without the closing brace, so that a delta does not encode facts again.
	identityJSON []byte
	// silence is for how long the host may send nothing and still be up.
	silence time.Duration
	// heard is when the newest sample of whatever age was received; zero if none was since the start.
	heard time.Time
	// sampled is the time of the newest sample by the agent's clock, zero if there is none, and taken when the server
	// took it.
	sampled, taken time.Time
	// blocks holds the newest sample's values, by the family's place in families.
	blocks []block
}

// block is the values of one family: a flat table with a row an instance.
type block struct {
	family *catalogue.Family
	rows   int
	// labels has len(family.Labels) columns; valid UTF-8, and no two rows alike.
	labels []string
	// values has len(family.Metrics) columns, as they came: shown makes of one what is shown. NaN is a missing reading; no
	// value is infinite.
	values []float64
}

func newHost(id storage.HostID, index int, now time.Time) *host {
	h := &host{id: id, index: index, since: now, blocks: make([]block, len(families))}
	for i, family := range families {
		h.blocks[i].family = family
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
	h.identityJSON = encodeIdentity(identity)
	interval := time.Duration(identity.GetFacts().GetIntervalMillis()) * time.Millisecond
	if interval == 0 {
		interval = defaultInterval
	}
	h.silence = max(missedIntervals*interval, minSilence)
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
	for i := range b.family.Metrics {
		value := math.NaN()
		if i < len(from.Values) {
			value = from.Values[i]
		}
		if math.IsInf(value, 0) {
			value = math.NaN()
		}
		b.values[i] = value
	}
	h.version++
}

func (h *host) observe(sample *catalogue.Sample, receivedAt time.Time) {
	sampled := time.UnixMilli(sample.TimeUnixMillis)
	h.mu.Lock()
	defer h.mu.Unlock()
	if receivedAt.After(h.heard) {
		h.heard = receivedAt
	}
	if sampled.Before(h.sampled) && receivedAt.Sub(h.taken) <= h.silence {
		return
	}
	h.sampled, h.taken = sampled, receivedAt
	for i := range h.blocks {
		if !h.blocks[i].fill(sample) && !families[i].Ephemeral {
			h.shape++
		}
	}
	h.version++
}

// status is called with mu held.
func (h *host) status(now time.Time) gohubv1.HostStatus {
	switch {
	case h.heard.IsZero() && now.Sub(h.since) <= h.silence+reconnectGrace:
		return gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
	case h.heard.IsZero() || now.Sub(h.heard) > h.silence:
		return gohubv1.HostStatus_HOST_STATUS_DOWN
	default:
		return gohubv1.HostStatus_HOST_STATUS_UP
	}
}

// message builds the host as the contract has it.
func (h *host) message(now time.Time, everything bool) *gohubv1.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	message := h.describe(now)
	if h.sampled.IsZero() {
		return message
	}
	message.Latest = &gohubv1.Reading{Time: timestamppb.New(h.sampled)}
	if h.blocks[0].rows > 0 {
		message.Latest.Values = h.blocks[0].readings(0)
	}
	if !everything {
		return message
	}
	for i := range h.blocks[1:] {
		b := &h.blocks[1+i]
		for row := range b.rows {
			instance := &gohubv1.Instance{
				Family: b.family.Name,
				Labels: make(map[string]string, len(b.family.Labels)),
				Values: b.readings(row),
			}
			for j, label := range b.rowLabels(row) {
				instance.Labels[b.family.Labels[j].Name] = label
			}
			message.Latest.Instances = append(message.Latest.Instances, instance)
		}
	}
	return message
}

func (b *block) rowLabels(row int) []string {
	width := len(b.family.Labels)
	return b.labels[row*width : (row+1)*width]
}

func (b *block) rowValues(row int) []float64 {
	width := len(b.family.Metrics)
	return b.values[row*width : (row+1)*width]
}

func (b *block) readings(row int) map[string]float64 {
	readings := make(map[string]float64, len(b.family.Metrics))
	for i, value := range b.rowValues(row) {
		if !math.IsNaN(value) {
			readings[b.family.Metrics[i].Name] = b.shown(i, value)
		}
	}
	return readings
}

// resize makes room for a number of rows and keeps what is there, also behind the last row when it shrinks.
func (b *block) resize(rows int) {
	if labels := rows * len(b.family.Labels); labels > len(b.labels) {
		b.labels = append(b.labels, make([]string, labels-len(b.labels))...)
	}
	if values := rows * len(b.family.Metrics); values > len(b.values) {
		b.values = append(b.values, make([]float64, values-len(b.values))...)
	}
	b.rows = rows
}

// fill takes the family's rows from a sample. The instances of a host seldom change, so labels that are as they were
// are kept, not replaced, and then the rows are known to be distinct. It tells whether they are the same as before.
func (b *block) fill(sample *catalogue.Sample) bool {
	before := b.rows
	b.resize(b.family.Count(sample))
	same := b.rows <= before
	row := 0
	b.family.Rows(sample, func(r catalogue.Row) bool {
		labels := b.rowLabels(row)
		for i := range labels {
			if label := r.Label(i); label != labels[i] {
				labels[i] = strings.Clone(label) // it is a part of the whole message
				same = false
			}
		}
		b.take(row, r)
		row++
		return true
	})
	if !same && len(b.family.Labels) > 0 {
		b.unite()
	}
	// A name that is gone is not held in memory.
	clear(b.labels[b.rows*len(b.family.Labels):])
	return same && b.rows == before
}

// take copies the readings of a row: every sample of the fleet passes here, and few are looked at before the next, so nothing
// is done to them that can be done later.
func (b *block) take(row int, from catalogue.Row) {
	values := b.rowValues(row)
	var present uint64
	for i, bits := range from.Values() {
		if i%64 == 0 {
			present = from.Present(i / 64)
		}
		switch {
		case present&1 == 0:
			values[i] = math.NaN()
		case b.family.Metrics[i].Type == catalogue.Float:
			values[i] = float64(math.Float32frombits(uint32(bits)))
			if math.IsInf(values[i], 0) {
				values[i] = math.NaN()
			}
		default:
			values[i] = float64(bits)
		}
		present >>= 1
	}
}

// shown turns a reading of the i-th metric into the number that is shown everywhere: a float that came as IEEE 754 single is
// rounded to the seven digits that it has, so that 12.3 is not 12.300000190734863.
func (b *block) shown(i int, reading float64) float64 {
	if b.family.Metrics[i].Type != catalogue.Float {
		return reading
	}
	return catalogue.Round(reading)
}

// unite makes one row of those with the same labels: the last one's values in the first one's place.
func (b *block) unite() {
	rows := make(map[string]int, b.rows)
	kept := 0
	var key []byte
	for row := range b.rows {
		key = key[:0]
		for _, label := range b.rowLabels(row) {
			key = append(append(key, label...), 0xff) // never in UTF-8
		}
		to, twice := rows[string(key)]
		if !twice {
			to = kept
			kept++
			rows[string(key)] = to
			copy(b.rowLabels(to), b.rowLabels(row))
		}
		copy(b.rowValues(to), b.rowValues(row))
	}
	b.rows = kept
}

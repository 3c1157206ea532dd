package relay

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// outgoing gathers what the others are to be told, as RelayUpdates without their heads. It never makes ingest wait: what there is no
// room for is dropped, and the number that it would have had is left out.
type outgoing struct {
	// wake says that there is something: capacity 1.
	wake    chan struct{}
	dropped prometheus.Counter

	mu sync.Mutex // guards those below
	// open is being filled, full are those before it, and spare has room for others.
	open  []byte
	full  [][]byte
	spare [][]byte
	// labels is said with the next one. skipped tells that updates were dropped.
	labels  bool
	skipped bool
}

// The fields of RelayUpdate and RelayHost by their names.
var (
	updateFields = (*gohubv1.RelayUpdate)(nil).ProtoReflect().Descriptor().Fields()
	hostFields   = (*gohubv1.RelayHost)(nil).ProtoReflect().Descriptor().Fields()

	fieldHosts    = updateFields.ByName("hosts").Number()
	fieldHostID   = hostFields.ByName("host_id").Number()
	fieldSample   = hostFields.ByName("sample").Number()
	fieldReceived = hostFields.ByName("received_unix_micros").Number()
)

// sample adds a sample. It is copied: a call allocates nothing but room for a burst.
func (o *outgoing) sample(host storage.HostID, wire string, receivedAt time.Time) {
	wire = trim(wire, sampleBytes)
	received := uint64(receivedAt.UnixMicro())
	size := protowire.SizeTag(fieldHostID) + protowire.SizeVarint(uint64(host)) +
		protowire.SizeTag(fieldReceived) + protowire.SizeVarint(received) +
		protowire.SizeTag(fieldSample) + protowire.SizeBytes(len(wire))
	o.mu.Lock()
	buf := protowire.AppendTag(o.open, fieldHosts, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(size))
	buf = protowire.AppendVarint(protowire.AppendTag(buf, fieldHostID, protowire.VarintType), uint64(host))
	buf = protowire.AppendVarint(protowire.AppendTag(buf, fieldReceived, protowire.VarintType), received)
	buf = protowire.AppendString(protowire.AppendTag(buf, fieldSample, protowire.BytesType), wire)
	o.added(buf)
	o.mu.Unlock()
	o.poke()
}

// trim cuts a sample behind the last field that is within the limit.
func trim(wire string, limit int) string {
	if len(wire) <= limit {
		return wire
	}
	end := 0
	for {
		_, n := catalogue.Next(wire[end:])
		if n == 0 || end+n > limit {
			return wire[:end]
		}
		end += n
	}
}

// host adds the identity of a host.
func (o *outgoing) host(h storage.Host) {
	message, err := proto.Marshal(&gohubv1.RelayHost{
		HostId: uint32(h.ID), AgentId: h.AgentID.String(), Facts: h.Facts, FirstSeenUnixMicros: micros(h.FirstSeen),
		ClonedUnixMicros: micros(h.ClonedAt),
	})
	o.mu.Lock()
	if err != nil { // ingest has looked at the texts; the others ask for what is missing
		o.skipped = true
	} else {
		o.added(protowire.AppendBytes(protowire.AppendTag(o.open, fieldHosts, protowire.BytesType), message))
	}
	o.mu.Unlock()
	o.poke()
}

// micros is 0 for a time that is not known.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func (o *outgoing) labelsChanged() {
	o.mu.Lock()
	o.labels = true
	o.mu.Unlock()
	o.poke()
}

// added takes what open has become. It is called with mu held.
func (o *outgoing) added(open []byte) {
	if o.open = open; len(open) < messageBytes {
		return
	}
	if len(o.full) == waitingMessages {
		o.skipped, o.open = true, open[:0]
		o.dropped.Inc()
		return
	}
	o.full, o.open = append(o.full, open), nil
	if last := len(o.spare) - 1; last >= 0 {
		o.open, o.spare = o.spare[last], o.spare[:last]
	}
}

func (o *outgoing) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // it is awake
	}
}

// take returns what there is, the oldest first, and whether some was dropped and labels have changed. done has to be told of each.
func (o *outgoing) take(room [][]byte) (messages [][]byte, skipped, labels bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	messages = append(room[:0], o.full...)
	clear(o.full)
	o.full = o.full[:0]
	if len(o.open) > 0 {
		messages, o.open = append(messages, o.open), nil
		if last := len(o.spare) - 1; last >= 0 {
			o.open, o.spare = o.spare[last], o.spare[:last]
		}
	}
	skipped, labels = o.skipped, o.labels
	o.skipped, o.labels = false, false
	return messages, skipped, labels
}

// fewSpare are kept; a burst's go to the garbage collector.
const fewSpare = 4

// done gives a message's room back.
func (o *outgoing) done(message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.spare) < fewSpare && cap(message) <= 2*messageBytes {
		o.spare = append(o.spare, message[:0])
	}
}

// publisher numbers and sends updates. publish's goroutine owns it, and then farewell.
type publisher struct {
	relay    *Relay
	seq      uint64
	messages [][]byte
}

// publish sends what is gathered until ctx ends, and a sign of life where nothing is.
func (r *Relay) publish(ctx context.Context) {
	p := &r.publisher
	heartbeat := time.NewTicker(r.options.Heartbeat)
	defer heartbeat.Stop()
	gather := time.NewTimer(time.Hour)
	defer gather.Stop()
	p.flush(true)
	for {
		select {
		case <-r.outgoing.wake:
		case <-heartbeat.C:
			p.flush(true)
			continue
		case <-ctx.Done():
			return
		}
		gather.Reset(r.options.Gather)
		select {
		case <-gather.C:
		case <-ctx.Done():
			return
		}
		p.flush(false)
	}
}

// flush sends all that is gathered, or, if always, an empty update where nothing is.
func (p *publisher) flush(always bool) {
	r := p.relay
	var skipped, labels bool
	p.messages, skipped, labels = r.outgoing.take(p.messages)
	if skipped {
		p.seq++
	}
	if len(p.messages) == 0 && (always || labels || skipped) {
		p.messages = append(p.messages, nil)
	}
	for i, message := range p.messages {
		p.send(message, &gohubv1.RelayUpdate{LabelsChanged: labels && i == 0})
		p.messages[i] = nil
	}
}

// send publishes one update. One that can not be sent is missed by the others.
func (p *publisher) send(hosts []byte, head *gohubv1.RelayUpdate) {
	r := p.relay
	p.seq++
	head.Server, head.Seq, head.SentUnixMicros, head.Deaf = r.id, p.seq, r.now().UnixMicro(), r.state.Deaf()
	// Fields may come in any order, and the parts of a message one after the other are the message.
	message, err := proto.MarshalOptions{}.MarshalAppend(hosts, head)
	if err == nil {
		err = r.bus.Publish(r.subjects.updates, message)
	}
	if err != nil {
		r.metrics.dropped.Inc()
	} else {
		r.metrics.sent.count(len(message))
	}
	r.outgoing.done(message)
}

// farewell tells the others that this server stops.
func (r *Relay) farewell() {
	r.publisher.flush(false)
	r.publisher.send(nil, &gohubv1.RelayUpdate{Goodbye: true})
	if err := r.bus.FlushTimeout(time.Second); err != nil {
		r.log.Debug("no farewell to the other servers", "error", err)
	}
}

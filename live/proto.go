package live

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// The protobuf form of a LiveMessage, for gRPC: what the generated code would make of it, but without a message for each host and
// a map for each of its families. That the two agree is a test.

// The numbers of the contract's fields.
const (
	messageSeq, messageSnapshot, messageDelta                       = 1, 2, 3
	hostsHosts, hostsGone                                           = 1, 2
	hostStatus, hostLatest, hostStatusSince, hostClockSkew, hostLag = 5, 6, 20, 21, 22
	readingTime, readingValues, readingInstances                    = 1, 2, 3
	instanceFamily, instanceLabels, instanceValues                  = 1, 2, 3
	entryKey, entryValue, timestampSeconds, timestampNanos          = 1, 2, 1, 2
)

// compileProto makes a message of hosts that are encoded already, and of those that are gone.
func compileProto(kind hostsKind, seq uint32, hosts []byte) frame {
	body := protowire.Number(messageSnapshot)
	if kind == deltaKind {
		body = messageDelta
	}
	size := protowire.SizeTag(body) + protowire.SizeBytes(len(hosts))
	if seq != 0 {
		size += protowire.SizeTag(messageSeq) + protowire.SizeVarint(uint64(seq))
	}
	buf := make([]byte, 0, size)
	if seq != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, messageSeq, protowire.VarintType), uint64(seq))
	}
	return protowire.AppendBytes(protowire.AppendTag(buf, body, protowire.BytesType), hosts)
}

func appendProtoGone(buf []byte, gone []storage.HostID) []byte {
	if len(gone) == 0 {
		return buf
	}
	buf, start := openNested(buf, hostsGone)
	for _, id := range gone {
		buf = protowire.AppendVarint(buf, uint64(id))
	}
	return closeNested(buf, start)
}

// openNested begins a field whose length is not known yet; closeNested, with the start that it tells, puts the length in front.
func openNested(buf []byte, field protowire.Number) (_ []byte, start int) {
	buf = protowire.AppendTag(buf, field, protowire.BytesType)
	return buf, len(buf)
}

func closeNested(buf []byte, start int) []byte {
	length := len(buf) - start
	var room [5]byte // lengths are below 2^32
	size := protowire.SizeVarint(uint64(length))
	buf = append(buf, room[:size]...)
	copy(buf[start+size:], buf[start:start+length])
	protowire.AppendVarint(buf[:start], uint64(length))
	return buf
}

// protoKeys holds what stands before the values of a family, made once.
type protoKeys struct {
	// instance is its name, labels are the keys of the labels: fields of Instance.
	instance []byte
	labels   [][]byte
	// metrics are the entries of the values without the eight bytes of the value: fields of Reading for the first family, of
	// Instance for the others.
	metrics [][]byte
}

var protoFamilies = func() []protoKeys {
	all := make([]protoKeys, len(families))
	for i, family := range families {
		values := protowire.Number(instanceValues)
		if i == 0 {
			values = readingValues
		}
		all[i].instance = protowire.AppendString(protowire.AppendTag(nil, instanceFamily, protowire.BytesType), family.Name)
		for _, label := range family.Labels {
			key := protowire.AppendString(protowire.AppendTag(nil, entryKey, protowire.BytesType), label.Name)
			all[i].labels = append(all[i].labels, protowire.AppendTag(key, entryValue, protowire.BytesType))
		}
		for _, metric := range family.Metrics {
			entry := protowire.AppendString(protowire.AppendTag(nil, entryKey, protowire.BytesType), metric.Name)
			entry = protowire.AppendTag(entry, entryValue, protowire.Fixed64Type)
			prefix := protowire.AppendTag(nil, values, protowire.BytesType)
			prefix = protowire.AppendVarint(prefix, uint64(len(entry)+8))
			all[i].metrics = append(all[i].metrics, append(prefix, entry...))
		}
	}
	return all
}()

// appendProto encodes the host as a field of LiveHosts. It is called with mu held.
func (h *host) appendProto(buf []byte, m moment, shape *shape) []byte {
	if h.identityProto == nil {
		h.identityProto = encodeIdentityProto(h.identity)
	}
	buf, start := openNested(buf, hostsHosts)
	buf = append(buf, h.identityProto...)
	status, since := h.status(m)
	if status != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, hostStatus, protowire.VarintType), uint64(status))
	}
	if !h.sampled.IsZero() {
		buf = h.appendProtoLatest(buf, shape)
	}
	if !since.IsZero() {
		buf = appendProtoTime(buf, hostStatusSince, since.Truncate(time.Millisecond))
	}
	skew, lag := h.clock()
	if skew != 0 {
		buf = protowire.AppendFixed64(protowire.AppendTag(buf, hostClockSkew, protowire.Fixed64Type), math.Float64bits(skew))
	}
	if lag != 0 {
		buf = protowire.AppendFixed64(protowire.AppendTag(buf, hostLag, protowire.Fixed64Type), math.Float64bits(lag))
	}
	return closeNested(buf, start)
}

// encodeIdentityProto encodes the part of a host that does not change with its samples. Strings are cleaned before, so nothing of
// it can fail.
func encodeIdentityProto(identity *gohubv1.Host) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(identity)
	if err != nil {
		encoded, _ = proto.Marshal(&gohubv1.Host{HostId: identity.GetHostId()})
	}
	return encoded
}

func (h *host) appendProtoLatest(buf []byte, shape *shape) []byte {
	buf, start := openNested(buf, hostLatest)
	buf = appendProtoTime(buf, readingTime, h.sampled)
	if h.blocks[0].rows > 0 {
		buf = h.blocks[0].appendProtoValues(buf, &protoFamilies[0], 0, shape)
	}
	if shape.everything {
		for i := 1; i < len(h.blocks); i++ {
			for row := range h.blocks[i].rows {
				buf = h.blocks[i].appendProtoInstance(buf, &protoFamilies[i], row, shape)
			}
		}
	}
	return closeNested(buf, start)
}

func (b *block) appendProtoInstance(buf []byte, keys *protoKeys, row int, shape *shape) []byte {
	buf, start := openNested(buf, readingInstances)
	buf = append(buf, keys.instance...)
	for i, key := range keys.labels {
		text := b.label(row, i)
		buf = protowire.AppendTag(buf, instanceLabels, protowire.BytesType)
		buf = protowire.AppendVarint(buf, uint64(len(key)+protowire.SizeBytes(len(text))))
		buf = protowire.AppendString(append(buf, key...), text)
	}
	buf = b.appendProtoValues(buf, keys, row, shape)
	return closeNested(buf, start)
}

func (b *block) appendProtoValues(buf []byte, keys *protoKeys, row int, shape *shape) []byte {
	for i := range b.family.Metrics {
		if value, ok := b.value(row, i); ok && shape.has(b.family, i) {
			buf = protowire.AppendFixed64(append(buf, keys.metrics[i]...), math.Float64bits(value))
		}
	}
	return buf
}

// appendProtoTime encodes a google.protobuf.Timestamp.
func appendProtoTime(buf []byte, field protowire.Number, t time.Time) []byte {
	buf, start := openNested(buf, field)
	if seconds := t.Unix(); seconds != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, timestampSeconds, protowire.VarintType), uint64(seconds))
	}
	if nanos := t.Nanosecond(); nanos != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, timestampNanos, protowire.VarintType), uint64(nanos))
	}
	return closeNested(buf, start)
}

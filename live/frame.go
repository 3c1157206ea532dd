package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// The server's frames. A LiveMessage is encoded once as the JSON mapping of its proto says, but with our own encoder:
// the bytes of protojson are random on purpose, and building a message for each host only to encode it is waste. That
// the two agree is a test. Scalars are written even where they are zero.
//
// seq counts the messages of a topic. Alerts and errors belong to no topic: their seq is always 0 and says nothing.

// frame is a complete WebSocket frame, header included, or a complete message for gRPC. It is never changed after it is made:
// viewers share it.
type frame []byte

// compile makes a frame around a copy of the payload.
func compile(op ws.OpCode, payload []byte) frame {
	header := ws.Header{Fin: true, OpCode: op, Length: int64(len(payload))}
	buffer := bytes.NewBuffer(make([]byte, 0, ws.HeaderSize(header)+len(payload)))
	// A bytes.Buffer does not fail, and no length of a slice is too large for a header.
	_ = ws.WriteHeader(buffer, header)
	buffer.Write(payload)
	return buffer.Bytes()
}

func compileClose(code ws.StatusCode, text string) frame {
	return compile(ws.OpClose, ws.NewCloseFrameBody(code, text))
}

func compileError(text string, in form) frame {
	if in == formBinary {
		return compileBinary(binaryError, []byte(clean(text)))
	}
	payload := append([]byte(`{"seq":0,"error":`), appendString(nil, clean(text))...)
	return compile(ws.OpText, append(payload, '}'))
}

// alertFrames is one list of alerts, by form.
type alertFrames [formProto + 1]frame

// compileAlerts fails if an alert has a string that is not UTF-8.
func compileAlerts(alerts []*gohubv1.Alert) (*alertFrames, error) {
	list, err := stableJSON(&gohubv1.ListAlertsResponse{Alerts: alerts})
	if err != nil {
		return nil, fmt.Errorf("encode alerts: %w", err)
	}
	payload := append([]byte(`{"seq":0,"alerts":`), list...)
	message := &gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Alerts{Alerts: &gohubv1.ListAlertsResponse{Alerts: alerts}}}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode alerts: %w", err)
	}
	return &alertFrames{
		formJSON: compile(ws.OpText, append(payload, '}')), formBinary: compileBinary(binaryAlerts, list), formProto: encoded,
	}, nil
}

// stableJSON encodes by protojson and takes the random spaces out.
func stableJSON(message proto.Message) ([]byte, error) {
	loose, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var tight bytes.Buffer
	if err := json.Compact(&tight, loose); err != nil {
		return nil, err
	}
	return tight.Bytes(), nil
}

// hostsKind tells a snapshot from a delta.
type hostsKind string

const (
	snapshotKind hostsKind = "snapshot"
	deltaKind    hostsKind = "delta"
)

// appendHostsStart opens a message that carries hosts; appendHostsEnd closes it.
func appendHostsStart(buf []byte, kind hostsKind, seq uint32) []byte {
	buf = append(buf, `{"seq":`...)
	buf = strconv.AppendUint(buf, uint64(seq), 10)
	buf = append(buf, `,"`...)
	buf = append(buf, kind...)
	return append(buf, `":{"hosts":[`...)
}

func appendHostsEnd(buf []byte, gone []storage.HostID) []byte {
	buf = append(buf, ']')
	for i, id := range gone {
		if i == 0 {
			buf = append(buf, `,"gone":[`...)
		} else {
			buf = append(buf, ',')
		}
		buf = strconv.AppendUint(buf, uint64(id), 10)
	}
	if len(gone) > 0 {
		buf = append(buf, ']')
	}
	return append(buf, `}}`...)
}

// encodedIdentity is called with mu held.
func (h *host) encodedIdentity() []byte {
	if h.identityJSON == nil {
		h.identityJSON = encodeIdentity(h.identity)
	}
	return h.identityJSON
}

// encodeIdentity encodes the part of a host that does not change with its samples, and leaves the brace open. A piece
// that JSON can not carry (strings are cleaned before, so only a time outside of the years 1 to 9999) is left out.
func encodeIdentity(identity *gohubv1.Host) []byte {
	buf := strconv.AppendUint([]byte(`{"hostId":`), uint64(identity.HostId), 10)
	buf = append(buf, `,"agentId":`...)
	buf = appendString(buf, identity.AgentId)
	if identity.Facts != nil {
		if facts, err := stableJSON(identity.Facts); err == nil {
			buf = append(append(buf, `,"facts":`...), facts...)
		}
	}
	if identity.FirstSeen != nil {
		if seen, err := stableJSON(identity.FirstSeen); err == nil {
			buf = append(append(buf, `,"firstSeen":`...), seen...)
		}
	}
	if identity.ClonedAt != nil {
		if seen, err := stableJSON(identity.ClonedAt); err == nil {
			buf = append(append(buf, `,"clonedAt":`...), seen...)
		}
	}
	buf = appendLabels(buf, `,"labels":{`, identity.Labels)
	buf = appendLabels(buf, `,"serverLabels":{`, identity.ServerLabels)
	return buf
}

// appendLabels encodes labels by name, and nothing where there are none.
func appendLabels(buf []byte, open string, labels map[string]string) []byte {
	if len(labels) == 0 {
		return buf
	}
	buf = append(buf, open...)
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendString(buf, name), ':')
		buf = appendString(buf, labels[name])
	}
	return append(buf, '}')
}

// familyKeys holds the pieces of JSON around the values of a family, made once.
type familyKeys struct {
	instance string
	labels   []string
	metrics  []string
}

var keys = func() []familyKeys {
	all := make([]familyKeys, len(families))
	for i, family := range families {
		all[i].instance = `{"family":` + string(appendString(nil, family.Name)) + `,"labels":{`
		for _, label := range family.Labels {
			all[i].labels = append(all[i].labels, string(appendString(nil, label.Name))+":")
		}
		for _, metric := range family.Metrics {
			all[i].metrics = append(all[i].metrics, string(appendString(nil, metric.Name))+":")
		}
	}
	return all
}()

// appendJSON encodes the host. It is called with mu held.
func (h *host) appendJSON(buf []byte, m moment, shape *shape) []byte {
	status, since := h.status(m)
	buf = append(buf, h.encodedIdentity()...)
	if shape.nulls {
		buf = appendUnknownIdentity(buf, h.identity)
	}
	buf = append(buf, `,"status":"`...)
	buf = append(buf, status.String()...)
	buf = append(buf, '"')
	if !since.IsZero() {
		buf = append(buf, `,"statusSince":"`...)
		buf = append(appendTime(buf, since.Truncate(time.Millisecond)), '"')
	} else if shape.nulls {
		buf = append(buf, `,"statusSince":null`...)
	}
	skew, lag := h.clock()
	buf = append(buf, `,"clockSkewSeconds":`...)
	buf = appendNumber(buf, skew)
	buf = append(buf, `,"ingestLagSeconds":`...)
	buf = appendNumber(buf, lag)
	if h.sampled.IsZero() {
		if shape.nulls {
			buf = append(buf, `,"latest":null`...)
		}
		return append(buf, '}')
	}
	buf = append(buf, `,"latest":{"time":"`...)
	buf = appendTime(buf, h.sampled)
	buf = append(buf, `","values":{`...)
	if h.blocks[0].rows > 0 {
		buf = h.blocks[0].appendValues(buf, &keys[0], 0, shape)
	}
	buf = append(buf, '}')
	switch {
	case shape.everything:
		buf = append(buf, `,"instances":[`...)
		first := true
		for i := 1; i < len(h.blocks); i++ {
			for row := range h.blocks[i].rows {
				if !first {
					buf = append(buf, ',')
				}
				first = false
				buf = h.blocks[i].appendInstance(buf, &keys[i], row, shape)
			}
		}
		buf = append(buf, ']')
	case shape.nulls:
		buf = append(buf, `,"instances":[]`...)
	}
	return append(buf, `}}`...)
}

// appendUnknownIdentity tells what encodeIdentity has left out.
func appendUnknownIdentity(buf []byte, identity *gohubv1.Host) []byte {
	if identity.Facts == nil {
		buf = append(buf, `,"facts":null`...)
	}
	if identity.FirstSeen == nil {
		buf = append(buf, `,"firstSeen":null`...)
	}
	if identity.ClonedAt == nil {
		buf = append(buf, `,"clonedAt":null`...)
	}
	if len(identity.Labels) == 0 {
		buf = append(buf, `,"labels":{}`...)
	}
	if len(identity.ServerLabels) == 0 {
		buf = append(buf, `,"serverLabels":{}`...)
	}
	return buf
}

func (b *block) appendInstance(buf []byte, keys *familyKeys, row int, shape *shape) []byte {
	buf = append(buf, keys.instance...)
	for i := range b.family.Labels {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, keys.labels[i]...)
		buf = appendString(buf, b.label(row, i))
	}
	buf = append(buf, `},"values":{`...)
	buf = b.appendValues(buf, keys, row, shape)
	return append(buf, `}}`...)
}

func (b *block) appendValues(buf []byte, keys *familyKeys, row int, shape *shape) []byte {
	first := true
	for i := range b.family.Metrics {
		value, ok := b.value(row, i)
		if !ok || !shape.has(b.family, i) {
			continue
		}
		if !first {
			buf = append(buf, ',')
		}
		first = false
		buf = append(buf, keys.metrics[i]...)
		buf = appendNumber(buf, value)
	}
	return buf
}

// appendNumber writes a finite number.
func appendNumber(buf []byte, value float64) []byte {
	// Whole numbers below 2^53 are exact, and most values are whole.
	if whole := int64(value); float64(whole) == value && -1<<53 < whole && whole < 1<<53 {
		return strconv.AppendInt(buf, whole, 10)
	}
	return strconv.AppendFloat(buf, value, 'g', -1, 64)
}

// appendTime writes RFC 3339 in UTC with milliseconds only where there are some, as protojson does.
func appendTime(buf []byte, t time.Time) []byte {
	buf = t.UTC().AppendFormat(buf, time.RFC3339) // other layouts take several times as long
	millis := t.Nanosecond() / 1e6
	if millis == 0 {
		return buf
	}
	return append(buf[:len(buf)-1], '.', byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
}

// appendString writes a JSON string. s must be valid UTF-8.
func appendString(buf []byte, s string) []byte {
	const hex = "0123456789abcdef"
	buf = append(buf, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, s[start:i]...)
		if c < ' ' {
			buf = append(buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		} else {
			buf = append(buf, '\\', c)
		}
		start = i + 1
	}
	return append(append(buf, s[start:]...), '"')
}

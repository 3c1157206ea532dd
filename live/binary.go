package live

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// The binary form of a LiveMessage, for the dashboard: a tenth of the JSON. docs/live.md describes it byte by byte; the golden
// files in testdata are read by the dashboard's tests too.

// The first byte of a binary message.
const (
	binarySnapshot = 1
	binaryDelta    = 2
	binaryAlerts   = 3
	binaryError    = 4
)

// The first byte of an entry of a snapshot or a delta.
const (
	entryEnd      = 0
	entryHost     = 1
	entryNewFacts = 2 // a host, with its facts
	entryGone     = 3
)

// The bits of a host's status byte above the status itself.
const (
	hasSince  = 1 << 4
	hasSample = 1 << 5
)

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// appendSchema tells the families and metrics that hosts have, in their order.
func appendSchema(buf []byte, shape *shape) []byte {
	count := 1
	if shape.everything {
		count = len(families)
	}
	buf = binary.AppendUvarint(buf, uint64(count))
	for _, family := range families[:count] {
		buf = appendText(buf, family.Name)
		buf = binary.AppendUvarint(buf, uint64(len(family.Labels)))
		for _, label := range family.Labels {
			buf = appendText(buf, label.Name)
		}
		metrics := 0
		for i := range family.Metrics {
			if shape.has(family, i) {
				metrics++
			}
		}
		buf = binary.AppendUvarint(buf, uint64(metrics))
		for i, metric := range family.Metrics {
			if !shape.has(family, i) {
				continue
			}
			buf = appendText(buf, metric.Name)
			kind := byte(1)
			switch metric.Type {
			case catalogue.Float:
				kind = 0
			case catalogue.Double:
				kind = 2
			}
			buf = append(buf, kind)
		}
	}
	return buf
}

// appendBinary encodes the host as an entry. It is called with mu held.
func (h *host) appendBinary(buf []byte, m moment, shape *shape, facts bool) []byte {
	if facts {
		buf = binary.AppendUvarint(append(buf, entryNewFacts), uint64(h.id))
		identity := h.encodedIdentity()
		buf = binary.AppendUvarint(buf, uint64(len(identity)+1))
		buf = append(append(buf, identity...), '}')
	} else {
		buf = binary.AppendUvarint(append(buf, entryHost), uint64(h.id))
	}
	status, since := h.status(m)
	flags := byte(status)
	if !since.IsZero() {
		flags |= hasSince
	}
	if !h.sampled.IsZero() {
		flags |= hasSample
	}
	buf = append(buf, flags)
	if !since.IsZero() {
		buf = binary.AppendVarint(buf, since.UnixMilli())
	}
	skew, lag := h.clock()
	buf = binary.AppendVarint(buf, int64(math.Round(skew*1e3)))
	buf = binary.AppendUvarint(buf, uint64(math.Round(lag*1e3)))
	if h.sampled.IsZero() {
		return buf
	}
	buf = binary.AppendVarint(buf, h.sampled.UnixMilli())
	buf = h.blocks[0].appendBinary(buf, shape)
	if shape.everything {
		for i := range h.blocks[1:] {
			buf = h.blocks[1+i].appendBinary(buf, shape)
		}
	}
	return buf
}

// appendBinary encodes the rows of a family: labels, a bit a metric that tells whether there is a reading, and the readings.
func (b *block) appendBinary(buf []byte, shape *shape) []byte {
	buf = binary.AppendUvarint(buf, uint64(b.rows))
	for row := range b.rows {
		for i := range b.family.Labels {
			buf = appendText(buf, b.label(row, i))
		}
		bits, place := len(buf), 0
		for i := range b.family.Metrics {
			if shape.has(b.family, i) {
				if place%8 == 0 {
					buf = append(buf, 0)
				}
				if b.bits(row, i) != missing {
					buf[bits+place/8] |= 1 << (place % 8)
				}
				place++
			}
		}
		for i, metric := range b.family.Metrics {
			value := b.bits(row, i)
			switch {
			case !shape.has(b.family, i) || value == missing:
			case metric.Type == catalogue.Float:
				buf = binary.LittleEndian.AppendUint32(buf, uint32(value))
			case metric.Type == catalogue.Double:
				buf = binary.LittleEndian.AppendUint64(buf, value)
			default:
				buf = binary.AppendUvarint(buf, value)
			}
		}
	}
	return buf
}

// compileBinary makes a message that belongs to no topic.
func compileBinary(kind byte, body []byte) frame {
	return compile(ws.OpBinary, append([]byte{kind, 0}, body...))
}

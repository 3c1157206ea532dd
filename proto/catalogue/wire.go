package catalogue

import (
	"errors"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is one field of a message in protobuf's wire format.
type Field struct {
	Number protowire.Number
	Type   protowire.Type
	// Value is that of a number, with the bits of a fixed one; Text that of BytesType, a part of the message.
	Value uint64
	Text  string
}

// ErrMalformed: bytes are not in protobuf's wire format.
var ErrMalformed = errors.New("malformed protobuf message")

// Next reads the first field of a message in protobuf's wire format and returns how many bytes it has, 0 if they are no
// field. See https://protobuf.dev/programming-guides/encoding.
func Next(wire string) (f Field, n int) {
	tag, n := Varint(wire)
	if n == 0 || tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return f, 0
	}
	f.Number, f.Type = protowire.Number(tag>>3), protowire.Type(tag&7)
	wire = wire[n:]
	switch f.Type {
	case protowire.VarintType:
		value, m := Varint(wire)
		if m == 0 {
			return f, 0
		}
		f.Value = value
		return f, n + m
	case protowire.Fixed32Type:
		if len(wire) < 4 {
			return f, 0
		}
		f.Value = uint64(wire[0]) | uint64(wire[1])<<8 | uint64(wire[2])<<16 | uint64(wire[3])<<24
		return f, n + 4
	case protowire.Fixed64Type:
		if len(wire) < 8 {
			return f, 0
		}
		for i := range 8 {
			f.Value |= uint64(wire[i]) << (8 * i)
		}
		return f, n + 8
	case protowire.BytesType:
		length, m := Varint(wire)
		if m == 0 || length > uint64(len(wire)-m) {
			return f, 0
		}
		f.Text = wire[m : m+int(length)]
		return f, n + m + int(length)
	default:
		return f, 0
	}
}

// Varint reads a variable-length number and returns how many bytes it has, 0 if it is cut or longer than 64 bits.
func Varint(wire string) (value uint64, n int) {
	if len(wire) > 0 && wire[0] < 0x80 { // most are short
		return uint64(wire[0]), 1
	}
	if len(wire) >= 8 {
		_ = wire[7]
		x := uint64(wire[0]) | uint64(wire[1])<<8 | uint64(wire[2])<<16 | uint64(wire[3])<<24 |
			uint64(wire[4])<<32 | uint64(wire[5])<<40 | uint64(wire[6])<<48 | uint64(wire[7])<<56
		if value, n = VarintOf(x); n > 0 {
			return value, n
		}
	}
	return longVarint(wire)
}

// VarintOf is Varint for eight bytes, the first one lowest. It returns 0 bytes for a number that is longer than they are.
//
// The first byte without its top bit is the last of the number. The sevens of bits that are left are then moved together,
// pairs of them, pairs of those, and the two halves.
func VarintOf(x uint64) (value uint64, n int) {
	ends := ^x & 0x8080808080808080
	if ends == 0 {
		return 0, 0
	}
	x &= ends ^ (ends - 1) // the bytes of the number
	x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1
	x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2
	x = x&0x000000000fffffff | x&0x0fffffff00000000>>4
	return x, bits.TrailingZeros64(ends)/8 + 1
}

// longVarint is Varint for what is longer than eight bytes, or ends the message.
func longVarint(wire string) (value uint64, n int) {
	for shift := uint(0); n < len(wire) && shift < 64; shift += 7 {
		b := wire[n]
		n++
		if shift == 63 && b > 1 {
			return 0, 0
		}
		value |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return value, n
		}
	}
	return 0, 0
}

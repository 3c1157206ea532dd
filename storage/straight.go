package storage

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// AddEncoded is Add for a Sample of the contract as it came, which it turns into tuples in one pass, without a
// catalogue.Sample in between. It takes only what every agent sends: known fields, each once, in the order of their numbers, with
// the time first, values that can be stored, and a time from earliest to latest in Unix milliseconds. Of anything else it
// takes nothing and returns false: then Sample.Decode and Add can tell what is to be done. Otherwise it returns the number of
// rows that it added.
func (e *RowEncoder) AddEncoded(host HostID, receivedAt time.Time, wire string, earliest, latest int64) (rows int, ok bool) {
	taken, at := sampleTime(wire)
	if at == 0 || taken < earliest || taken > latest {
		return 0, false
	}
	mark := e.mark()
	start := newStart(host, taken, receivedAt)
	last, instances := -1, uint32(0)
	for at < len(wire) {
		tag := wire[at]
		if tag >= 0x80 || straightFamilies[tag] == 0 {
			break
		}
		place := int(straightFamilies[tag]) - 1
		if place != last {
			if place < last || last < 0 && place > 0 { // the host's row comes first, and there must be one
				break
			}
			last, instances = place, 0
		}
		length, n := catalogue.Varint(wire[at+1:])
		if n == 0 || length > uint64(len(wire)-at-1-n) || instances == shapes[place].most || rows == catalogue.MaxRows {
			break
		}
		at += 1 + n
		packed, ok := e.addMessage(&shapes[place], &start, octets(wire[at:at+int(length)]))
		if !ok {
			break
		}
		e.extend(Form{place, packed}, taken)
		instances++
		at += int(length)
		rows++
	}
	if at < len(wire) || rows == 0 {
		e.rollBack(mark)
		return 0, false
	}
	return rows, true
}

// mark is a state of an encoder.
type mark struct {
	tuples, segments, count int
	last                    segment
	span                    sampleSpan
}

func (e *RowEncoder) mark() mark {
	m := mark{tuples: len(e.tuples), segments: len(e.segments), count: e.count, span: e.span}
	if m.segments > 0 {
		m.last = e.segments[m.segments-1]
	}
	return m
}

func (e *RowEncoder) rollBack(to mark) {
	e.tuples, e.segments, e.count, e.span = e.tuples[:to.tuples], e.segments[:to.segments], to.count, to.span
	if to.segments > 0 {
		e.segments[to.segments-1] = to.last
	}
}

// addMessage appends the tuple of one message, packed if it can be. Where there is not room for the longest that it might become,
// it is made beside.
func (e *RowEncoder) addMessage(s *shape, start *rowStart, message []byte) (packed, ok bool) {
	into, beside := &e.tuples, false
	if most := s.longest(message); cap(e.tuples)-len(e.tuples) < most {
		e.last = slices.Grow(e.last[:0], most)
		into, beside = &e.last, true
	}
	if *into, ok = s.appendStraight(s.packedSteps, *into, start, message); ok {
		packed = true
	} else {
		*into, ok = s.appendStraight(s.steps, *into, start, message)
	}
	if ok && beside {
		e.tuples = append(e.tuples, e.last...)
	}
	return packed, ok
}

// sampleTime reads the time that a sample begins with, and returns where the rest of it is, 0 if it does not.
func sampleTime(wire string) (unixMillis int64, end int) {
	if len(wire) == 0 || wire[0] != timeTag {
		return 0, 0
	}
	value, n := catalogue.Varint(wire[1:])
	if n == 0 {
		return 0, 0
	}
	return int64(value), 1 + n
}

// rowStart is what the tuples of a sample begin with: the number of their fields, which shapes know, the time, the host, and
// when the sample was received: the end of that second, for with its microseconds it would take more of the disk than most values.
type rowStart [2 + 12 + 8 + 12]byte

func newStart(host HostID, unixMillis int64, receivedAt time.Time) (start rowStart) {
	binary.BigEndian.PutUint32(start[2:], 8)
	binary.BigEndian.PutUint64(start[6:], uint64(unixMillis*1000-PostgresEpochMicros))
	binary.BigEndian.PutUint32(start[14:], 4)
	binary.BigEndian.PutUint32(start[18:], uint32(host))
	binary.BigEndian.PutUint32(start[22:], 8)
	received := receivedAt.Add(time.Second - 1).Unix()
	binary.BigEndian.PutUint64(start[26:], uint64(received*1_000_000-PostgresEpochMicros))
	return start
}

// step is what appendStraight does at a column.
type step struct {
	// tag is the field's tag as it is in the message, the first byte lowest; mask has the bits of its tagBytes.
	tag, mask uint64
	tagBytes  int
	kind      stepKind
	// length is that of a column of four bytes, where it is in front of them in a word. It is not a constant, of which the
	// compiler would make a store a byte.
	length uint64
	// absent is the length of the column's field where the message has no such field.
	absent uint32
	// parts is how many parts a packed float has of one. Beside absent, a step is one cache line.
	parts float32
	// unfit has the bits that a number must not have.
	unfit uint64
	// check is that of the label.
	check func(string) error
}

type stepKind uint8

const (
	stepFloat stepKind = iota
	stepParts
	stepLabel
	stepSize
	stepUint32
	stepUint64
	stepDouble
)

var (
	timeTag = byte(protowire.EncodeTag(catalogue.SampleTime(), protowire.VarintType))
	// straightFamilies finds, by the tag of a family's field in a sample, its place plus one. A tag of two bytes is none.
	straightFamilies = func() (places [128]uint8) {
		for i, family := range catalogue.Families() {
			if tag := protowire.EncodeTag(family.Number, protowire.BytesType); tag < 128 {
				places[tag] = uint8(i + 1)
			}
		}
		return places
	}()
)

// newSteps returns the columns after the start of a tuple, packed or plain, nil if the fields' numbers do not rise.
func newSteps(family *catalogue.Family, packed bool) []step {
	var steps []step
	last := protowire.Number(0)
	add := func(number protowire.Number, wireType protowire.Type, one step) bool {
		encoded := protowire.AppendTag(nil, number, wireType)
		for i, b := range encoded {
			one.tag |= uint64(b) << (8 * i)
			one.mask |= 0xff << (8 * i)
		}
		one.tagBytes = len(encoded)
		steps = append(steps, one)
		rises := number > last && len(encoded) <= longestTag // with a float behind it, it is in eight bytes
		last = number
		return rises
	}
	for _, label := range family.Labels {
		if !add(label.Number, protowire.BytesType, step{kind: stepLabel, check: label.Check}) {
			return nil
		}
	}
	for _, metric := range family.Metrics {
		wireType, one := protowire.VarintType, step{kind: stepUint64, absent: nullLength, unfit: 1 << 63}
		switch metric.Type {
		case catalogue.Float:
			wireType, one.kind, one.length = protowire.Fixed32Type, stepFloat, 4<<32
		case catalogue.Double:
			wireType, one.kind = protowire.Fixed64Type, stepDouble
		case catalogue.Uint32:
			one.kind, one.length, one.unfit = stepUint32, 4<<32, ^uint64(math.MaxInt32)
		}
		switch {
		case !packed:
		case metric.Packing == catalogue.MiB:
			one.kind, one.length = stepSize, 4<<32
		case metric.Packing != catalogue.Unpacked:
			one.kind, one.parts = stepParts, float32(metric.Packing.Parts())
		}
		if !add(metric.Number, wireType, one) {
			return nil
		}
	}
	return steps
}

// longest is more than the tuple of a message can have.
func (s *shape) longest(message []byte) int { return s.start + 4*s.labels + len(message) + s.bytes }

// appendStraight appends the tuple of one message of the family to dst, which must have room for the longest. It goes along
// the columns and the message at once. It is false, and dst as it was, for a message that is not what every agent sends, or that the
// steps would pack and that can not be packed.
//
// Every value of the fleet passes here, so what is known once is not checked for each: there is that room, and up to near, a
// field's tag and number may be read eight bytes at a time.
func (s *shape) appendStraight(steps []step, dst []byte, start *rowStart, message []byte) ([]byte, bool) {
	if steps == nil {
		return dst, false
	}
	room := dst[len(dst) : len(dst)+s.longest(message)]
	row := unsafe.Pointer(unsafe.SliceData(room))
	n := copy(room, start[:s.start])
	binary.BigEndian.PutUint16(octetsAt[[2]byte](row, 0)[:], s.fields)
	wire := unsafe.Pointer(unsafe.SliceData(message))
	at, near := 0, len(message)-longestTag-8
	var lost uint64 // what would be, by packing
	for i := range steps {
		step := &steps[i]
		var ahead uint64
		if at <= near {
			ahead = binary.LittleEndian.Uint64(octetsAt[[8]byte](wire, at)[:])
		} else {
			ahead = tail(message[at:])
		}
		if ahead&step.mask != step.tag {
			if step.check != nil && step.check("") != nil {
				return dst, false
			}
			binary.BigEndian.PutUint32(octetsAt[[4]byte](row, n)[:], step.absent)
			n += 4
			continue
		}
		at += step.tagBytes
		if step.kind <= stepParts {
			value := ahead >> (8 * step.tagBytes) & math.MaxUint32
			if at += 4; value&infinity == infinity || at > len(message) {
				return dst, false
			}
			if step.kind == stepParts {
				whole, rest := catalogue.PackParts(uint32(value), step.parts)
				value, lost = uint64(uint32(whole)), lost|rest
			}
			binary.BigEndian.PutUint64(octetsAt[[8]byte](row, n)[:], step.length|value)
			n += 8
			continue
		}
		if step.kind == stepDouble { // only custom metrics have one: seldom enough to be checked as it comes
			if len(message)-at < 8 {
				return dst, false
			}
			value := binary.LittleEndian.Uint64(message[at:])
			if !catalogue.DoubleFits(value) {
				return dst, false
			}
			at += 8
			binary.BigEndian.PutUint32(octetsAt[[4]byte](row, n)[:], 8)
			binary.BigEndian.PutUint64(octetsAt[[8]byte](row, n+4)[:], value)
			n += 12
			continue
		}
		var value uint64
		var bytes int
		if at <= near+longestTag {
			value, bytes = catalogue.VarintOf(binary.LittleEndian.Uint64(octetsAt[[8]byte](wire, at)[:]))
		}
		if bytes == 0 {
			if value, bytes = catalogue.Varint(text(message[at:])); bytes == 0 {
				return dst, false
			}
		}
		if value&step.unfit != 0 {
			return dst, false
		}
		at += bytes
		switch step.kind {
		case stepSize:
			whole, rest := catalogue.PackSize(value)
			lost |= rest
			binary.BigEndian.PutUint64(octetsAt[[8]byte](row, n)[:], step.length|uint64(uint32(whole)))
			n += 8
		case stepUint32:
			binary.BigEndian.PutUint64(octetsAt[[8]byte](row, n)[:], step.length|value)
			n += 8
		case stepUint64:
			binary.BigEndian.PutUint32(octetsAt[[4]byte](row, n)[:], 8)
			binary.BigEndian.PutUint64(octetsAt[[8]byte](row, n+4)[:], value)
			n += 12
		default:
			if value > catalogue.MaxLabelBytes || value > uint64(len(message)-at) {
				return dst, false
			}
			label := message[at : at+int(value)]
			if !storable(label) || step.check != nil && step.check(text(label)) != nil {
				return dst, false
			}
			at += len(label)
			binary.BigEndian.PutUint32(octetsAt[[4]byte](row, n)[:], uint32(len(label)))
			n += 4 + copy(unsafe.Slice((*byte)(unsafe.Add(row, n+4)), len(label)), label)
		}
	}
	if at != len(message) || lost != 0 {
		return dst, false
	}
	return dst[:len(dst)+n], true
}

// storable says that a label is text that the databases can keep.
func storable(label []byte) bool { return utf8.Valid(label) && bytes.IndexByte(label, 0) < 0 }

// octetsAt is an array of bytes that begins offset bytes after what p points to. All of it must be there.
func octetsAt[array [2]byte | [4]byte | [8]byte](p unsafe.Pointer, offset int) *array {
	return (*array)(unsafe.Add(p, offset))
}

// tail returns up to eight bytes that a message ends with, the first one lowest.
func tail(message []byte) (word uint64) {
	for i := min(len(message), 8) - 1; i >= 0; i-- {
		word = word<<8 | uint64(message[i])
	}
	return word
}

// text is bytes that do not change as a string, and octets the other way around.
func text(octets []byte) string { return unsafe.String(unsafe.SliceData(octets), len(octets)) }

func octets(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// longestTag is how many bytes of a tag a step knows.
const longestTag = 2

// infinity is the exponent of an IEEE 754 single that is not finite.
const infinity = 0x7f800000

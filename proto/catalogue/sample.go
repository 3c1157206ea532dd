package catalogue

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Sample is a Sample of the contract, decoded flat: a table a family with a row an instance, where the generated type
// has a pointer a value. Its texts are parts of the message that it was decoded from. It may be used for one message after
// the other, and then allocates nothing once it has seen the largest.
type Sample struct {
	TimeUnixMillis int64

	// wire is what it was decoded from.
	wire   string
	tables []table // by the family's place in Families
	flaw   flaw
	// omitted is how many numbers were left out, and omission the first of them.
	omitted  int
	omission omission
}

// flaw is the first label of a sample that no database can keep.
type flaw struct {
	family *Family
	field  *field
	text   string
}

// omission is a number that no database can keep.
type omission struct {
	metric *Metric
	value  uint64
}

// table is one family of a sample.
type table struct {
	rows int
	// values has len(Metrics) columns: the bits of a Float, or a count.
	values []uint64
	// present has words words a row, a bit a metric.
	present []uint64
	// labels has len(Labels) columns.
	labels []string
}

// field is what a family's message has under one number.
type field struct {
	// known is false for a number that the message does not have.
	known bool
	// wireType is what the contract says; a field that comes with another is unknown, as protobuf has it.
	wireType protowire.Type
	// label says that index is a place in Labels, not in Metrics.
	label bool
	index int
	// mask cuts a value to the bits of its type, as protobuf does.
	mask uint64
	// check is that of the label.
	check func(string) error
	// unfit has bits that are never all set in a value that can be stored: those of a NaN's and an infinity's exponent, or
	// the sign, for the databases' integers have one.
	unfit uint64
}

// MaxLabelBytes is how long a label's text may be, far longer than any device's or program's name.
const MaxLabelBytes = 1024

// DoubleFits tells whether a Double may be stored, by its bits: it is 0, or its size is from about 1e-140 to 1e140. Of larger ones
// and smaller ones PostgreSQL can not make an average: it squares the differences, and refuses what is over or under a double's
// range. One of them in a table would stop its rollups.
func DoubleFits(bits uint64) bool {
	const zero, most = 1023, 465 // 2^465 is about 1e140
	exponent := bits >> 52 & 0x7ff
	return bits<<1 == 0 || zero-most <= exponent && exponent <= zero+most
}

// words is the number of 64-bit words with a bit for each of the family's metrics.
func (f *Family) words() int { return (len(f.Metrics) + 63) / 64 }

// MaxInstances is how many instances of one family a sample may have, far more than any machine has. An empty message is
// two bytes on the wire and some hundred here, so the bound holds while decoding.
const MaxInstances = 4096

// MaxRows is how many rows a sample that is taken may have of all families together: the newest of each host is kept in memory.
const MaxRows = 8192

// ErrTooManyInstances: a sample has more than MaxInstances of one family.
var ErrTooManyInstances = fmt.Errorf("over %d instances", MaxInstances)

// Decode reads a Sample of the contract from its wire format into s, in the place of what s held. Unknown fields are
// skipped, and a number that no database can keep is a missing reading: see Omitted. The sample keeps parts of wire, which must not change for as long as the sample is used.
func (s *Sample) Decode(wire string) error {
	s.TimeUnixMillis, s.wire, s.flaw, s.omitted = 0, wire, flaw{}, 0
	if s.tables == nil {
		s.tables = make([]table, len(families))
	}
	for i := range s.tables {
		s.tables[i].reset()
	}
	for rest := wire; len(rest) > 0; {
		f, n := Next(rest)
		if n == 0 {
			return fmt.Errorf("decode a sample: %w", ErrMalformed)
		}
		rest = rest[n:]
		switch {
		case f.Number == sampleTime && f.Type == protowire.VarintType:
			s.TimeUnixMillis = int64(f.Value)
		case f.Type == protowire.BytesType && int(f.Number) < len(familyByNumber) && familyByNumber[f.Number] != nil:
			family := familyByNumber[f.Number]
			if err := s.add(family, f.Text); err != nil {
				return fmt.Errorf("decode a sample: %s: %w", family.Name, err)
			}
		}
	}
	return nil
}

// Forget lets go of the message that the sample was decoded from, and keeps the room for the next one.
func (s *Sample) Forget() {
	s.wire, s.flaw, s.omitted = "", flaw{}, 0
	for i := range s.tables {
		clear(s.tables[i].labels)
		s.tables[i].reset()
	}
}

// Wire returns the message that the sample was decoded from. What holds for its texts holds for it.
func (s *Sample) Wire() string { return s.wire }

// Unfit says which label of the sample can not be stored and why, or nothing: it is too long, has a NUL byte, or not the form
// that it must have.
func (s *Sample) Unfit() string {
	f := s.flaw
	if f.family == nil {
		return ""
	}
	label := f.family.Labels[f.field.index]
	name := label.Name
	if len(f.text) > MaxLabelBytes {
		return fmt.Sprintf("label %s of %s is %d bytes long, the limit is %d", name, f.family.Name, len(f.text), MaxLabelBytes)
	}
	if strings.IndexByte(f.text, 0) < 0 && label.Check != nil {
		return fmt.Sprintf("label %s of %s: %v: %.70q", name, f.family.Name, label.Check(f.text), f.text)
	}
	return fmt.Sprintf("label %s of %s contains a NUL byte: %.70q", name, f.family.Name, f.text)
}

// Omitted is how many numbers of the message are not in the sample because no database can keep them: a float that is not
// finite, a count over what a signed integer holds. One odd counter must not cost the host's other values.
func (s *Sample) Omitted() int { return s.omitted }

// Omission says which number was left out first and why, or nothing.
func (s *Sample) Omission() string {
	if s.omitted == 0 {
		return ""
	}
	metric, value := s.omission.metric, s.omission.value
	switch metric.Type {
	case Float:
		return fmt.Sprintf("%s is %v, not a finite number", metric.Name, math.Float32frombits(uint32(value)))
	case Double:
		return fmt.Sprintf("%s is %v, neither 0 nor a number from 1e-140 to 1e+140", metric.Name, math.Float64frombits(value))
	case Uint32:
		return fmt.Sprintf("%s is %d, over 2^31-1", metric.Name, value)
	default:
		return fmt.Sprintf("%s is %d, over 2^63-1", metric.Name, value)
	}
}

// FromProto makes a flat sample of a generated one.
func FromProto(sample *gohubv1.Sample) (*Sample, error) {
	wire, err := proto.Marshal(sample)
	if err != nil {
		return nil, fmt.Errorf("encode a sample: %w", err)
	}
	flat := &Sample{}
	return flat, flat.Decode(string(wire))
}

// Rows is the number of rows of all families.
func (s *Sample) Rows() int {
	rows := 0
	for i := range s.tables {
		rows += s.tables[i].rows
	}
	return rows
}

func (t *table) reset() {
	t.rows, t.values, t.present, t.labels = 0, t.values[:0], t.present[:0], t.labels[:0]
}

// add appends a row for one message. A family without labels has one row, and a second message adds to it, as a second
// value of a message field does in protobuf.
func (s *Sample) add(family *Family, message string) error {
	t := &s.tables[family.index]
	row, metrics, labels, words := t.rows, len(family.Metrics), len(family.Labels), family.words()
	if family.Single() && row > 0 {
		row = 0
	} else if t.rows == MaxInstances {
		return ErrTooManyInstances
	} else {
		t.rows++
		t.values = grow(t.values, metrics)
		t.present = grow(t.present, words)
		t.labels = grow(t.labels, labels)
	}
	values, present := t.values[row*metrics:][:metrics], t.present[row*words:][:words]
	var seen uint64 // the first word of present: in a register, a write need not wait for the one before
	for at := 0; at < len(message); {
		// Nearly all fields are numbers that the family has, with a tag of one byte or two. They are read here; the others by
		// Next, which means the same.
		tag, n := uint64(message[at]), 1
		if tag >= 0x80 && at+1 < len(message) {
			tag, n = tag&0x7f|uint64(message[at+1])<<7, 2
		}
		if number := tag >> 3; number < uint64(len(family.byNumber)) {
			if field := &family.byNumber[number]; field.known && !field.label && field.wireType == protowire.Type(tag&7) {
				var value uint64
				if field.wireType == protowire.Fixed32Type {
					if len(message)-at < n+4 {
						return ErrMalformed
					}
					bytes := message[at+n : at+n+4]
					value = uint64(bytes[0]) | uint64(bytes[1])<<8 | uint64(bytes[2])<<16 | uint64(bytes[3])<<24
					n += 4
				} else if field.wireType == protowire.Fixed64Type {
					f, m := Next(message[at:])
					if m == 0 {
						return ErrMalformed
					}
					if value, n = f.Value, m; !DoubleFits(value) {
						at += n
						seen = s.leaveOut(family.Metrics[field.index], value, values, present, seen)
						continue
					}
				} else {
					var m int
					if value, m = Varint(message[at+n:]); m == 0 {
						return ErrMalformed
					}
					n += m
				}
				at += n
				value &= field.mask
				if value&field.unfit == field.unfit {
					seen = s.leaveOut(family.Metrics[field.index], value, values, present, seen)
					continue
				}
				values[field.index] = value
				if field.index < 64 {
					seen |= 1 << field.index
				} else {
					present[field.index/64] |= 1 << (field.index % 64)
				}
				continue
			}
		}
		f, n := Next(message[at:])
		if n == 0 {
			return ErrMalformed
		}
		at += n
		if int(f.Number) >= len(family.byNumber) {
			continue
		}
		if field := &family.byNumber[f.Number]; field.label && field.wireType == f.Type {
			if !utf8.ValidString(f.Text) {
				return fmt.Errorf("label %s is not UTF-8", family.Labels[field.index].Name)
			}
			if len(f.Text) > MaxLabelBytes || strings.IndexByte(f.Text, 0) >= 0 || field.check != nil && field.check(f.Text) != nil {
				s.find(flaw{family: family, field: field, text: f.Text})
			}
			t.labels[row*labels+field.index] = f.Text
		}
	}
	if words > 0 {
		present[0] |= seen
	}
	if family.checked {
		s.checkMissing(family, t.labels[row*labels:])
	}
	return nil
}

// checkMissing finds a label that the message did not have and that must not be empty.
func (s *Sample) checkMissing(family *Family, labels []string) {
	for i := range family.byNumber {
		if field := &family.byNumber[i]; field.check != nil && labels[field.index] == "" && field.check("") != nil {
			s.find(flaw{family: family, field: field})
		}
	}
}

// leaveOut counts a number of the row that no database can keep, and keeps the first. Where the metric has a reading already, it is gone: as
// in protobuf, the last of several counts. It returns what is left of seen.
func (s *Sample) leaveOut(metric *Metric, value uint64, values, present []uint64, seen uint64) uint64 {
	if s.omitted == 0 {
		s.omission = omission{metric, value}
	}
	s.omitted++
	i := metric.Index
	values[i] = 0
	present[i/64] &^= 1 << (i % 64)
	if i < 64 {
		seen &^= 1 << i
	}
	return seen
}

// find keeps the first flaw.
func (s *Sample) find(one flaw) {
	if s.flaw.family == nil {
		s.flaw = one
	}
}

// grow appends n zero values.
func grow[T any](slice []T, n int) []T {
	length := len(slice)
	slice = slices.Grow(slice, n)[:length+n]
	clear(slice[length:])
	return slice
}

// Row is one instance of a family at one tick.
type Row struct {
	family *Family
	table  *table
	row    int
}

// Count returns how many instances of the family the sample has.
func (f *Family) Count(sample *Sample) int { return sample.tables[f.index].rows }

// Row returns the i-th instance of the family in the sample, with i below Count.
func (f *Family) Row(sample *Sample, i int) Row { return Row{f, &sample.tables[f.index], i} }

// Rows calls yield for every instance of the family in the sample, until yield returns false.
func (f *Family) Rows(sample *Sample, yield func(Row) bool) {
	for i := range f.Count(sample) {
		if !yield(f.Row(sample, i)) {
			return
		}
	}
}

// Label returns the text of the family's i-th label. It is a part of the sample's message: clone it to keep it longer.
func (r Row) Label(i int) string { return r.table.labels[r.row*len(r.family.Labels)+i] }

// Bits returns the value of a metric as it is stored, the IEEE 754 single of a Float, the double of a Double, or a count, and whether there was a
// reading.
func (r Row) Bits(m *Metric) (uint64, bool) {
	present := r.table.present[r.row*r.family.words()+m.Index/64]&(1<<(m.Index%64)) != 0
	return r.table.values[r.row*len(r.family.Metrics)+m.Index], present
}

// Float returns the value of a metric as a float64 and whether there was a reading.
func (r Row) Float(m *Metric) (float64, bool) {
	value, ok := r.Bits(m)
	if m.Type == Float {
		return float64(math.Float32frombits(uint32(value))), ok
	}
	if m.Type == Double {
		return math.Float64frombits(value), ok
	}
	return float64(value), ok
}

// Uint returns the value of a metric of type Uint32 or Uint64 and whether there was a reading.
func (r Row) Uint(m *Metric) (uint64, bool) { return r.Bits(m) }

// Values returns the row's values, by Metric.Index, as Bits returns one; where there was no reading, 0. Present says of 64
// of them from word*64 on which there are. The caller must not change them.
func (r Row) Values() []uint64 {
	metrics := len(r.family.Metrics)
	return r.table.values[r.row*metrics:][:metrics]
}

// Present is documented with Values.
func (r Row) Present(word int) uint64 { return r.table.present[r.row*r.family.words()+word] }

// Readings returns how many metrics of the row have a value.
func (r Row) Readings() int {
	count, words := 0, r.family.words()
	for _, word := range r.table.present[r.row*words : (r.row+1)*words] {
		count += bits.OnesCount64(word)
	}
	return count
}

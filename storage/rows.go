package storage

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// Rows is the rows of a batch's samples, finished for the database: tuples of PostgreSQL's binary COPY. The TimescaleDB driver sends
// them as they are, the SQLite driver reads them back. They are bytes without pointers, so that what waits for a flush costs the
// garbage collector nothing.
//
// A row is packed, with the columns of Family.PackedColumns, if each of its values that has a Packing and is there can be packed.
// Otherwise it is plain, with those of Family.Columns. So a COPY has as many columns as a row has values.
//
// The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
type Rows struct {
	// tuples are in the order in which samples were added, and of a sample in that of the families.
	tuples []byte
	// segments says which of the tuples are whose. It lies behind them in the same array.
	segments []byte
	count    int
	span     sampleSpan
}

// sampleSpan is from the oldest to the newest sample, in Unix milliseconds.
type sampleSpan struct{ oldest, newest int64 }

// Times are those of the oldest and the newest sample in Unix milliseconds. They mean something only where there are rows.
func (r *Rows) Times() (oldest, newest int64) { return r.span.oldest, r.span.newest }

// maxFamilies bounds the catalogue's families. It is a test that there are not more.
const maxFamilies = 8

// PostgresEpochMicros is 2000-01-01, from which PostgreSQL counts a timestamp's microseconds, in Unix microseconds.
const PostgresEpochMicros = 946684800 * 1_000_000

// nullLength is the length of a field that is NULL.
const nullLength = math.MaxUint32

// Form is what tuples are.
type Form struct {
	// Place is that of their family in the catalogue.
	Place int
	// Packed says that they have the columns of Family.PackedColumns.
	Packed bool
}

// Columns are those of the form's tuples.
func (f Form) Columns() []string {
	family := catalogue.Families()[f.Place]
	if f.Packed {
		return family.PackedColumns()
	}
	return family.Columns()
}

// segment is tuples of the form with an index, one after the other, which end at end of Rows.tuples.
type segment struct{ form, end uint32 }

// segmentBytes is what a segment takes in Rows.segments: form and end, little-endian.
const segmentBytes = 8

// Index is the form's place in Forms.
func (f Form) Index() int {
	if f.Packed {
		return f.Place<<1 | 1
	}
	return f.Place << 1
}

// formAt is the form with an index.
func formAt(index int) Form { return Form{Place: index >> 1, Packed: index&1 == 1} }

// Forms returns all forms: of each family the plain one, then the packed one, which a family that does not pack has no tuples of.
// The caller must not change it.
func Forms() []Form { return forms }

var forms = func() (forms []Form) {
	for i := range 2 * len(catalogue.Families()) {
		forms = append(forms, formAt(i))
	}
	return forms
}()

// Count is the number of rows of all families.
func (r *Rows) Count() int { return r.count }

// Bytes is how many bytes all tuples have.
func (r *Rows) Bytes() int { return len(r.tuples) }

// Segments yields all tuples in pieces of one form each.
func (r *Rows) Segments(yield func(form Form, tuples []byte) bool) {
	begin := uint32(0)
	for rest := r.segments; len(rest) > 0; rest = rest[segmentBytes:] {
		index, end := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
		if !yield(formAt(int(index)), r.tuples[begin:end:end]) {
			return
		}
		begin = end
	}
}

// Has says whether there are rows of the family.
func (r *Rows) Has(family *catalogue.Family) bool {
	for form := range r.Segments {
		if form.Place == family.Place() {
			return true
		}
	}
	return false
}

// RowEncoder turns samples into Rows. It may be used again and again, by one goroutine at a time, and allocates nothing as
// long as the buffers that it is given have room. Its zero value is ready.
type RowEncoder struct {
	tuples   []byte
	segments []segment
	count    int
	span     sampleSpan
	// last is where a row is made that might not have room where it is to go.
	last []byte
}

// Begin drops what was added, and has the next rows written into buffer, which is overwritten. More than it has room for go
// to an array of their own.
func (e *RowEncoder) Begin(buffer []byte) {
	e.tuples, e.segments, e.count = buffer[:0], e.segments[:0], 0
}

// Rows hands over what was added, together with the buffer. The second result is that buffer, or the array that replaced
// it.
func (e *RowEncoder) Rows() (Rows, []byte) {
	n := len(e.tuples)
	all := e.tuples
	for _, s := range e.segments {
		all = binary.LittleEndian.AppendUint32(all, s.form)
		all = binary.LittleEndian.AppendUint32(all, s.end)
	}
	rows := Rows{tuples: all[:n:n], segments: all[n:], count: e.count, span: e.span}
	e.Begin(nil)
	return rows, all
}

// extend makes one tuple that ends at the end of e.tuples a part of the rows. It is of a sample taken at a time.
func (e *RowEncoder) extend(form Form, unixMillis int64) {
	if e.count == 0 {
		e.span = sampleSpan{unixMillis, unixMillis}
	}
	e.span.oldest, e.span.newest = min(e.span.oldest, unixMillis), max(e.span.newest, unixMillis)
	e.count++
	if last := len(e.segments) - 1; last >= 0 && e.segments[last].form == uint32(form.Index()) {
		e.segments[last].end = uint32(len(e.tuples))
		return
	}
	e.segments = append(e.segments, segment{uint32(form.Index()), uint32(len(e.tuples))})
}

// Add appends the rows of a sample.
func (e *RowEncoder) Add(host HostID, receivedAt time.Time, sample *catalogue.Sample) {
	start := newStart(host, sample.TimeUnixMillis, receivedAt)
	for i, family := range catalogue.Families() {
		count := family.Count(sample)
		if count == 0 {
			continue
		}
		shape := &shapes[i]
		binary.BigEndian.PutUint16(start[:], shape.fields)
		for j := range count {
			e.last = append(e.last[:0], start[:shape.start]...)
			row, packed := family.Row(sample, j), family.Packs()
			if packed {
				e.last, packed = shape.appendRow(e.last, row, true)
			}
			if !packed {
				e.last, _ = shape.appendRow(e.last[:shape.start], row, false)
			}
			e.tuples = append(e.tuples, e.last...)
			e.extend(Form{i, packed}, sample.TimeUnixMillis)
		}
	}
}

// shape is what the encoder must know of a family.
type shape struct {
	fields uint16
	// start is the length of what all rows of a sample begin with: a family with labels has no column for when the sample
	// was received.
	start  int
	labels int
	// wide says of each metric that its column has eight bytes, and bytes is the most that the metrics take.
	wide     []bool
	bytes    int
	packings []catalogue.Packing
	// parts are those of a float's packing.
	parts []float32
	// steps and packedSteps are for AddEncoded, the latter nil where the family does not pack. most is how many rows of the family
	// a sample may have.
	steps, packedSteps []step
	most               uint32
}

var shapes = func() (shapes [maxFamilies]shape) {
	for i, family := range catalogue.Families() {
		s := shape{fields: uint16(len(family.Columns())), start: 2 + 12 + 8, labels: len(family.Labels), steps: newSteps(family, false), most: catalogue.MaxInstances}
		if family.Packs() {
			s.packedSteps = newSteps(family, true)
		}
		if family.Single() {
			s.most = 1
		}
		if s.labels == 0 {
			s.start += 12
		}
		for _, metric := range family.Metrics {
			s.wide = append(s.wide, metric.Type == catalogue.Uint64 || metric.Type == catalogue.Double)
			s.packings = append(s.packings, metric.Packing)
			s.parts = append(s.parts, float32(metric.Packing.Parts()))
			s.bytes += 12
		}
		shapes[i] = s
	}
	return shapes
}()

// appendRow appends the labels and the metrics of a row. It is false if the row is to be packed and can not be.
func (s *shape) appendRow(dst []byte, row catalogue.Row, packed bool) ([]byte, bool) {
	for i := range s.labels {
		label := row.Label(i)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(label)))
		dst = append(dst, label...)
	}
	dst = slices.Grow(dst, s.bytes)
	n := len(dst)
	dst = dst[:n+s.bytes]
	var present, lost uint64
	for i, value := range row.Values() {
		if i%64 == 0 {
			present = row.Present(i / 64)
		}
		switch {
		case present&1 == 0:
			binary.BigEndian.PutUint32(dst[n:], nullLength)
			n += 4
		case packed && s.packings[i] != catalogue.Unpacked:
			var whole int32
			var rest uint64
			if s.wide[i] {
				whole, rest = catalogue.PackSize(value)
			} else {
				whole, rest = catalogue.PackParts(uint32(value), s.parts[i])
			}
			binary.BigEndian.PutUint64(dst[n:], 4<<32|uint64(uint32(whole)))
			n, lost = n+8, lost|rest
		case s.wide[i]:
			binary.BigEndian.PutUint32(dst[n:], 8)
			binary.BigEndian.PutUint64(dst[n+4:], value)
			n += 12
		default: // a real's bits or an integer; its length of 4 in front of it
			binary.BigEndian.PutUint64(dst[n:], 4<<32|value)
			n += 8
		}
		present >>= 1
	}
	return dst[:n], lost == 0
}

// Unpacked returns the same rows, all of them plain.
func (r *Rows) Unpacked() Rows {
	var e RowEncoder
	for form, tuples := range r.Segments {
		shape := &shapes[form.Place]
		if !form.Packed {
			e.tuples = append(e.tuples, tuples...)
		}
		for form.Packed && len(tuples) > 0 {
			rest := tuples[shape.start:]
			for range shape.labels {
				rest = rest[4+binary.BigEndian.Uint32(rest):]
			}
			e.tuples = append(e.tuples, tuples[:len(tuples)-len(rest)]...)
			e.tuples, tuples = shape.appendUnpacked(e.tuples, rest)
		}
		e.segments = append(e.segments, segment{uint32(Form{Place: form.Place}.Index()), uint32(len(e.tuples))})
	}
	e.count, e.span = r.count, r.span
	rows, _ := e.Rows()
	return rows
}

// appendUnpacked appends the metrics at the beginning of src, and returns what comes after them.
func (s *shape) appendUnpacked(dst, src []byte) (unpacked, rest []byte) {
	for i, packing := range s.packings {
		switch length := binary.BigEndian.Uint32(src); {
		case length == nullLength:
			dst, src = append(dst, src[:4]...), src[4:]
		case packing == catalogue.Unpacked:
			dst, src = append(dst, src[:4+length]...), src[4+length:]
		default:
			bits := packing.Unpack(int32(binary.BigEndian.Uint32(src[4:])))
			if src = src[8:]; s.wide[i] {
				dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, 8), bits)
			} else {
				dst = binary.BigEndian.AppendUint64(dst, 4<<32|bits)
			}
		}
	}
	return dst, src
}

// Tuple is one row, read field by field in the order of the columns.
type Tuple struct {
	rest   []byte
	packed bool
}

// EachTuple yields the rows of one family. The tuples are parts of the rows.
func (r *Rows) EachTuple(family *catalogue.Family, yield func(Tuple) error) error {
	for form, tuples := range r.Segments {
		if form.Place != family.Place() {
			continue
		}
		for len(tuples) > 0 {
			fields := int(binary.BigEndian.Uint16(tuples))
			tuple := Tuple{rest: tuples[2:], packed: form.Packed}
			tuples = tuples[2:]
			for range fields {
				length := binary.BigEndian.Uint32(tuples)
				tuples = tuples[4:]
				if length != nullLength {
					tuples = tuples[length:]
				}
			}
			if err := yield(tuple); err != nil {
				return err
			}
		}
	}
	return nil
}

// Readings yields when each row of a family without labels was taken, in Unix milliseconds, after it has written the bits of
// the row's metrics into bits, those of a single for a float, and absent where there was no reading.
func (r *Rows) Readings(family *catalogue.Family, bits []uint64, absent uint64) iter.Seq[int64] {
	shape := &shapes[family.Place()]
	return func(yield func(int64) bool) {
		for form, tuples := range r.Segments {
			for form.Place == family.Place() && len(tuples) > 0 {
				micros := int64(binary.BigEndian.Uint64(tuples[2+4:])) + PostgresEpochMicros
				tuples = shape.readings(tuples[shape.start:], form.Packed, bits, absent)
				if !yield(micros / 1000) {
					return
				}
			}
		}
	}
}

// readings reads the metrics at the beginning of src, and returns what comes after them.
func (s *shape) readings(src []byte, packed bool, bits []uint64, absent uint64) []byte {
	bits = bits[:len(s.wide)]
	packings := s.packings[:len(s.wide)]
	for i, wide := range s.wide {
		switch {
		case binary.BigEndian.Uint32(src) == nullLength:
			bits[i], src = absent, src[4:]
		case packed && packings[i] != catalogue.Unpacked:
			bits[i], src = packings[i].Unpack(int32(binary.BigEndian.Uint32(src[4:]))), src[8:]
		case wide:
			bits[i], src = binary.BigEndian.Uint64(src[4:]), src[12:]
		default:
			bits[i], src = uint64(binary.BigEndian.Uint32(src[4:])), src[8:]
		}
	}
	return src
}

// next returns the bytes of the next field, nil for NULL.
func (t *Tuple) next() []byte {
	length := binary.BigEndian.Uint32(t.rest)
	t.rest = t.rest[4:]
	if length == nullLength {
		return nil
	}
	field := t.rest[:length:length]
	t.rest = t.rest[length:]
	return field
}

// Time reads a timestamp.
func (t *Tuple) Time() time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(t.next())) + PostgresEpochMicros)
}

// Text reads a text.
func (t *Tuple) Text() string { return string(t.next()) }

// Value reads the value of a metric: an int64, a float64, or nil where there was no reading.
func (t *Tuple) Value(metric *catalogue.Metric) any {
	if !t.packed || metric.Packing == catalogue.Unpacked {
		return t.Number(metric.Type)
	}
	field := t.next()
	if field == nil {
		return nil
	}
	bits := metric.Packing.Unpack(int32(binary.BigEndian.Uint32(field)))
	if metric.Type == catalogue.Float {
		return float64(math.Float32frombits(uint32(bits)))
	}
	return int64(bits)
}

// Number reads a number of a type that is not packed, as the id of a host: what Value does.
func (t *Tuple) Number(kind catalogue.Type) any {
	field := t.next()
	switch {
	case field == nil:
		return nil
	case kind == catalogue.Float:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(field)))
	case kind == catalogue.Double:
		return math.Float64frombits(binary.BigEndian.Uint64(field))
	case len(field) == 4:
		return int64(int32(binary.BigEndian.Uint32(field)))
	case len(field) == 8:
		return int64(binary.BigEndian.Uint64(field))
	default:
		panic(fmt.Sprintf("a number of %d bytes", len(field)))
	}
}

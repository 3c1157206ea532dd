package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// Rows is the rows of a batch's samples, finished for the database: of each family the tuples of PostgreSQL's binary COPY,
// one after the other, with the columns of Family.Columns. The TimescaleDB driver sends them as they are, the SQLite driver
// reads them back. They are bytes without pointers, so that what waits for a flush costs the garbage collector nothing.
//
// The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
type Rows struct {
	data []byte
	// ends says where each family's tuples end in data, and counts how many there are.
	ends, counts [maxFamilies]uint32
}

// maxFamilies bounds the catalogue's families. It is a test that there are not more.
const maxFamilies = 8

// postgresEpochMicros is 2000-01-01, from which PostgreSQL counts a timestamp's microseconds, in Unix microseconds.
const postgresEpochMicros = 946684800 * 1_000_000

// nullLength is the length of a field that is NULL.
const nullLength = math.MaxUint32

// Count is the number of rows of all families.
func (r *Rows) Count() int {
	count := 0
	for _, n := range r.counts {
		count += int(n)
	}
	return count
}

// Tuples returns the tuples of one family and their number.
func (r *Rows) Tuples(family *catalogue.Family) (tuples []byte, count int) {
	begin, place := uint32(0), family.Place()
	if place > 0 {
		begin = r.ends[place-1]
	}
	return r.data[begin:r.ends[place]], int(r.counts[place])
}

// RowEncoder turns samples into Rows. It may be used again and again, by one goroutine at a time, and allocates nothing
// once it has seen the largest batch. Its zero value is ready.
type RowEncoder struct {
	tuples [maxFamilies][]byte
	counts [maxFamilies]uint32
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
		tuples := e.tuples[i]
		for j := range count {
			tuples = append(tuples, start[:shape.start]...)
			tuples = shape.appendRow(tuples, family.Row(sample, j))
		}
		e.tuples[i] = tuples
		e.counts[i] += uint32(count)
	}
}

// shape is what the encoder must know of a family.
type shape struct {
	fields uint16
	// start is the length of what all rows of a sample begin with: a family with labels has no column for when the sample
	// was received.
	start  int
	labels int
	// wide says of each metric that its column is a bigint, and bytes is the most that the metrics take.
	wide  []bool
	bytes int
	// steps are for AddEncoded, and most is how many rows of the family a sample may have.
	steps []step
	most  uint32
}

var shapes = func() (shapes [maxFamilies]shape) {
	for i, family := range catalogue.Families() {
		s := shape{fields: uint16(len(family.Columns())), start: 2 + 12 + 8, labels: len(family.Labels), steps: newSteps(family), most: catalogue.MaxInstances}
		if family.Single() {
			s.most = 1
		}
		if s.labels == 0 {
			s.start += 12
		}
		for _, metric := range family.Metrics {
			s.wide = append(s.wide, metric.Type == catalogue.Uint64)
			s.bytes += 12
		}
		shapes[i] = s
	}
	return shapes
}()

func (s *shape) appendRow(dst []byte, row catalogue.Row) []byte {
	for i := range s.labels {
		label := row.Label(i)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(label)))
		dst = append(dst, label...)
	}
	dst = slices.Grow(dst, s.bytes)
	n := len(dst)
	dst = dst[:n+s.bytes]
	var present uint64
	for i, value := range row.Values() {
		if i%64 == 0 {
			present = row.Present(i / 64)
		}
		switch {
		case present&1 == 0:
			binary.BigEndian.PutUint32(dst[n:], nullLength)
			n += 4
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
	return dst[:n]
}

// Size is how many bytes Rows will need.
func (e *RowEncoder) Size() int {
	size := 0
	for i := range e.tuples {
		size += len(e.tuples[i])
	}
	return size
}

// Cap is how many bytes the encoder holds on to.
func (e *RowEncoder) Cap() int {
	size := 0
	for i := range e.tuples {
		size += cap(e.tuples[i])
	}
	return size
}

// Rows moves what was added into dst, which is overwritten and should have room for Size, and leaves the encoder empty.
func (e *RowEncoder) Rows(dst []byte) Rows {
	rows := Rows{data: dst[:0], counts: e.counts}
	for i := range e.tuples {
		rows.data = append(rows.data, e.tuples[i]...)
		rows.ends[i] = uint32(len(rows.data))
		e.tuples[i], e.counts[i] = e.tuples[i][:0], 0
	}
	return rows
}

// Reset drops what was added.
func (e *RowEncoder) Reset() {
	for i := range e.tuples {
		e.tuples[i], e.counts[i] = e.tuples[i][:0], 0
	}
}

// Tuple is one row, read field by field in the order of the columns.
type Tuple struct{ rest []byte }

// EachTuple yields the rows of one family. The tuples are parts of the rows.
func (r *Rows) EachTuple(family *catalogue.Family, yield func(Tuple) error) error {
	tuples, count := r.Tuples(family)
	for range count {
		fields := int(binary.BigEndian.Uint16(tuples))
		tuple := Tuple{rest: tuples[2:]}
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
	return nil
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
	return time.UnixMicro(int64(binary.BigEndian.Uint64(t.next())) + postgresEpochMicros)
}

// Text reads a text.
func (t *Tuple) Text() string { return string(t.next()) }

// Number reads the value of a metric, or the id of a host: an int64, a float64, or nil where there was no reading.
func (t *Tuple) Number(kind catalogue.Type) any {
	field := t.next()
	switch {
	case field == nil:
		return nil
	case kind == catalogue.Float:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(field)))
	case len(field) == 4:
		return int64(int32(binary.BigEndian.Uint32(field)))
	case len(field) == 8:
		return int64(binary.BigEndian.Uint64(field))
	default:
		panic(fmt.Sprintf("a number of %d bytes", len(field)))
	}
}

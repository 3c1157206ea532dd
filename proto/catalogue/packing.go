package catalogue

import (
	"fmt"
	"math"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Packing is how a metric's value is kept as a whole number of 32 bits where the database compresses. It never rounds: a value
// that is no such number is not packed.
type Packing int

// The packings.
const (
	Unpacked Packing = iota
	// Parts16 and Parts128 are parts of one, of a Float.
	Parts16
	Parts128
	// MiB is whole MiB of a Uint64, as a negative number whole KiB.
	MiB
)

var packings = map[gohubv1.Packing]Packing{
	gohubv1.Packing_PACKING_16THS:  Parts16,
	gohubv1.Packing_PACKING_128THS: Parts128,
	gohubv1.Packing_PACKING_MIB:    MiB,
}

// newPacking checks that values of the type can be packed so.
func newPacking(of gohubv1.Packing, kind Type) (Packing, error) {
	packing := packings[of]
	if of != gohubv1.Packing_PACKING_UNSPECIFIED && packing == Unpacked || packing.Parts() > 0 && kind != Float || packing == MiB && kind != Uint64 {
		return Unpacked, fmt.Errorf("values of its type are not packed as %s", of)
	}
	return packing, nil
}

// Parts is how many parts one has; 0 where the packing is not that of a Float.
func (p Packing) Parts() int { return [...]int{Parts16: 16, Parts128: 128, MiB: 0}[p] }

// Suffix is what the name of the column with the whole numbers has behind that of the metric's column.
func (p Packing) Suffix() string {
	return [...]string{Parts16: "_x16", Parts128: "_x128", MiB: "_mib"}[p]
}

// Pack returns the whole number for the bits of a value, as Row.Bits has them. It is false if the value is none, or has more than
// 32 bits as one.
func (p Packing) Pack(bits uint64) (whole int32, ok bool) {
	var lost uint64
	if p == MiB {
		whole, lost = PackSize(bits)
	} else {
		whole, lost = PackParts(uint32(bits), float32(p.Parts()))
	}
	return whole, lost == 0
}

// Unpack returns the bits of the value that Pack made the whole number of.
func (p Packing) Unpack(whole int32) (bits uint64) {
	switch {
	case p != MiB:
		return uint64(math.Float32bits(float32(whole) / float32(p.Parts())))
	case whole < 0:
		return uint64(-int64(whole)) << 10
	default:
		return uint64(whole) << 20
	}
}

// PackParts is Pack for the bits of a single, to parts of a power of two: then no step of it rounds. lost is not 0 if the value can
// not be packed: of many values it is told together whether one can not.
func PackParts(bits uint32, parts float32) (whole int32, lost uint64) {
	value := math.Float32frombits(bits) * parts
	// By way of 64 bits, which cut what is too large to another number on every machine. A negative zero has a bit that 0 has not.
	whole = int32(int64(value))
	return whole, uint64(math.Float32bits(float32(whole)) ^ math.Float32bits(value))
}

// PackSize is PackParts for bytes.
func PackSize(bytes uint64) (whole int32, lost uint64) {
	const kib, mib = 10, 20
	if bytes&(1<<mib-1) == 0 {
		return int32(bytes >> mib), bytes >> (mib + 31)
	}
	return -int32(bytes >> kib), bytes&(1<<kib-1) | bytes>>(kib+31)
}

// Packs says whether some of the family's metrics have a Packing.
func (f *Family) Packs() bool { return f.packs }

// StoredTable is the table with the raw samples in a database that packs. One of a family that packs has both columns of each
// metric with a Packing, and Table is a view of it.
func (f *Family) StoredTable() string {
	if f.packs {
		return f.Table + "_packed"
	}
	return f.Table
}

// PackedColumns are Columns of a row whose values are packed, all that can be.
func (f *Family) PackedColumns() []string {
	columns := f.Columns()
	metrics := columns[len(columns)-len(f.Metrics):]
	for i, metric := range f.Metrics {
		metrics[i] = metric.PackedColumn()
	}
	return columns
}

// PackedColumn is the column that has the metric's value in a packed row.
func (m *Metric) PackedColumn() string { return m.Column + m.Packing.Suffix() }

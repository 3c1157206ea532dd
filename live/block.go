package live

import (
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// families is the catalogue's order; a host's blocks are in it. The first is the host family.
var families = catalogue.Families()

// missing are the bits of a metric without a reading: no single that is shown has them, and no count that a database can keep.
const missing = math.MaxUint64

// layout says where the metrics of a family are in a row of words.
type layout struct {
	family *catalogue.Family
	// at is a metric's first word. A float or a small count has one, a double or a large count two, the lower half first.
	at []int
	// wide are the metrics that have two.
	wide  []int
	width int
}

var layouts = func() []layout {
	all := make([]layout, len(families))
	for i, family := range families {
		all[i].family = family
		for _, metric := range family.Metrics {
			all[i].at = append(all[i].at, all[i].width)
			all[i].width++
			if isWide(metric) {
				all[i].wide = append(all[i].wide, metric.Index)
				all[i].width++
			}
		}
	}
	return all
}()

func isWide(metric *catalogue.Metric) bool {
	return metric.Type == catalogue.Uint64 || metric.Type == catalogue.Double
}

// block is the newest values of one family of a host: a flat table with a row an instance. Most of it is words without
// pointers, which cost the garbage collector nothing: a host has some hundred values.
type block struct {
	*layout
	rows int
	// told is the time of the sample that the rows are of, in Unix milliseconds.
	told int64
	// words has width columns: the bits of what came. All ones is a missing reading; no value is infinite.
	words []uint32
	// text holds the labels one after the other, and ends where each ends, by rows: valid UTF-8, and no two rows alike. Both are
	// replaced, never changed: views share them.
	text string
	ends []uint32
}

// label is the i-th label of a row.
func (b *block) label(row, i int) string {
	at := row*len(b.family.Labels) + i
	start := uint32(0)
	if at > 0 {
		start = b.ends[at-1]
	}
	return b.text[start:b.ends[at]]
}

// bits are those of a reading as it came, or missing.
func (b *block) bits(row, metric int) uint64 {
	at := row*b.width + b.at[metric]
	low := b.words[at]
	if isWide(b.family.Metrics[metric]) {
		return uint64(b.words[at+1])<<32 | uint64(low)
	}
	if low == math.MaxUint32 {
		return missing
	}
	return uint64(low)
}

func (b *block) setBits(row, metric int, bits uint64) {
	at := row*b.width + b.at[metric]
	b.words[at] = uint32(bits)
	if isWide(b.family.Metrics[metric]) {
		b.words[at+1] = uint32(bits >> 32)
	}
}

// value is the number that is shown everywhere, and whether there is one. A float came as IEEE 754 single and is rounded to
// the seven digits that it has, so that 12.3 is not 12.300000190734863.
func (b *block) value(row, metric int) (float64, bool) {
	bits := b.bits(row, metric)
	switch {
	case bits == missing:
		return 0, false
	case b.family.Metrics[metric].Type == catalogue.Float:
		return catalogue.Round(float64(math.Float32frombits(uint32(bits)))), true
	case b.family.Metrics[metric].Type == catalogue.Double:
		return math.Float64frombits(bits), true
	default:
		return float64(bits), true
	}
}

// readings are the values of a row by the metrics' names.
func (b *block) readings(row int) map[string]float64 {
	readings := make(map[string]float64, len(b.family.Metrics))
	for i, metric := range b.family.Metrics {
		if value, ok := b.value(row, i); ok {
			readings[metric.Name] = value
		}
	}
	return readings
}

// labels are those of a row by their names.
func (b *block) labels(row int) map[string]string {
	labels := make(map[string]string, len(b.family.Labels))
	for i, label := range b.family.Labels {
		labels[label.Name] = b.label(row, i)
	}
	return labels
}

// copy makes b what from is.
func (b *block) copy(from *block) {
	b.layout, b.rows, b.told, b.text, b.ends = from.layout, from.rows, from.told, from.text, from.ends
	b.words = append(b.words[:0], from.words...)
}

// resize makes room for a number of rows.
func (b *block) resize(rows int) {
	words := rows * b.width
	if words > cap(b.words) {
		b.words = slices.Grow(b.words[:0], words) // the old values are replaced
	}
	b.words = b.words[:words]
	b.rows = rows
}

// fill takes the family's rows from a sample, and tells whether the instances are the same as before: then their labels are
// kept, and known to be distinct.
func (b *block) fill(sample *catalogue.Sample) bool {
	rows := b.family.Count(sample)
	if rows == 0 && b.keeps(sample.TimeUnixMillis) {
		return true
	}
	b.told = sample.TimeUnixMillis
	if !b.matches(sample, rows) {
		b.remake(sample, rows)
		return false
	}
	for row := range rows {
		b.take(row, b.family.Row(sample, row))
	}
	return true
}

// listedFor is how long the instances of an ephemeral family are held while samples have none: agents list processes in some of their
// samples only, by default every 30 seconds and at least every two minutes. It leaves room for one list that fails or is lost.
const listedFor = 5 * time.Minute

// keeps tells whether a sample of this time, which has none of the family, leaves the rows as they are.
func (b *block) keeps(unixMillis int64) bool {
	age := unixMillis - b.told
	return b.family.Ephemeral && b.rows > 0 && age >= 0 && age < listedFor.Milliseconds()
}

// matches tells whether the sample has the same instances in the same order.
func (b *block) matches(sample *catalogue.Sample, rows int) bool {
	if rows != b.rows {
		return false
	}
	for row := range rows {
		from := b.family.Row(sample, row)
		for i := range b.family.Labels {
			if from.Label(i) != b.label(row, i) {
				return false
			}
		}
	}
	return true
}

// fewRows is how many rows are looked through one by one for another with the same labels.
const fewRows = 32

// remake takes rows whose labels are others than before. Of those with the same labels it makes one, with the last one's values
// in the first one's place.
func (b *block) remake(sample *catalogue.Sample, rows int) {
	width := len(b.family.Labels)
	var room [512]byte
	text := room[:0] // of what is kept so far
	ends := make([]uint32, 0, rows*width)
	var places map[string]int
	if rows > fewRows {
		places = make(map[string]int, rows)
	}
	b.resize(rows)
	kept := 0
	for row := range rows {
		from := b.family.Row(sample, row)
		start := len(text)
		for i := range width {
			text = append(text, from.Label(i)...)
			ends = append(ends, uint32(len(text)))
		}
		place := kept
		if width > 0 {
			place = findRow(text[start:], ends, width, kept, text, places)
		}
		if place == kept {
			kept++
		} else {
			text, ends = text[:start], ends[:kept*width]
		}
		b.take(place, from)
	}
	b.resize(kept)
	b.text, b.ends = string(text), ends
}

// findRow returns the row, of those kept, that has the same labels as the newest, which stands behind them in text and ends;
// kept if there is none. places, unless nil, has the rows by their labels.
func findRow(newest []byte, ends []uint32, width, kept int, text []byte, places map[string]int) int {
	newestEnds := ends[kept*width:]
	base := uint32(len(text) - len(newest))
	if places != nil {
		key := make([]byte, 0, len(newest)+4*width)
		for _, end := range newestEnds {
			key = append(key, byte(end-base), byte((end-base)>>8), byte((end-base)>>16), byte((end-base)>>24))
		}
		key = append(key, newest...)
		place, found := places[string(key)]
		if !found {
			place = kept
			places[string(key)] = kept
		}
		return place
	}
	for row := range kept {
		start := uint32(0)
		if row > 0 {
			start = ends[row*width-1]
		}
		same := string(text[start:ends[(row+1)*width-1]]) == string(newest)
		for i := 0; same && i < width; i++ {
			same = ends[row*width+i]-start == newestEnds[i]-base
		}
		if same {
			return row
		}
	}
	return kept
}

// take copies the readings of a row: every sample of the fleet passes here, and few are looked at before the next, so nothing
// is done to them that can be done later.
func (b *block) take(row int, from catalogue.Row) {
	words := b.words[row*b.width : (row+1)*b.width]
	var present uint64
	at := 0
	for i, bits := range from.Values() {
		if i%64 == 0 {
			present = from.Present(i / 64)
		}
		if present&1 == 0 {
			bits = missing
		}
		present >>= 1
		switch b.family.Metrics[i].Type {
		case catalogue.Uint64, catalogue.Double: // of a double, ingest has taken only what is finite
			words[at], words[at+1] = uint32(bits), uint32(bits>>32)
			at += 2
			continue
		case catalogue.Float:
			if uint32(bits)&0x7f800000 == 0x7f800000 { // infinite or no number
				bits = missing
			}
		}
		words[at] = uint32(bits)
		at++
	}
}

package storage_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

var received = time.UnixMicro(1779019200000001) // a microsecond into a second

// hostSample has every metric of the host family and nothing else.
func hostSample() *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: 1779019200000}
	storagetest.Fill(sample)
	return &gohubv1.Sample{TimeUnixMillis: sample.TimeUnixMillis, Host: sample.Host}
}

func TestReadingsAreTheBitsOfTheirMetrics(t *testing.T) {
	full, empty := hostSample(), &gohubv1.Sample{TimeUnixMillis: 1779019201000, Host: &gohubv1.HostMetrics{}}
	host := catalogue.Host()
	rows := storagetest.Rows(3, received, full, empty, full)
	const absent = math.MaxUint64
	bits, read := make([]uint64, len(host.Metrics)), 0
	for at := range rows.Readings(host, bits, absent) {
		sample := []*gohubv1.Sample{full, empty, full}[read]
		read++
		require.Equal(t, sample.TimeUnixMillis, at)
		wire, err := proto.Marshal(sample)
		require.NoError(t, err)
		decoded := catalogue.Sample{}
		require.NoError(t, decoded.Decode(string(wire)))
		row := host.Row(&decoded, 0)
		for i, value := range row.Values() {
			if row.Present(i/64)>>(i%64)&1 == 0 {
				value = absent
			}
			require.Equal(t, value, bits[i], host.Metrics[i].Name)
		}
	}
	require.Equal(t, 3, read)
	for range rows.Readings(host, bits, absent) {
		read++
		break
	}
	require.Equal(t, 4, read)
}

func TestRowsAreReadBackAsTheyWereAdded(t *testing.T) {
	sample := &gohubv1.Sample{TimeUnixMillis: 1779019200000}
	want := storagetest.Fill(sample)
	sample.Sensors = append(sample.Sensors, &gohubv1.SensorMetrics{Sensor: "no reading"})
	rows := storagetest.Rows(3, received, sample, sample)
	require.Equal(t, 2*(len(catalogue.Families())+1), rows.Count())
	for _, family := range catalogue.Families() {
		read := 0
		require.NoError(t, rows.EachTuple(family, func(tuple storage.Tuple) error {
			read++
			require.Equal(t, sample.GetTimeUnixMillis(), tuple.Time().UnixMilli())
			require.Equal(t, int64(3), tuple.Number(catalogue.Uint32))
			if len(family.Labels) == 0 {
				require.Equal(t, time.UnixMilli(1779019201000), tuple.Time(), "the end of the second")
			}
			empty := false
			for _, label := range family.Labels {
				text := tuple.Text()
				empty = text == "no reading"
				require.True(t, empty || text == storagetest.LabelText(label), text)
			}
			for _, metric := range family.Metrics {
				value := tuple.Value(metric)
				if empty {
					require.Nil(t, value)
				} else {
					require.EqualValues(t, want[metric.Name], value)
				}
			}
			return nil
		}))
		require.Equal(t, map[bool]int{false: 2, true: 4}[family.Name == "sensor"], read, family.Name)
		require.True(t, rows.Has(family))
	}
}

// TestPackedOrPlainRowsAreWhatCame reads random rows back in all ways that there are.
func TestPackedOrPlainRowsAreWhatCame(t *testing.T) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	forms := map[bool]int{}
	for range 2000 {
		sample := storagetest.Mixed(random)
		require.True(t, requireSame(t, encode(t, sample)))
		rows := storagetest.Rows(3, received, sample)
		for form := range rows.Segments {
			forms[form.Packed]++
		}
		plain := rows.Unpacked()
		for form := range plain.Segments {
			require.False(t, form.Packed)
		}
		require.Equal(t, rows.Count(), plain.Count())
		again := plain.Unpacked()
		require.Equal(t, allRows(plain), allRows(again))
		flat := storagetest.Flat(sample)
		for _, family := range catalogue.Families() {
			row := family.Row(flat, 0)
			for _, some := range []storage.Rows{rows, plain} {
				require.NoError(t, some.EachTuple(family, func(tuple storage.Tuple) error {
					require.Equal(t, sample.TimeUnixMillis, tuple.Time().UnixMilli())
					tuple.Number(catalogue.Uint32)
					if len(family.Labels) == 0 {
						tuple.Time()
					}
					for range family.Labels {
						tuple.Text()
					}
					for _, metric := range family.Metrics {
						value := tuple.Value(metric)
						bits, there := row.Bits(metric)
						require.Equal(t, there, value != nil, metric.Name)
						switch value := value.(type) {
						case float64:
							if metric.Type == catalogue.Float {
								require.Equal(t, bits, uint64(math.Float32bits(float32(value))), metric.Name)
							} else {
								require.Equal(t, bits, math.Float64bits(value), metric.Name)
							}
						case int64:
							require.Equal(t, bits, uint64(value), metric.Name)
						}
					}
					return nil
				}))
			}
		}
		host, bits := catalogue.Host(), make([]uint64, len(catalogue.Host().Metrics))
		const absent = math.MaxUint64
		for _, some := range []storage.Rows{rows, plain} {
			for range some.Readings(host, bits, absent) {
				for i, metric := range host.Metrics {
					want, there := host.Row(flat, 0).Bits(metric)
					if !there {
						want = absent
					}
					require.Equal(t, want, bits[i], metric.Name)
				}
			}
		}
	}
	require.Greater(t, forms[true], 1000)
	require.Greater(t, forms[false], 1000)
}

func TestEncoderForgetsWhatItHandedOver(t *testing.T) {
	var encoder storage.RowEncoder
	encoder.Add(1, received, storagetest.Flat(hostSample()))
	first, _ := encoder.Rows()
	encoder.Add(1, received, storagetest.Flat(hostSample()))
	encoder.Begin(nil)
	second, _ := encoder.Rows()
	require.Equal(t, 1, first.Count())
	require.Zero(t, second.Count())
	require.Zero(t, second.Bytes())
	require.False(t, second.Has(catalogue.Host()))
}

func TestEncoderWritesIntoTheBufferAsLongAsThereIsRoom(t *testing.T) {
	var encoder storage.RowEncoder
	encoder.Add(1, received, storagetest.Flat(hostSample()))
	want, _ := encoder.Rows()
	for _, room := range []int{0, 100, want.Bytes(), 4 * want.Bytes()} {
		buffer := make([]byte, room)
		encoder.Begin(buffer)
		encoder.Add(1, received, storagetest.Flat(hostSample()))
		encoder.Add(1, received, storagetest.Flat(hostSample()))
		got, array := encoder.Rows()
		require.Equal(t, 2*want.Bytes(), got.Bytes())
		for form, tuples := range got.Segments { // the two rows are one segment
			require.Zero(t, form.Place)
			require.Equal(t, slices.Concat(allRows(want), allRows(want)), slices.Concat(tuples[:want.Bytes()], tuples[want.Bytes():]))
		}
		require.Equal(t, room == 4*want.Bytes(), room > 0 && &array[0] == &buffer[0])
	}
}

func TestEncoderAllocatesNothingWhereThereIsRoom(t *testing.T) {
	var encoder storage.RowEncoder
	sample, buffer := storagetest.Flat(hostSample()), make([]byte, 0, 64<<10)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		encoder.Begin(buffer)
		encoder.Add(1, received, sample)
		rows, _ := encoder.Rows()
		require.Equal(t, 1, rows.Count())
	}))
}

func BenchmarkEncode(b *testing.B) {
	var encoder storage.RowEncoder
	sample, buffer := storagetest.Flat(hostSample()), make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		encoder.Begin(buffer)
		encoder.Add(1, received, sample)
	}
}

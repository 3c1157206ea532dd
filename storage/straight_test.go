package storage_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func encode(tb testing.TB, sample *gohubv1.Sample) string {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(sample)
	require.NoError(tb, err)
	return string(wire)
}

// allRows is everything that Rows has.
func allRows(rows storage.Rows) []byte {
	var all []byte
	for _, tuples := range rows.Segments {
		all = append(all, tuples...)
	}
	return all
}

// requireSame holds AddEncoded against Decode and Add: what it takes must become the same rows, and must be fit to be stored.
func requireSame(t *testing.T, wire string) (taken bool) {
	var straight, around storage.RowEncoder
	straight.Begin(make([]byte, len(wire)%5000)) // room for some rows, or none
	before := hostSample()
	straight.Add(1, received, storagetest.Flat(before))
	n, ok := straight.AddEncoded(2, received, wire, 0, math.MaxInt64)
	around.Add(1, received, storagetest.Flat(before))
	if ok {
		var sample catalogue.Sample
		require.NoError(t, sample.Decode(wire))
		require.Empty(t, sample.Unfit())
		require.Zero(t, sample.Omitted())
		require.Equal(t, sample.Rows(), n)
		require.NotZero(t, catalogue.Host().Count(&sample))
		around.Add(2, received, &sample)
	}
	want, _ := around.Rows()
	got, _ := straight.Rows()
	require.Equal(t, want, got)
	return ok
}

func TestAddEncodedTakesWhatAgentsSend(t *testing.T) {
	full := &gohubv1.Sample{TimeUnixMillis: 1779019200000}
	storagetest.Fill(full)
	full.Sensors = append(full.Sensors, &gohubv1.SensorMetrics{Sensor: "no reading"}, &gohubv1.SensorMetrics{})
	full.Networks = append(full.Networks, &gohubv1.NetworkMetrics{Interface: "Ünïcode", TransmitBytesTotal: proto.Uint64(math.MaxInt64)})
	require.True(t, requireSame(t, encode(t, full)))
	full.Customs = append(full.Customs, &gohubv1.CustomMetrics{Name: "a:b", Value: proto.Float64(math.Copysign(0, -1))}, &gohubv1.CustomMetrics{Name: "c"})
	require.True(t, requireSame(t, encode(t, full)))
	require.True(t, requireSame(t, encode(t, &gohubv1.Sample{TimeUnixMillis: 1, Host: &gohubv1.HostMetrics{}})))
	require.True(t, requireSame(t, encode(t, &gohubv1.Sample{TimeUnixMillis: 1, Host: &gohubv1.HostMetrics{
		Load1: proto.Float32(-1e30), Processes: proto.Uint32(math.MaxInt32), UptimeSeconds: proto.Uint64(0),
	}})))
}

func TestAddEncodedLeavesTheRestAlone(t *testing.T) {
	good := func(change func(*gohubv1.Sample)) string {
		sample := hostSample()
		change(sample)
		return encode(t, sample)
	}
	whole := good(func(*gohubv1.Sample) {})
	for name, wire := range map[string]string{
		"nothing":         "",
		"cut":             whole[:len(whole)-1],
		"no time":         good(func(s *gohubv1.Sample) { s.TimeUnixMillis = 0 }),
		"no host":         good(func(s *gohubv1.Sample) { s.Host = nil }),
		"twice the host":  whole + whole[7:],
		"unknown field":   whole + "\xf8\x07\x01",
		"time at the end": whole + "\x08\x01",
		"infinite":        good(func(s *gohubv1.Sample) { s.Host.Load1 = proto.Float32(float32(math.Inf(1))) }),
		"not a number":    good(func(s *gohubv1.Sample) { s.Host.TemperatureHighestCelsius = proto.Float32(float32(math.NaN())) }),
		"large count":     good(func(s *gohubv1.Sample) { s.Host.Processes = proto.Uint32(math.MaxInt32 + 1) }),
		"larger count":    good(func(s *gohubv1.Sample) { s.Host.UptimeSeconds = proto.Uint64(math.MaxInt64 + 1) }),
		"NUL":             good(func(s *gohubv1.Sample) { s.Cores = []*gohubv1.CoreMetrics{{Core: "a\x00b"}} }),
		"long label":      good(func(s *gohubv1.Sample) { s.Cores = []*gohubv1.CoreMetrics{{Core: strings.Repeat("x", 2000)}} }),
		"no text":         good(func(s *gohubv1.Sample) { s.Cores = []*gohubv1.CoreMetrics{{Core: "12"}} })[:len(whole)] + "\x1a\x03\x0a\x01\xff",
		"custom NaN": good(func(s *gohubv1.Sample) {
			s.Customs = []*gohubv1.CustomMetrics{{Name: "up", Value: proto.Float64(math.NaN())}}
		}),
		"custom huge": good(func(s *gohubv1.Sample) {
			s.Customs = []*gohubv1.CustomMetrics{{Name: "up", Value: proto.Float64(1e200)}}
		}),
		"custom no name":   good(func(s *gohubv1.Sample) { s.Customs = []*gohubv1.CustomMetrics{{Value: proto.Float64(1)}} }),
		"custom name":      good(func(s *gohubv1.Sample) { s.Customs = []*gohubv1.CustomMetrics{{Name: "u p"}} }),
		"custom labels":    good(func(s *gohubv1.Sample) { s.Customs = []*gohubv1.CustomMetrics{{Name: "up", Labels: "{}"}} }),
		"custom cut":       good(func(s *gohubv1.Sample) { s.Customs = []*gohubv1.CustomMetrics{{Name: "up"}} }) + "\x4a\x08\x0a\x01a\x51\x01\x01\x01\x01",
		"many instances":   good(func(s *gohubv1.Sample) { s.Cores = slices.Repeat([]*gohubv1.CoreMetrics{{Core: "1"}}, 5000) }),
		"fields backwards": "\x08\x01\x12\x0a\x15\x00\x00\x00\x00\x0d\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) { require.False(t, requireSame(t, wire)) })
	}
	var encoder storage.RowEncoder
	for _, bounds := range [][2]int64{{0, 1779019199999}, {1779019200001, math.MaxInt64}} {
		_, ok := encoder.AddEncoded(1, received, whole, bounds[0], bounds[1])
		require.False(t, ok)
	}
	rows, _ := encoder.Rows()
	require.Zero(t, rows.Count())
}

func FuzzAddEncoded(f *testing.F) {
	full := &gohubv1.Sample{TimeUnixMillis: 1779019200000}
	storagetest.Fill(full)
	f.Add(encode(f, full))
	f.Add(encode(f, hostSample()))
	f.Add("\x08\x01\x12\x00")
	f.Fuzz(func(t *testing.T, wire string) { requireSame(t, wire) })
}

func TestAddEncodedAllocatesNothingOnceItHasRoom(t *testing.T) {
	var encoder storage.RowEncoder
	wire, buffer := encode(t, hostSample()), make([]byte, 1<<10)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		encoder.Begin(buffer)
		_, ok := encoder.AddEncoded(1, received, wire, 0, math.MaxInt64)
		require.True(t, ok)
	}))
}

// BenchmarkAddEncoded is beside BenchmarkDecodeAndAdd, the way around.
func BenchmarkAddEncoded(b *testing.B) {
	var encoder storage.RowEncoder
	wire := encode(b, hostSample())
	b.SetBytes(int64(len(wire)))
	buffer := make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		encoder.Begin(buffer)
		if _, ok := encoder.AddEncoded(1, received, wire, 0, math.MaxInt64); !ok {
			b.Fatal("not taken")
		}
	}
}

func BenchmarkDecodeAndAdd(b *testing.B) {
	var encoder storage.RowEncoder
	var sample catalogue.Sample
	wire := encode(b, hostSample())
	b.SetBytes(int64(len(wire)))
	buffer := make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		encoder.Begin(buffer)
		if err := sample.Decode(wire); err != nil {
			b.Fatal(err)
		}
		encoder.Add(1, received, &sample)
	}
}

// BenchmarkCopy is the time to copy the finished tuple, for scale.
func BenchmarkCopy(b *testing.B) {
	var encoder storage.RowEncoder
	encoder.Add(1, received, storagetest.Flat(hostSample()))
	rows, _ := encoder.Rows()
	tuples := allRows(rows)
	b.SetBytes(int64(len(tuples)))
	dst := make([]byte, len(tuples))
	for b.Loop() {
		copy(dst, tuples)
	}
}

package catalogue_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
)

func TestPackingIsExactOrNotAtAll(t *testing.T) {
	single := func(v float64) uint64 { return uint64(math.Float32bits(float32(v))) }
	for _, c := range []struct {
		packing catalogue.Packing
		bits    uint64
		whole   int32
		ok      bool
	}{
		{catalogue.Parts16, single(0), 0, true},
		{catalogue.Parts16, single(99.9375), 1599, true},
		{catalogue.Parts16, single(-0.0625), -1, true},
		{catalogue.Parts16, single(1 << 26), 1 << 30, true},
		{catalogue.Parts16, single(-1 << 27), math.MinInt32, true},
		{catalogue.Parts16, single(1 << 27), 0, false},
		{catalogue.Parts16, single(-math.MaxFloat32), 0, false},
		{catalogue.Parts16, single(0.1), 0, false},
		{catalogue.Parts16, single(0.03125), 0, false},
		{catalogue.Parts16, single(math.Copysign(0, -1)), 0, false},
		{catalogue.Parts16, single(math.SmallestNonzeroFloat32), 0, false},
		{catalogue.Parts16, single(math.Inf(1)), 0, false},
		{catalogue.Parts16, single(math.NaN()), 0, false},
		{catalogue.Parts128, single(0.03125), 4, true},
		{catalogue.Parts128, single(0.01), 0, false},
		{catalogue.MiB, 0, 0, true},
		{catalogue.MiB, 17 << 20, 17, true},
		{catalogue.MiB, 17<<20 + 1<<10, -(17<<10 + 1), true},
		{catalogue.MiB, 1 << 10, -1, true},
		{catalogue.MiB, 1, 0, false},
		{catalogue.MiB, math.MaxInt32 << 20, math.MaxInt32, true},
		{catalogue.MiB, 1 << 51, 0, false},
		{catalogue.MiB, math.MaxInt32 << 10, -math.MaxInt32, true},
		{catalogue.MiB, 1<<41 + 1<<10, 0, false},
		{catalogue.MiB, math.MaxInt64, 0, false},
	} {
		whole, ok := c.packing.Pack(c.bits)
		require.Equal(t, c.ok, ok, "%v %x", c.packing, c.bits)
		if ok {
			require.Equal(t, c.whole, whole, "%v %x", c.packing, c.bits)
			require.Equal(t, c.bits, c.packing.Unpack(whole))
		}
	}
}

func TestWhatIsPackedIsUnpackedBitForBit(t *testing.T) {
	packed := 0
	for range 1_000_000 {
		packing := []catalogue.Packing{catalogue.Parts16, catalogue.Parts128, catalogue.MiB}[rand.IntN(3)]
		bits := uint64(rand.Uint32())
		switch {
		case packing == catalogue.MiB:
			bits = rand.Uint64() >> rand.IntN(64) << rand.IntN(24)
		case rand.IntN(2) == 0:
			bits = uint64(math.Float32bits(float32(rand.Int32N(1<<25)-1<<24) / 16))
		}
		if whole, ok := packing.Pack(bits); ok {
			packed++
			require.Equal(t, bits, packing.Unpack(whole), "%v %x", packing, bits)
		}
	}
	require.Greater(t, packed, 100_000)
}

func TestFamiliesThatPackHaveBothColumns(t *testing.T) {
	host := catalogue.Host()
	require.True(t, host.Packs())
	require.Equal(t, "host_samples_packed", host.StoredTable())
	require.Len(t, host.PackedColumns(), len(host.Columns()))
	load, _ := catalogue.MetricByName("load1")
	require.Equal(t, "load1_x128", load.PackedColumn())
	total, _ := catalogue.MetricByName("memory_total_bytes")
	require.Equal(t, "memory_total_bytes", total.PackedColumn())
	require.False(t, catalogue.Custom().Packs())
	require.Equal(t, "custom_samples", catalogue.Custom().StoredTable())
	require.Equal(t, catalogue.Custom().Columns(), catalogue.Custom().PackedColumns())
}

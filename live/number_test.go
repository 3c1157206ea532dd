package live

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
)

func TestNumbersAsText(t *testing.T) {
	for _, test := range []struct {
		value float32
		shift int
		want  string
	}{
		{0, 0, "0"},
		{float32(math.Copysign(0, -1)), -2, "0"},
		{12.3, 0, "12.3"},
		{12.3, -2, "0.123"},
		{-12.3, -2, "-0.123"},
		{100, -2, "1"},
		{1, -2, "0.01"},
		{99.99999, -2, "0.9999999"},
		{0.001, -2, "0.00001"},
		{0.0001, -2, "1e-6"},
		{1234567, 0, "1234567"},
		{98765432, 0, "98765430"},
		{1.5e9, 0, "1500000000"},
		{123456.7, 0, "123456.7"},
		{9.999999e14, 0, "999999900000000"},
		{1e15, 0, "1e15"},
		{3.4028235e38, 0, "3.402823e38"},
		{-1.1754944e-38, -2, "-1.175494e-40"},
	} {
		var text numberText
		text.setFloat(test.value, test.shift)
		require.Equal(t, test.want, text.String(), "%v", test.value)
	}
	var text numberText
	text.setCount(math.MaxUint64)
	require.Equal(t, "18446744073709551615", text.String())
	text.setMillis(1773500960250)
	require.Equal(t, "1773500960.25", text.String())
}

// FuzzNumbersAsText holds the text against what the API shows.
func FuzzNumbersAsText(f *testing.F) {
	for _, value := range []float32{0, 1, 12.3, 1e-30, 98765432, 3.4028235e38, -0.000099999995} {
		f.Add(math.Float32bits(value), true)
		f.Add(math.Float32bits(value), false)
	}
	f.Fuzz(func(t *testing.T, bits uint32, percent bool) {
		value := math.Float32frombits(bits)
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			return
		}
		shift, scale := 0, 1.0
		if percent {
			shift, scale = -2, 0.01
		}
		var text numberText
		text.setFloat(value, shift)
		got, err := strconv.ParseFloat(text.String(), 64)
		require.NoError(t, err, text.String())
		want := catalogue.Round(float64(value)) * scale
		require.InDelta(t, want, got, math.Abs(want)*1e-6, "%v is %s", value, text.String())
	})
}

func BenchmarkNumberText(b *testing.B) {
	var text numberText
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		text.setFloat(float32(i%10000)*0.0123, -2)
	}
}

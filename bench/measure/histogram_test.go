package measure

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHistogramAgreesWithQuantile holds the buckets against all values, over seven decades.
func TestHistogramAgreesWithQuantile(t *testing.T) {
	var h Histogram
	require.True(t, math.IsNaN(h.Millis(0.5)))
	random := rand.New(rand.NewPCG(1, 2))
	var millis []float64
	for range 10_000 {
		d := time.Duration(random.ExpFloat64()*float64(time.Second)) >> random.IntN(20)
		h.Add(d)
		millis = append(millis, float64(d.Microseconds())/1000)
	}
	require.EqualValues(t, 10_000, h.Count())
	for _, q := range []float64{0.5, 0.9, 0.99, 1} {
		require.InEpsilon(t, Quantile(millis, q), h.Millis(q), 0.04, "quantile %v", q)
	}
	h.Reset()
	h.Add(-time.Second)
	require.Zero(t, h.Millis(1))
	h.Add(1 << 62)
	require.Greater(t, h.Millis(1), 1e9)
}

// TestHistogramBucketsAreInOrder: no value is above its bucket's edge, none is in a later bucket than a larger one.
func TestHistogramBucketsAreInOrder(t *testing.T) {
	last := 0
	for micros := int64(0); micros < 1<<13; micros++ {
		bucket := bucketOf(micros)
		require.GreaterOrEqual(t, bucket, last)
		require.LessOrEqual(t, bucket, last+1)
		require.LessOrEqual(t, micros, edgeOf(bucket))
		last = bucket
	}
}

package storagetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// sampleAt has cpu, memory and traffic by its number, and leaves some of it out. Of some, all values are whole numbers as databases
// pack them, of others none or a part.
func sampleAt(at time.Time, n int) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{}}
	if n%5 != 0 {
		sample.Host.CpuUsagePercent = proto.Float32(float32(n%97) + []float32{0.25, 0.3}[n/5%2])
	}
	if n%3 != 0 {
		sample.Host.MemoryUsedBytes = proto.Uint64(uint64(n)<<33 + []uint64{0, 3 << 10, 0, 1}[n/3%4])
	}
	sample.Host.Processes = proto.Uint32(uint32(n % 1000))
	for i := range n % 3 {
		sample.Networks = append(sample.Networks, &gohubv1.NetworkMetrics{
			Interface: fmt.Sprintf("eth%d", i), ReceiveBytesTotal: proto.Uint64(uint64(n) * 1e9), ReceiveErrorsPerSecond: proto.Float32(float32(n % 7)),
		})
	}
	return sample
}

// rolledUp are the metrics that sampleAt has.
var rolledUp = []string{"cpu_usage_percent", "memory_used_bytes", "processes", "network_receive_bytes_total", "network_receive_errors_per_second"}

// reading is what a sample says of a metric of one instance, and whether it says something.
func reading(sample *gohubv1.Sample, metric *catalogue.Metric, instance string) (value float64, ok bool) {
	flat := Flat(sample)
	metric.Family.Rows(flat, func(row catalogue.Row) bool {
		if len(metric.Family.Labels) > 0 && row.Label(0) != instance {
			return true
		}
		value, ok = row.Float(metric)
		return false
	})
	return value, ok
}

// bucket is what a rollup should say.
type bucket struct{ avg, min, max, count, last float64 }

// expect is the bucket of a metric's instance, from the samples.
func (h *rollupHost) expect(metric *catalogue.Metric, instance string, from, to int64) bucket {
	nan := math.NaN()
	b := bucket{avg: nan, min: nan, max: nan, last: nan}
	var sum float64
	newest := int64(math.MinInt64)
	for at, sample := range h.samples {
		value, ok := float64(0), false
		if at >= from && at < to {
			value, ok = reading(sample, metric, instance)
		}
		if !ok {
			continue
		}
		if b.count == 0 {
			b.min, b.max = value, value
		}
		b.min, b.max = min(b.min, value), max(b.max, value)
		sum += value
		b.count++
		if at > newest {
			newest, b.last = at, value
		}
	}
	if b.count > 0 {
		b.avg = sum / b.count
	}
	return b
}

// check holds every rollup of a host against its samples, as far as it is rolled up and from since on, and returns how many
// buckets there are.
func (r *rollups) check(t *testing.T, h *rollupHost, since time.Time) (buckets int) {
	t.Helper()
	coverage, err := r.store.Coverage(t.Context())
	require.NoError(t, err)
	require.Len(t, coverage, len(storage.Resolutions))
	for _, resolution := range storage.Resolutions[1:] {
		from, until := storage.Ceil(resolution, since), coverage[resolution].Until
		step := resolution.Step().Milliseconds()
		for _, name := range rolledUp {
			metric, _ := catalogue.MetricByName(name)
			instances := []string{""}
			if len(metric.Family.Labels) > 0 {
				instances = []string{"eth0", "eth1"}
			}
			for _, instance := range instances {
				where := ""
				if instance != "" {
					where = " AND interface = '" + instance + "'"
				}
				got := map[int64]bucket{}
				columns := ""
				for _, of := range []storage.Rollup{storage.Avg, storage.Min, storage.Max, storage.Count, storage.Last} {
					columns += ", " + of.Column(metric)
				}
				for _, row := range r.Select(t, "SELECT "+r.Millis("time")+columns+" FROM "+resolution.Relation(metric.Family)+
					" WHERE host_id = "+fmt.Sprint(h.ID)+where) {
					at := int64(row[0])
					_, twice := got[at]
					require.False(t, twice, "%s at %s has %s twice", name, resolution, time.UnixMilli(at).UTC())
					got[at] = bucket{row[1], row[2], row[3], row[4], row[5]}
					require.Zero(t, at%step)
					if at >= until.UnixMilli() {
						require.True(t, r.Ahead, "%s at %s has a bucket at %s, and is rolled up to %s", name, resolution, time.UnixMilli(at).UTC(), until)
						delete(got, at)
					}
				}
				want := map[int64]bool{}
				for at, sample := range h.samples {
					if at = at - at%step; at >= from.UnixMilli() && at < until.UnixMilli() {
						if instance == "" || len(sample.GetNetworks()) > 0 && instance == "eth0" || len(sample.GetNetworks()) > 1 {
							want[at] = true
						}
					}
				}
				for at := range want {
					expected := h.expect(metric, instance, at, at+step)
					requireBucket(t, expected, got[at], fmt.Sprintf("%s of %q at %s, %s", name, instance, resolution, time.UnixMilli(at).UTC()))
					buckets++
				}
				for at := range got {
					require.True(t, want[at] || at < from.UnixMilli(), "%s at %s has a bucket of nothing, %s", name, resolution, time.UnixMilli(at).UTC())
				}
			}
		}
	}
	return buckets
}

func requireBucket(t *testing.T, want, got bucket, what string) {
	t.Helper()
	same := func(a, b float64) bool {
		return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), 1)
	}
	if !same(want.avg, got.avg) || want.count != got.count || !same(want.min, got.min) || !same(want.max, got.max) || !same(want.last, got.last) {
		t.Fatalf("%s: %+v is wanted, %+v is there", what, want, got)
	}
}

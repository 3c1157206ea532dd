package storagetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func rangeBuckets(t *testing.T, s storage.Store) {
	host := register(t, s)
	var batches []*storage.Batch
	for seq := uint64(1); seq < 120; seq++ { // seconds 1 … 119: two minutes
		batches = append(batches, batch(host.ID, seq-1, seq, float32(seq)))
	}
	appendAll(t, s, batches...)
	series, err := s.Range(t.Context(), queryCPU(t, host.ID, time.Minute))
	require.NoError(t, err)
	require.Len(t, series, 1)
	require.Equal(t, []time.Time{base, base.Add(time.Minute)}, series[0].Times)
	require.Equal(t, []float64{30, 89.5}, series[0].Avg)
	require.Equal(t, []float64{1, 60}, series[0].Min)
	require.Equal(t, []float64{59, 119}, series[0].Max)
}

func rangeBorders(t *testing.T, s storage.Store) {
	one, two := register(t, s), register(t, s)
	appendAll(t, s, batch(one.ID, 0, 10, 1), batch(one.ID, 10, 20, 2), batch(one.ID, 20, 30, 3), batch(two.ID, 0, 15, 99))
	query := queryCPU(t, one.ID, time.Second)
	query.From, query.To = base.Add(10*time.Second), base.Add(30*time.Second)
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 2}, series[0].Avg)
}

func rangeInstances(t *testing.T, s storage.Store) {
	host := register(t, s)
	var batches []*storage.Batch
	for seq := uint64(1); seq <= 3; seq++ {
		batches = append(batches, batch(host.ID, seq-1, seq, 1, func(sample *gohubv1.Sample) {
			for i, mount := range []string{"/", "/home"} {
				sample.Filesystems = append(sample.Filesystems, &gohubv1.FilesystemMetrics{
					Mountpoint: mount, Device: "/dev/sda1", Fstype: "ext4", UsedPercent: proto.Float32(float32(10*i) + float32(seq)),
				})
			}
		}))
	}
	appendAll(t, s, batches...)
	query := queryCPU(t, host.ID, time.Second)
	query.Metrics = []*catalogue.Metric{metric(t, "filesystem_used_percent"), metric(t, "cpu_usage_percent")}
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, series, 3)
	require.Equal(t, []string{"/", "/dev/sda1", "ext4"}, series[0].Labels)
	require.Equal(t, []float64{1, 2, 3}, series[0].Avg)
	require.Equal(t, []string{"/home", "/dev/sda1", "ext4"}, series[1].Labels)
	require.Equal(t, []float64{11, 12, 13}, series[1].Avg)
	require.Equal(t, "cpu_usage_percent", series[2].Metric.Name)
}

func rangeLimit(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 1), batch(host.ID, 1, 2, 1), batch(host.ID, 2, 3, 1))
	query := queryCPU(t, host.ID, time.Second)
	query.MaxRows = 2
	_, err := s.Range(t.Context(), query)
	require.ErrorIs(t, err, storage.ErrTooManyRows)
	query.MaxRows = 3
	_, err = s.Range(t.Context(), query)
	require.NoError(t, err)
}

func rangeEmpty(t *testing.T, s storage.Store) {
	series, err := s.Range(t.Context(), queryCPU(t, 12345, time.Minute))
	require.NoError(t, err)
	require.Empty(t, series)
}

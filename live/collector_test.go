package live

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// collect runs the collector once and returns the number of metrics.
func collect(c prometheus.Collector) int {
	metrics := make(chan prometheus.Metric, 1024)
	go func() {
		c.Collect(metrics)
		close(metrics)
	}()
	n := 0
	for range metrics {
		n++
	}
	return n
}

func TestCollectorIsLintCleanForEveryFamily(t *testing.T) {
	s, c := goldenState()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(NewCollector(s)))
	steal := fullSample(epoch.Add(time.Second))
	steal.Host.CpuStealPercent = proto.Float32(0)
	s.Observe(1, flat(steal), c.time)

	gathered, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	names := map[string]bool{}
	for _, family := range gathered {
		names[family.GetName()] = true
	}
	for _, family := range catalogue.Families() {
		for _, metric := range family.Metrics {
			if family.Ephemeral {
				require.False(t, names["gohub_"+metric.Name])
			} else {
				require.True(t, names[metric.PrometheusName], metric.PrometheusName)
			}
		}
	}
}

func TestCollectorOutput(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "twin"))
	s.SetHost(testHost(2, "twin"))
	s.SetHost(testHost(3, "lost\xff"))
	s.SetHost(testHost(4, "restored"))
	s.Observe(3, flat(fullSample(epoch)), c.time)
	c.time = c.time.Add(time.Minute - time.Second)
	s.Restore([]storage.Latest{{Host: 4, Time: epoch, Values: []float64{1}}})
	for id, busy := range []float32{1: 25, 2: 50} {
		if id == 0 {
			continue
		}
		s.Observe(storage.HostID(id), flat(&gohubv1.Sample{
			TimeUnixMillis: epoch.UnixMilli() + 250,
			Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(12.3)},
			Disks: []*gohubv1.DiskMetrics{
				{Device: "sda", BusyPercent: proto.Float32(1)},
				{Device: "sda", BusyPercent: proto.Float32(busy), ReadBytesTotal: proto.Uint64(1 << 40)},
			},
			Processes: []*gohubv1.ProcessMetrics{{Pid: "1", CpuPercent: proto.Float32(1)}},
		}), c.time)
	}
	want := `
# HELP gohub_cpu_usage_ratio Share of all CPU time that was not idle and not waiting for I/O.
# TYPE gohub_cpu_usage_ratio gauge
gohub_cpu_usage_ratio{host="twin",host_id="1"} 0.12300000000000001
gohub_cpu_usage_ratio{host="twin",host_id="2"} 0.12300000000000001
# HELP gohub_disk_busy_ratio Share of time in which the device had a request outstanding.
# TYPE gohub_disk_busy_ratio gauge
gohub_disk_busy_ratio{device="sda",host="twin",host_id="1"} 0.25
gohub_disk_busy_ratio{device="sda",host="twin",host_id="2"} 0.5
# HELP gohub_disk_read_bytes_total Bytes read from the device since it was started.
# TYPE gohub_disk_read_bytes_total counter
gohub_disk_read_bytes_total{device="sda",host="twin",host_id="1"} 1.099511627776e+12
gohub_disk_read_bytes_total{device="sda",host="twin",host_id="2"} 1.099511627776e+12
# HELP gohub_host_last_sample_timestamp_seconds When the host took its newest sample, by its own clock.
# TYPE gohub_host_last_sample_timestamp_seconds gauge
gohub_host_last_sample_timestamp_seconds{host="lost�",host_id="3"} 1.77350096e+09
gohub_host_last_sample_timestamp_seconds{host="restored",host_id="4"} 1.77350096e+09
gohub_host_last_sample_timestamp_seconds{host="twin",host_id="1"} 1.77350096025e+09
gohub_host_last_sample_timestamp_seconds{host="twin",host_id="2"} 1.77350096025e+09
# HELP gohub_host_up Whether the host's samples arrive (1) or not (0). Absent while the server has just started and can not tell.
# TYPE gohub_host_up gauge
gohub_host_up{host="lost�",host_id="3"} 0
gohub_host_up{host="twin",host_id="1"} 1
gohub_host_up{host="twin",host_id="2"} 1
`
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(NewCollector(s)))
	gathered, err := registry.Gather()
	require.NoError(t, err)
	got := bytes.NewBufferString("\n")
	for _, family := range gathered {
		_, err := expfmt.MetricFamilyToText(got, family)
		require.NoError(t, err)
	}
	require.Equal(t, want, got.String())
}

// A scraper that does not read must not hold ingest up.
func TestCollectHoldsNoLockWhileItSends(t *testing.T) {
	s, c := newTestState()
	s.Observe(1, flat(fullSample(epoch)), c.time)
	metrics := make(chan prometheus.Metric)
	done := make(chan struct{})
	go func() {
		defer close(done)
		NewCollector(s).Collect(metrics)
	}()
	<-metrics // it is sending the others now
	s.Observe(1, flat(fullSample(epoch.Add(time.Second))), c.time)
	go func() {
		<-done
		close(metrics)
	}()
	for range metrics {
	}
}

func TestHubMetricsAreLintClean(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s, _ := newTestState()
	NewHub(s, HubOptions{Registerer: registry})
	gathered, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	var names strings.Builder
	for _, family := range gathered {
		names.WriteString(family.GetName() + " ")
	}
	require.Equal(t, "gohub_live_bytes_total gohub_live_closed_total gohub_live_conflated_total "+
		"gohub_live_messages_total gohub_live_viewers ", names.String())
}

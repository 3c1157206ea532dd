package live

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func TestCustomSeriesAreExposedByTheirOwnNames(t *testing.T) {
	s, c := newTestState()
	for id := storage.HostID(1); id <= 2; id++ {
		s.SetHost(testHost(id, "web-"+string('0'+rune(id))))
		sample := hostSample(c.time, 1)
		sample.Customs = []*gohubv1.CustomMetrics{
			{Name: "queue_length", Labels: `{exported_host="x",host="mine",queue="a\"b"}`, Value: proto.Float64(3)},
			{Name: "queue_length", Value: proto.Float64(1e100)},
			{Name: "gohub_cpu_usage_ratio", Value: proto.Float64(1)},
			{Name: "gohub_other", Value: proto.Float64(1)},
			{Name: "gohub_textfile_error", Labels: `{file="a.prom"}`, Value: proto.Float64(0)},
			{Name: "ours_count", Value: proto.Float64(1)},
			{Name: "app_count", Value: proto.Float64(7)},
			{Name: "without_reading"},
		}
		s.Observe(id, flat(sample), c.time)
	}
	e := NewExposition(s, ExpositionOptions{})
	own := prometheus.NewRegistry()
	own.MustRegister(prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ours", Help: "A histogram of the server."}))
	_, names, err := encodeOwn(own, negotiateFormat(nil))
	require.NoError(t, err)
	var text strings.Builder
	require.NoError(t, e.write(&text, false, names))
	_, customs, found := strings.Cut(text.String(), "# HELP app_count As programs on the hosts tell it.\n# TYPE app_count untyped\n")
	require.True(t, found, text.String())
	require.Equal(t, `app_count{host="web-1",host_id="1"} 7
app_count{host="web-2",host_id="2"} 7
# HELP gohub_textfile_error As programs on the hosts tell it.
# TYPE gohub_textfile_error untyped
gohub_textfile_error{host="web-1",host_id="1",file="a.prom"} 0
gohub_textfile_error{host="web-2",host_id="2",file="a.prom"} 0
# HELP queue_length As programs on the hosts tell it.
# TYPE queue_length untyped
queue_length{host="web-1",host_id="1",exported_host="x",exported_exported_host="mine",queue="a\"b"} 3
queue_length{host="web-1",host_id="1"} 1e+100
queue_length{host="web-2",host_id="2",exported_host="x",exported_exported_host="mine",queue="a\"b"} 3
queue_length{host="web-2",host_id="2"} 1e+100
`, customs)
	require.Len(t, parseExposition(t, []byte(text.String()))["queue_length"].GetMetric(), 4)

	c.time = c.time.Add(2 * missedIntervals * defaultInterval)
	text.Reset()
	require.NoError(t, e.write(&text, false, names))
	require.NotContains(t, text.String(), "queue_length", "hosts that are down tell nothing")
}

func TestCustomSeriesOfOneScrapeAreBounded(t *testing.T) {
	s, c := newTestState()
	sample := hostSample(c.time, 1)
	for i := range 4096 {
		sample.Customs = append(sample.Customs, &gohubv1.CustomMetrics{Name: "many", Labels: `{n="` + strings.Repeat("x", 1+i%900) + string('a'+rune(i/900)) + `"}`, Value: proto.Float64(1)})
	}
	const hosts = 30
	for id := range storage.HostID(hosts) {
		s.SetHost(testHost(id+1, "h"))
		s.Observe(id+1, flat(sample), c.time)
	}
	e := NewExposition(s, ExpositionOptions{})
	parsed := parseExposition(t, scrape(t, e, false))
	require.Len(t, parsed["many"].GetMetric(), maxCustomSeries)
	require.Equal(t, float64(hosts*4096-maxCustomSeries), parsed["gohub_hosts_custom_series_left_out"].GetMetric()[0].GetGauge().GetValue())
}

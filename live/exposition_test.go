package live

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func scrape(tb testing.TB, e *Exposition, openMetrics bool) []byte {
	tb.Helper()
	var text bytes.Buffer
	require.NoError(tb, e.write(&text, openMetrics, nil))
	return text.Bytes()
}

// expositionState has two hosts of one name, one that is lost, one that was restored, and one that is not known by name.
func expositionState() (*State, *clock) {
	s, c := newTestState()
	s.SetHost(testHost(1, "twin"))
	s.SetHost(testHost(2, "twin"))
	s.SetHost(testHost(3, "lost\xff"))
	s.SetHost(testHost(4, "restored"))
	s.Observe(3, flat(fullSample(epoch)), c.time)
	c.time = c.time.Add(time.Minute - time.Second)
	s.Restore([]storage.Latest{{Host: 4, Time: epoch, Values: []float64{1}}})
	for id, busy := range map[storage.HostID]float32{1: 25, 2: 50} {
		s.Observe(id, flat(&gohubv1.Sample{
			TimeUnixMillis: epoch.UnixMilli() + 250,
			Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(12.3)},
			Disks: []*gohubv1.DiskMetrics{
				{Device: "sda", BusyPercent: proto.Float32(1)},
				{Device: "sda", BusyPercent: proto.Float32(busy), ReadBytesTotal: proto.Uint64(1 << 40)},
			},
			Processes: []*gohubv1.ProcessMetrics{{Pid: "1", CpuPercent: proto.Float32(1)}},
		}), c.time)
	}
	s.Observe(7, flat(fullSample(c.time)), c.time)
	return s, c
}

func TestExpositionOutput(t *testing.T) {
	s, _ := expositionState()
	e := NewExposition(s, ExpositionOptions{})
	golden(t, "exposition.txt", bytes.TrimSuffix(scrape(t, e, false), []byte("\n")))
	golden(t, "exposition.openmetrics.txt", bytes.TrimSuffix(scrape(t, e, true), []byte("\n")))
	e = NewExposition(s, ExpositionOptions{NodeExporter: true})
	golden(t, "exposition.node_exporter.txt", bytes.TrimSuffix(scrape(t, e, false), []byte("\n")))
}

func parseExposition(tb testing.TB, text []byte) map[string]*dto.MetricFamily {
	tb.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(tb, err)
	return parsed
}

func TestExpositionIsLintCleanForEveryFamily(t *testing.T) {
	s, c := goldenState()
	e := NewExposition(s, ExpositionOptions{})
	steal := fullSample(epoch.Add(time.Second))
	steal.Host.CpuStealPercent = proto.Float32(0)
	s.Observe(1, flat(steal), c.time)

	problems, err := promlint.New(bytes.NewReader(scrape(t, e, false))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	parsed := parseExposition(t, scrape(t, e, false))
	for _, family := range catalogue.Families() {
		for _, metric := range family.Metrics {
			if family.Ephemeral || family == catalogue.Custom() {
				require.NotContains(t, parsed, "gohub_"+metric.Name)
			} else {
				require.Contains(t, parsed, metric.PrometheusName)
				require.Contains(t, e.Names(), metric.PrometheusName)
			}
		}
	}
}

// flatten makes of families a text a series, and its value.
func flatten(families []*dto.MetricFamily) map[string]float64 {
	series := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
			}
			sort.Strings(labels)
			key := family.GetName() + strings.Join(labels, ",") + family.GetHelp() + family.GetType().String()
			series[key] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return series
}

// TestExpositionFollowsTheState does at random what can happen to a fleet, and holds the exposition after each step against
// what client_golang makes of the same state.
func TestExpositionFollowsTheState(t *testing.T) {
	s, c := newTestState()
	e := NewExposition(s, ExpositionOptions{})
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(newCollector(s)))
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 120 {
		id := storage.HostID(random.IntN(2*blockHosts) + 1)
		sample := fullSample(c.time)
		sample.Customs = nil // those that client_golang would want to know beforehand
		switch random.IntN(10) {
		case 0:
			s.SetHost(testHost(id, fmt.Sprint("host ", random.IntN(3))))
		case 1:
			c.time = c.time.Add(time.Duration(random.IntN(20)) * time.Second)
		case 2: // nearly all of them are down
			c.time = c.time.Add(time.Hour)
		case 3: // and are forgotten
			if random.IntN(10) == 0 {
				c.time = c.time.Add(hostGone)
			}
		case 4:
			sample.Disks = append(sample.Disks, &gohubv1.DiskMetrics{Device: fmt.Sprint("sd", random.IntN(3)), BusyPercent: proto.Float32(random.Float32() * 100)})
			s.Observe(id, flat(sample), c.time)
		case 5:
			sample.Filesystems, sample.Host = nil, nil
			s.Observe(id, flat(sample), c.time)
		default:
			sample.Host.CpuUsagePercent = proto.Float32(random.Float32() * 100)
			sample.Host.CpuUserPercent = nil
			sample.Host.Load1 = proto.Float32(random.Float32() * 1e-3)
			s.Observe(id, flat(sample), c.time)
		}
		gathered, err := registry.Gather()
		require.NoError(t, err)
		parsed := parseExposition(t, scrape(t, e, false))
		var families []*dto.MetricFamily
		for _, family := range parsed {
			families = append(families, family)
		}
		want, got := flatten(gathered), flatten(families)
		for series, value := range want {
			require.Contains(t, got, series, "step %d", step)
			require.InEpsilon(t, value+1, got[series]+1, 1e-6, "step %d: %s", step, series)
		}
		require.Len(t, got, len(want))
	}
}

func TestSilentHostLeavesTheExposition(t *testing.T) {
	s, c := newTestState()
	e := NewExposition(s, ExpositionOptions{})
	s.SetHost(testHost(1, "web-1"))
	require.Empty(t, scrape(t, e, false), "nothing is known yet")
	s.Observe(1, flat(hostSample(epoch, 50)), c.time)
	require.Contains(t, string(scrape(t, e, false)), `gohub_cpu_usage_ratio{host="web-1",host_id="1"} 0.5`)
	c.time = epoch.Add(time.Minute)
	text := string(scrape(t, e, false))
	require.NotContains(t, text, "gohub_cpu_usage_ratio")
	require.Contains(t, text, `gohub_host_up{host="web-1",host_id="1"} 0`)
	c.time = epoch.Add(hostGone + 1)
	require.Empty(t, scrape(t, e, false))
	s.Observe(1, flat(hostSample(c.time, 50)), c.time)
	require.Contains(t, string(scrape(t, e, false)), `gohub_host_up{host="web-1",host_id="1"} 1`)
}

func TestNegotiation(t *testing.T) {
	for _, test := range []struct{ accept, want string }{
		{"", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
		{"*/*", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
		{"application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"},
		// Prometheus 3, and one that likes protobuf best.
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.4,*/*;q=0.2", "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.5", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"},
	} {
		require.Equal(t, test.want, string(negotiateFormat(http.Header{"Accept": {test.accept}})), test.accept)
	}
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "zstd": "zstd", "gzip, zstd": "gzip", "zstd, gzip": "gzip", "zstd;q=0.1, gzip;q=0.5": "gzip", "gzip;q=0": "", "br": "", "GZIP ; q=x, zstd;q=0.5": "zstd", "identity": "",
	} {
		require.Equal(t, want, negotiateEncoding([]string{accept}), accept)
	}
}

func TestScrapesAreCompressed(t *testing.T) {
	s, _ := expositionState()
	e := NewExposition(s, ExpositionOptions{})
	own := prometheus.NewRegistry()
	NewHub(s, HubOptions{Registerer: own})
	for _, openMetrics := range []bool{false, true} {
		handler := e.MetricsHandler(own, slog.New(slog.DiscardHandler))
		var plain string
		for _, encoding := range []string{"", "gzip", "zstd"} {
			request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			request.Header.Set("Accept-Encoding", encoding)
			if openMetrics {
				request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
			}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, encoding, recorder.Header().Get("Content-Encoding"))
			body := io.Reader(recorder.Body)
			var err error
			switch encoding {
			case "gzip":
				body, err = gzip.NewReader(body)
			case "zstd":
				body, err = zstd.NewReader(body)
			}
			require.NoError(t, err)
			text, err := io.ReadAll(body)
			require.NoError(t, err)
			if encoding == "" {
				plain = string(text)
			}
			require.Equal(t, plain, string(text))
		}
		require.Contains(t, plain, "\ngohub_live_viewers 0")
		require.Contains(t, plain, "\ngohub_host_up{")
		require.Equal(t, openMetrics, strings.HasSuffix(plain, "\n# EOF\n"))
		require.LessOrEqual(t, strings.Count(plain, "# EOF"), 1)
	}
}

// stuckWriter is a scraper that has stopped to read, until it is let go.
type stuckWriter struct {
	*httptest.ResponseRecorder
	reached, release chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.reached <- struct{}{}
	<-w.release
	return len(p), nil
}

// TestStuckScraperHoldsNobodyUp: samples are taken and other scrapes are answered, up to the bound.
func TestStuckScraperHoldsNobodyUp(t *testing.T) {
	s, c := expositionState()
	e := NewExposition(s, ExpositionOptions{})
	handler := e.MetricsHandler(nil, slog.New(slog.DiscardHandler))
	release, reached, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	for range maxScrapes - 1 {
		go func() {
			defer func() { done <- struct{}{} }()
			handler.ServeHTTP(&stuckWriter{httptest.NewRecorder(), reached, release}, httptest.NewRequest(http.MethodGet, "/", nil))
		}()
		<-reached
	}
	s.Observe(1, flat(hostSample(c.time, 77)), c.time)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusOK, recorder.Code)
	require.Contains(t, recorder.Body.String(), `gohub_cpu_usage_ratio{host="twin",host_id="1"} 0.77`)

	go func() {
		defer func() { done <- struct{}{} }()
		handler.ServeHTTP(&stuckWriter{httptest.NewRecorder(), reached, release}, httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	<-reached
	recorder = httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusServiceUnavailable, recorder.Code)
	close(release)
	for range maxScrapes {
		for stuck := true; stuck; {
			select {
			case <-reached: // another piece
			case <-done:
				stuck = false
			}
		}
	}
}

// TestTextIsKeptForScrapersOnly: it is made anew in the background while they come, and dropped when they come no more.
func TestTextIsKeptForScrapersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewState(nil)
		e := NewExposition(s, ExpositionOptions{})
		go func() { _ = e.Run(t.Context()) }()
		// kept is of how many hosts there is text, and of which version of the first.
		kept := func() (hosts int, version uint64) {
			synctest.Wait()
			e.mu.Lock()
			defer e.mu.Unlock()
			for _, t := range e.tables {
				if len(t.blocks) > 0 {
					return len(e.hosts), e.made[0].version
				}
			}
			return len(e.hosts), 0
		}
		s.SetHost(testHost(1, "web-1"))
		s.Observe(1, flat(hostSample(time.Now(), 50)), time.Now())
		time.Sleep(time.Minute)
		hosts, _ := kept()
		require.Zero(t, hosts, "none came")

		require.NotEmpty(t, scrape(t, e, false))
		s.Observe(1, flat(hostSample(time.Now(), 60)), time.Now())
		time.Sleep(refreshEvery + 1)
		_, version := kept()
		require.Equal(t, s.all()[0].version, version)

		time.Sleep(scraperGone)
		hosts, version = kept()
		require.Zero(t, hosts)
		require.Zero(t, version)
		s.Observe(1, flat(hostSample(time.Now(), 70)), time.Now())
		require.Contains(t, string(scrape(t, e, false)), `gohub_cpu_usage_ratio{host="web-1",host_id="1"} 0.7`)
	})
}

func TestScrapeAllocatesNothingForHosts(t *testing.T) {
	sample := fullSample(epoch)
	sample.Customs = nil // these are made text anew
	s := benchState(1000, sample)
	e := NewExposition(s, ExpositionOptions{NodeExporter: true})
	next := flat(sample)
	scraped := 0
	require.Less(t, testing.AllocsPerRun(5, func() {
		next.TimeUnixMillis += 1000
		for id := range storage.HostID(1000) {
			s.Observe(id+1, next, time.Now())
		}
		var counted countingWriter
		require.NoError(t, e.write(&counted, true, nil))
		scraped = int(counted)
	}), 20.0)
	require.Greater(t, scraped, 1000*1000)
}

type countingWriter int

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

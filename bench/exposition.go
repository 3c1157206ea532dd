package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/live"
)

// scrapeRun is one scrape.
type scrapeRun struct {
	Side   string  `json:"side"`
	Millis float64 `json:"ms"`
	Bytes  int     `json:"bytes"`
}

// The sides of a scrape.
const (
	sideText   = "/metrics/hosts, text"
	sideGzip   = "/metrics/hosts, gzip"
	sideClient = "client_golang, text"
)

const (
	// scrapeEvery is how often a turn of all sides begins; Prometheus scrapes more seldom, which takes no less.
	scrapeEvery = time.Second
	// quietScrapes tell what a scrape allocates; the first ones make room.
	quietScrapes = 5
)

// runScrape scrapes a server whose fleet streams, and a client_golang handler that has the same series ready as values, in turns.
func runScrape(ctx context.Context, o *Options, report *measure.Report) (err error) {
	allocations, err := o.scrapeAllocations()
	if err != nil {
		return err
	}
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer s.kill()
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Connections: o.connections(o.Hosts), Interval: o.Interval, Window: o.Window, Seed: 1,
		Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
	})
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(running) }()
	defer func() {
		cancel()
		<-finished
	}()
	if err := waitConnected(ctx, agents, o.Hosts); err != nil {
		return err
	}
	agents.Start()
	ours := newScraper(s.HTTP)
	defer ours.close()
	text, err := ours.wholeFleet(ctx, o.Hosts)
	if err != nil {
		return errors.Join(err, agents.LastError())
	}
	contender, err := startContender(text)
	if err != nil {
		return err
	}
	defer contender.stop()
	theirs := newScraper(contender.address)
	defer theirs.close()

	millis := map[string][]float64{}
	sizes := map[string]int{}
	for begin := time.Now(); len(millis[sideClient]) == 0 || time.Since(begin) < o.Duration; {
		for _, side := range []struct {
			name, path, encoding string
			of                   *scraper
		}{{sideText, "/metrics/hosts", "", ours}, {sideClient, "/", "", theirs}, {sideGzip, "/metrics/hosts", "gzip", ours}} {
			before := time.Now()
			size, err := side.of.size(ctx, side.path, side.encoding)
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			one := scrapeRun{side.name, float64(time.Since(before).Microseconds()) / 1000, size}
			millis[side.name], sizes[side.name] = append(millis[side.name], one.Millis), size
			report.Runs = append(report.Runs, one)
		}
		o.say("scrape: text %s ms, gzip %s ms, client_golang %s ms", measure.Number(measure.Median(millis[sideText])),
			measure.Number(measure.Median(millis[sideGzip])), measure.Number(measure.Median(millis[sideClient])))
		if !sleep(ctx, scrapeEvery) {
			return ctx.Err()
		}
	}
	if sizes[sideText] < len(text)*9/10 || sizes[sideClient] < len(text)*9/10 {
		return fmt.Errorf("the sides do not tell the same: %v bytes of %d", sizes, len(text))
	}
	report.Tables = append(report.Tables, scrapeTable(o, millis, sizes))
	report.Target("scrape_ms", measure.Median(millis[sideText]), "<=", 60)
	report.Target("scrape_ms_moonshot", measure.Median(millis[sideText]), "<=", 2)
	report.Target("scrape_against_client_golang", measure.Median(measure.Ratios(millis[sideText], millis[sideClient])), "<=", 1)
	// What a scrape allocates for all hosts together, as the request's own, is less than one for a hundred hosts.
	report.Target("scrape_allocations_a_host", math.Floor(100*allocations)/100, "<=", 0)
	return nil
}

func scrapeTable(o *Options, millis map[string][]float64, sizes map[string]int) measure.Table {
	table := measure.Table{
		Title: "A scrape of the fleet", Columns: []string{"side", "scrapes", "median ms", "lowest", "p99", "MB"},
		Notes: []string{
			fmt.Sprintf("%d hosts of %d values stream meanwhile, a sample every %s; scrapes take turns, a turn a second, over HTTP to the last byte", o.Hosts, fleet.NewShape(o.Columns, 0, 0, 0).Columns(), o.Interval),
			"client_golang has the same series, their values and labels ready, behind a collector, its registry and promhttp, in this process",
		},
	}
	for _, side := range slices.Sorted(maps.Keys(millis)) {
		values := millis[side]
		table.Rows = append(table.Rows, []string{
			side, fmt.Sprint(len(values)), measure.Number(measure.Median(values)), measure.Number(slices.Min(values)), measure.Number(measure.Quantile(values, 0.99)),
			measure.Number(float64(sizes[side]) / 1e6),
		})
	}
	return table
}

// size reads an answer to its end.
func (s *scraper) size(ctx context.Context, path, encoding string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		return 0, err
	}
	if encoding != "" {
		request.Header.Set("Accept-Encoding", encoding)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Encoding") != encoding {
		return 0, fmt.Errorf("the answer is %s in encoding %q", response.Status, response.Header.Get("Content-Encoding"))
	}
	size, err := io.Copy(io.Discard, response.Body)
	return int(size), err
}

// wholeFleet scrapes until all hosts are there.
func (s *scraper) wholeFleet(ctx context.Context, hosts int) ([]byte, error) {
	const patience = 2 * time.Minute
	there := 0
	for begin := time.Now(); time.Since(begin) < patience; {
		response, err := s.get(ctx, "/metrics/hosts")
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("scrape: %w", err)
		}
		there = bytes.Count(text, []byte("\ngohub_host_last_sample_timestamp_seconds{"))
		if there == hosts && bytes.Count(text, []byte("\ngohub_cpu_usage_ratio{")) == hosts {
			return text, nil
		}
		if !sleep(ctx, scrapeEvery) {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("after %s only %d of %d hosts can be scraped", patience, there, hosts)
}

// scrapeAllocations is how often a scrape of a fleet that does not change allocates, a host.
func (o *Options) scrapeAllocations() (float64, error) {
	b, err := newBroadcaster(BroadcasterOptions{Options: *o, Way: wayBare})
	if err != nil {
		return 0, err
	}
	handler := live.NewExposition(b.state, live.ExpositionOptions{}).MetricsHandler(nil, slog.New(slog.DiscardHandler))
	request, err := http.NewRequest(http.MethodGet, "/metrics/hosts", nil)
	if err != nil {
		return 0, err
	}
	scrape := func() { handler.ServeHTTP(nowhere{}, request) }
	scrape() // makes the text
	return testing.AllocsPerRun(quietScrapes, scrape) / float64(o.Hosts), nil
}

// nowhere is an answer that nobody reads.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) WriteHeader(int)             {}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// contender serves series by client_golang.
type contender struct {
	address string
	server  *http.Server
	serving sync.WaitGroup
}

func startContender(text []byte) (*contender, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the scraped text: %w", err)
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(newSeries(families)); err != nil {
		return nil, fmt.Errorf("register the scraped series: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes: %w", err)
	}
	c := &contender{address: listener.Addr().String()}
	c.server = &http.Server{Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), ReadHeaderTimeout: 10 * time.Second}
	c.serving.Go(func() { _ = c.server.Serve(listener) }) // it ends with stop
	return c, nil
}

func (c *contender) stop() {
	c.server.Close()
	c.serving.Wait()
}

// series collects values that are ready.
type series struct {
	descs   []*prometheus.Desc
	metrics []readyMetric
}

// readyMetric is a prometheus.Metric that costs less than the library's own.
type readyMetric struct {
	desc  *prometheus.Desc
	value *dto.Metric
}

func newSeries(families map[string]*dto.MetricFamily) *series {
	all := &series{}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		var labels []string
		for _, label := range family.Metric[0].Label {
			labels = append(labels, label.GetName())
		}
		desc := prometheus.NewDesc(name, family.GetHelp(), labels, nil)
		all.descs = append(all.descs, desc)
		for _, one := range family.Metric {
			slices.SortFunc(one.Label, func(a, b *dto.LabelPair) int { return bytes.Compare([]byte(a.GetName()), []byte(b.GetName())) })
			all.metrics = append(all.metrics, readyMetric{desc, one})
		}
	}
	return all
}

// Describe implements prometheus.Collector.
func (s *series) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range s.descs {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (s *series) Collect(metrics chan<- prometheus.Metric) {
	for i := range s.metrics {
		metrics <- &s.metrics[i]
	}
}

// Desc implements prometheus.Metric.
func (m *readyMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m *readyMetric) Write(out *dto.Metric) error {
	out.Label, out.Gauge, out.Counter = m.value.Label, m.value.Gauge, m.value.Counter
	return nil
}

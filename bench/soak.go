package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
)

// soakPoint is what a server looked like at a time.
type soakPoint struct {
	Second        float64 `json:"second"`
	ResidentBytes float64 `json:"resident_bytes"`
	HeapBytes     float64 `json:"heap_in_use_bytes"`
	// WindowBytes is the memory of the recent window, which fills up to its bound.
	WindowBytes float64 `json:"recent_memory_bytes"`
	Goroutines  float64 `json:"goroutines"`
	// RingDepth is the batches in all rings.
	RingDepth float64 `json:"ring_depth"`
	// AckP50 and AckP99 are seconds from taken to acknowledged since the point before, -1 if there were none.
	AckP50    float64 `json:"ack_p50_seconds"`
	AckP99    float64 `json:"ack_p99_seconds"`
	Connected int     `json:"connected"`
	Acked     int64   `json:"acked_samples"`
	Breaks    int64   `json:"broken_streams"`
}

// soakResult is the report of a soak.
type soakResult struct {
	Agents int         `json:"agents"`
	Points []soakPoint `json:"points"`
	// MemoryGrowthPercent and GoroutineGrowth are those of lines through the second half.
	MemoryGrowthPercent float64 `json:"memory_growth_percent"`
	GoroutineGrowth     float64 `json:"goroutine_growth"`
	LagP50              float64 `json:"lag_p50_seconds"`
	LagP99              float64 `json:"lag_p99_seconds"`
	Loss                loss    `json:"loss"`
}

// soakEvery is the time between points, less where a soak is too short for enough of them.
const (
	soakEvery  = 15 * time.Second
	soakPoints = 8
)

func runSoak(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer s.kill()
	agents, err := o.startAgents(ctx, s.GRPC, "--ack-times", "--interval", o.Interval.String(), "--window", strconv.Itoa(o.Window),
		"--columns", strconv.Itoa(o.Columns), "--cores", strconv.Itoa(o.Cores), "--disks", strconv.Itoa(o.Disks), "--networks", strconv.Itoa(o.Networks))
	if err != nil {
		return err
	}
	defer func() {
		if stopped := agents.stop(); err == nil {
			err = stopped
		}
	}()
	if err := agents.connect(ctx, o.Hosts); err != nil {
		return err
	}
	// The first samples of all hosts make the snapshot and the chunks.
	if !sleep(ctx, 2*o.Interval) {
		return ctx.Err()
	}
	result := soakResult{Agents: o.Hosts}
	lags, err := o.soak(ctx, s, agents, &result)
	if err != nil {
		return err
	}
	want, err := agents.drain(ctx)
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	if result.Loss, err = o.loss(ctx, db, want); err != nil {
		return err
	}
	result.LagP50, result.LagP99 = measure.Median(lags)/1000, measure.Quantile(lags, 0.99)/1000
	result.fit(o.Hosts)
	o.reportSoak(report, &result)
	return result.Loss.err()
}

// soak takes the points, and returns how long acknowledgements took in milliseconds.
func (o *Options) soak(ctx context.Context, s *server, agents *agentsProcess, result *soakResult) (lags []float64, err error) {
	scraper := newScraper(s.HTTP)
	defer scraper.close()
	every := min(soakEvery, o.Duration/soakPoints)
	agents.ackMillis() // those of the beginning do not count
	begin := time.Now()
	for next := begin; ; next = next.Add(every) {
		if !sleep(ctx, time.Until(next)) {
			return nil, ctx.Err()
		}
		one, acks, err := takePoint(ctx, s, scraper, agents)
		if err != nil {
			return nil, err
		}
		one.Second = next.Sub(begin).Seconds()
		result.Points = append(result.Points, one)
		lags = append(lags, acks...)
		o.say("soak: %4.0f s, server %.1f MiB, heap %.1f MiB, %.0f goroutines, %.0f batches in rings, acknowledged after p50 %.3f s p99 %.3f s, %d connected, %d samples stored",
			one.Second, one.ResidentBytes/(1<<20), one.HeapBytes/(1<<20), one.Goroutines, one.RingDepth, one.AckP50, one.AckP99, one.Connected, one.Acked)
		if next.Sub(begin) >= o.Duration {
			return lags, nil
		}
	}
}

func takePoint(ctx context.Context, s *server, from *scraper, agents *agentsProcess) (one soakPoint, acks []float64, err error) {
	resident, err := measure.ResidentBytes(s.pid()) // before the scrape, which makes garbage
	if err != nil {
		return one, nil, fmt.Errorf("%w; the server said:\n%s", err, s.log)
	}
	const heap, window, goroutines, depth = "go_memstats_heap_inuse_bytes", "gohub_recent_memory_bytes", "go_goroutines", "gohub_ingest_ring_depth"
	metrics, err := from.metrics(ctx, heap, window, goroutines, depth)
	if err != nil {
		return one, nil, err
	}
	status := agents.status()
	acks = agents.ackMillis()
	one = soakPoint{
		ResidentBytes: float64(resident), HeapBytes: metrics[heap], WindowBytes: metrics[window], Goroutines: metrics[goroutines], RingDepth: metrics[depth],
		AckP50: -1, AckP99: -1, Connected: status.Connected, Acked: status.Acked, Breaks: status.Breaks,
	}
	if len(acks) > 0 {
		one.AckP50, one.AckP99 = measure.Median(acks)/1000, measure.Quantile(acks, 0.99)/1000
	}
	return one, acks, nil
}

// withoutWindow is the resident memory but for the recent window's, which fills for its hour, up to its own bound.
func (p soakPoint) withoutWindow() float64 { return p.ResidentBytes - p.WindowBytes }

// fit lays lines through the second half of the points: whether anything but the recent window grows.
func (r *soakResult) fit(agents int) {
	var seconds, resident, goroutines []float64
	for _, one := range r.Points[len(r.Points)/2:] {
		seconds, resident, goroutines = append(seconds, one.Second), append(resident, one.withoutWindow()), append(goroutines, one.Goroutines)
	}
	first, last := measure.Line(seconds, resident)
	r.MemoryGrowthPercent = 100 * (last - first) / first
	first, last = measure.Line(seconds, goroutines)
	r.GoroutineGrowth = steady(last-first, agents)
}

// steady takes out noise: the server borrows goroutines to acknowledge a flush, as many as agents do not take theirs at
// once, and they linger for seconds.
func steady(growth float64, agents int) float64 {
	if math.Abs(growth) <= max(10, float64(agents)/100) {
		return 0
	}
	return growth
}

func (o *Options) reportSoak(report *measure.Report, result *soakResult) {
	table := measure.Table{
		Title:   "A fleet streams for long",
		Columns: []string{"s", "server MiB", "heap in use MiB", "recent window MiB", "goroutines", "batches in rings", "acknowledged p50 s", "p99 s", "connected", "samples stored"},
		Notes: []string{
			fmt.Sprintf("%d agents from another process, each on a connection of its own; a sample every %s with the host's row, %d cores, %d disks and %d networks",
				o.Hosts, o.Interval, o.Cores, o.Disks, o.Networks),
			"at each point the server's /metrics are scraped, as Prometheus would",
			fmt.Sprintf("growth is that of a line through the second half, of memory without the recent window, which fills up to a bound of its own; goroutines that differ by less than 10 or one for 100 agents are taken as steady; checked at the end: %s", result.Loss),
		},
	}
	seconds := func(value float64) string {
		if value < 0 {
			return "-"
		}
		return measure.Number(value)
	}
	mib := func(bytes float64) string { return measure.Number(bytes / (1 << 20)) }
	for _, one := range result.Points {
		table.Rows = append(table.Rows, []string{
			measure.Number(one.Second), mib(one.ResidentBytes), mib(one.HeapBytes), mib(one.WindowBytes), measure.Number(one.Goroutines), measure.Number(one.RingDepth),
			seconds(one.AckP50), seconds(one.AckP99), fmt.Sprint(one.Connected), fmt.Sprint(one.Acked),
		})
	}
	report.Tables = append(report.Tables, table)
	report.Target("soak_memory_growth_percent", result.MemoryGrowthPercent, "<=", 5)
	report.Target("soak_goroutine_growth", result.GoroutineGrowth, "<=", 0)
	report.Target("soak_lag_p99_seconds", result.LagP99, "<=", 2)
	report.Target("soak_lost", float64(result.Loss.Lost), "<=", 0)
	report.Target("soak_doubled", float64(result.Loss.Doubled), "<=", 0)
	for _, value := range []*float64{&result.MemoryGrowthPercent, &result.GoroutineGrowth, &result.LagP50, &result.LagP99} {
		if math.IsNaN(*value) {
			*value = -1 // JSON has no NaN
		}
	}
	report.Runs = append(report.Runs, result)
}

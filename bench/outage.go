package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/bench/rig"
)

// The phases of an outage.
const (
	phaseBefore   = "before"
	phaseAway     = "away"
	phaseBack     = "back, not storing"
	phaseDraining = "draining"
	phaseAfter    = "after"
)

// outagePhase is what was seen while the database was there, away, or back with a backlog to store.
type outagePhase struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"`
	// ResidentBytes, HeapBytes in use and Goroutines are the highest of the server.
	ResidentBytes int64 `json:"resident_bytes"`
	// FirstHalfBytes is the highest ResidentBytes of the first half of the outage.
	FirstHalfBytes int64   `json:"first_half_bytes"`
	HeapBytes      float64 `json:"heap_in_use_bytes"`
	Goroutines     float64 `json:"goroutines"`
	// WindowBytes is the memory of the recent window at the end of the phase, which stored samples fill up to its bound.
	WindowBytes float64 `json:"recent_memory_bytes"`
	// Taken and Acked are samples, by the end of the phase.
	Taken int64 `json:"taken"`
	Acked int64 `json:"acked"`
	// AgeP50, AgeP99 and AgeMax are how old the newest sample of a host was on the dashboard, over hosts and seconds.
	AgeP50 float64 `json:"age_p50_seconds"`
	AgeP99 float64 `json:"age_p99_seconds"`
	AgeMax float64 `json:"age_max_seconds"`
	// Asked is how often the hosts were asked for, Unanswered how often that failed.
	Asked      int    `json:"asked"`
	Unanswered int    `json:"unanswered"`
	Failure    string `json:"failure,omitempty"`
	// Ages has the median and the p99 of each second.
	Ages []ageSecond `json:"ages"`

	all []float64
}

type ageSecond struct {
	Second float64 `json:"second"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
}

// outageResult is the report of an outage.
type outageResult struct {
	Agents        int     `json:"agents"`
	OutageSeconds float64 `json:"outage_seconds"`
	// StoringSeconds is from the database's return until the server stored the first batch, LiveSeconds until the
	// dashboard's p99 was within the bound, and DrainSeconds until all that was taken before was stored.
	StoringSeconds float64 `json:"storing_again_seconds"`
	LiveSeconds    float64 `json:"live_again_seconds"`
	DrainSeconds   float64 `json:"drain_seconds"`
	// Backlog is how many samples were not stored when the database came back.
	Backlog int64          `json:"backlog_samples"`
	Phases  []*outagePhase `json:"phases"`
	Loss    loss           `json:"loss"`
	Fleet   fleet.Stats    `json:"fleet"`
}

// outage is a run.
type outage struct {
	options *Options
	cluster *rig.Cluster
	server  *server
	agents  *fleet.Fleet
	scraper *scraper
	label   atomic.Value // of the phase, for the progress

	// back is when the database was back in Unix nanoseconds, 0 before; first is when the first acknowledgement came after
	// that, last when the last one did for a batch that was taken before.
	back, first, last atomic.Int64
	result            outageResult
}

// acked is called for every acknowledged batch.
func (r *outage) acked(_ int, taken time.Time) {
	back := r.back.Load()
	if back == 0 {
		return
	}
	now := time.Now().UnixNano()
	r.first.CompareAndSwap(0, now)
	if taken.UnixNano() < back {
		for last := r.last.Load(); now > last && !r.last.CompareAndSwap(last, now); last = r.last.Load() {
		}
	}
}

func runOutage(ctx context.Context, o *Options, report *measure.Report) (err error) {
	if o.DatabaseURL == "sqlite" {
		return errors.New("SQLite can not be away from its server: only TimescaleDB has outages")
	}
	o.say("outage: starting a cluster on port %d", o.ClusterPort)
	c, err := rig.StartCluster(ctx, o.ClusterScript, o.ClusterPort)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Remove()) }()
	own := *o
	own.DatabaseURL = c.URL()
	db, err := own.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(db.directory)) }() // the database goes with its cluster
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	s, err := own.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer s.kill()
	r := &outage{options: o, cluster: c, server: s, scraper: newScraper(s.HTTP)}
	defer r.scraper.close()
	r.agents = fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Interval: o.Interval, Window: o.Window, Seed: 1, Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
		OnAck: r.acked,
	})
	if err := r.stream(ctx); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	r.result.Fleet = r.agents.Stats()
	if r.result.Loss, err = o.loss(ctx, db, r.agents.Sums()); err != nil {
		return err
	}
	r.report(report)
	return r.result.Loss.err()
}

// stream runs the fleet through all phases, until everything is acknowledged.
func (r *outage) stream(ctx context.Context) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- r.agents.Run(running) }()
	defer func() {
		cancel()
		<-finished
	}()
	if err := waitConnected(ctx, r.agents, r.options.Hosts); err != nil {
		return err
	}
	r.label.Store(phaseBefore)
	stopShow := r.options.progress(func() string {
		stats := r.agents.Stats()
		resident, _ := measure.ResidentBytes(r.server.pid()) // only to show
		return fmt.Sprintf("outage, %s: %d of %d connected, %d samples taken, %d of them not stored, server %d MiB",
			r.label.Load(), stats.Connected, r.options.Hosts, stats.Taken, stats.Taken-stats.Acked, resident>>20)
	})
	defer stopShow()
	r.agents.Start()
	if err := r.phases(ctx); err != nil {
		return err
	}
	r.agents.Stop()
	select {
	case err := <-finished:
		finished <- nil // for the deferred wait
		return err
	case <-time.After(2 * time.Minute):
		stats := r.agents.Stats()
		return fmt.Errorf("2 minutes after the last sample %d of %d are not acknowledged: %w", stats.Taken-stats.Acked, stats.Taken, r.agents.LastError())
	}
}

// phases takes the database away and gives it back.
func (r *outage) phases(ctx context.Context) error {
	calm := min(r.options.Duration, time.Minute)
	if err := r.look(ctx, phaseBefore, func(since time.Duration) bool { return since >= calm }); err != nil {
		return err
	}
	away := time.Now()
	if err := r.cluster.Kill(ctx); err != nil {
		return err
	}
	if err := r.look(ctx, phaseAway, func(since time.Duration) bool { return since >= r.options.Duration }); err != nil {
		return err
	}
	if err := r.cluster.Start(ctx); err != nil {
		return err
	}
	back := time.Now()
	r.back.Store(back.UnixNano())
	stats := r.agents.Stats()
	r.result.Agents, r.result.OutageSeconds, r.result.Backlog = r.options.Hosts, back.Sub(away).Seconds(), stats.Taken-stats.Acked
	const patience = 20 * time.Minute
	storing := func(since time.Duration) bool { return r.first.Load() != 0 || since > patience }
	if err := r.look(ctx, phaseBack, storing); err != nil {
		return err
	}
	drained := func(since time.Duration) bool {
		oldest := r.agents.Oldest()
		return oldest.IsZero() || oldest.After(back) || since > patience
	}
	if err := r.look(ctx, phaseDraining, drained); err != nil {
		return err
	}
	if !drained(0) {
		stats := r.agents.Stats()
		return fmt.Errorf("%s after the database's return %d of %d samples are not acknowledged: %w", patience, stats.Taken-stats.Acked, stats.Taken, r.agents.LastError())
	}
	r.result.StoringSeconds = time.Unix(0, r.first.Load()).Sub(back).Seconds()
	r.result.DrainSeconds = max(time.Unix(0, r.last.Load()).Sub(back).Seconds(), 0)
	if err := r.look(ctx, phaseAfter, func(since time.Duration) bool { return since >= calm }); err != nil {
		return err
	}
	r.result.LiveSeconds = r.liveAgain()
	return nil
}

// look watches the server until done says so: its memory often, the dashboard each second, its metrics seldom, since a
// scrape is work for it.
func (r *outage) look(ctx context.Context, label string, done func(since time.Duration) bool) error {
	const memoryEach, metricsEach = 100 * time.Millisecond, 10 * time.Second
	r.label.Store(label)
	phase := &outagePhase{Phase: label}
	r.result.Phases = append(r.result.Phases, phase)
	begin := time.Now()
	nextAges, nextMetrics := begin, begin
	for first := true; first || !done(time.Since(begin)); first = false {
		resident, err := measure.ResidentBytes(r.server.pid())
		if err != nil {
			return fmt.Errorf("%w; the server said:\n%s", err, r.server.log)
		}
		phase.ResidentBytes = max(phase.ResidentBytes, resident)
		if time.Since(begin) <= r.options.Duration/2 {
			phase.FirstHalfBytes = phase.ResidentBytes
		}
		if now := time.Now(); !now.Before(nextAges) {
			phase.ask(ctx, r.scraper, now.Sub(begin))
			nextAges = nextAges.Add(max(time.Second, time.Since(nextAges).Truncate(time.Second)))
		}
		if now := time.Now(); !now.Before(nextMetrics) {
			_ = r.lookInside(ctx, phase) // it is asked again
			nextMetrics = now.Add(metricsEach)
		}
		if !sleep(ctx, memoryEach) {
			return ctx.Err()
		}
	}
	if err := r.lookInside(ctx, phase); err != nil {
		return err
	}
	phase.Seconds = time.Since(begin).Seconds()
	stats := r.agents.Stats()
	phase.Taken, phase.Acked = stats.Taken, stats.Acked
	phase.AgeP50, phase.AgeP99, phase.AgeMax = measure.Median(phase.all), measure.Quantile(phase.all, 0.99), measure.Quantile(phase.all, 1)
	return nil
}

// lookInside reads what the server says of its memory.
func (r *outage) lookInside(ctx context.Context, phase *outagePhase) error {
	const heap, goroutines, window = "go_memstats_heap_inuse_bytes", "go_goroutines", "gohub_recent_memory_bytes"
	metrics, err := r.scraper.metrics(ctx, heap, goroutines, window)
	if err != nil {
		return err
	}
	phase.HeapBytes, phase.Goroutines = max(phase.HeapBytes, metrics[heap]), max(phase.Goroutines, metrics[goroutines])
	phase.WindowBytes = metrics[window]
	return nil
}

// ask asks for the hosts once.
func (p *outagePhase) ask(ctx context.Context, s *scraper, since time.Duration) {
	p.Asked++
	ages, err := s.ages(ctx)
	if err != nil || len(ages) == 0 {
		p.Unanswered++
		if err != nil {
			p.Failure = err.Error()
		}
		return
	}
	p.all = append(p.all, ages...)
	p.Ages = append(p.Ages, ageSecond{Second: since.Seconds(), P50: measure.Median(ages), P99: measure.Quantile(ages, 0.99)})
}

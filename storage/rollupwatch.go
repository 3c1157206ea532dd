package storage

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backlog is what a database has to roll up yet.
type Backlog struct {
	// Coverage tells how far each resolution is.
	Coverage []Coverage
	// Oldest and Newest are of the hosts' samples that some resolution does not have yet; zero if there are none.
	Oldest, Newest time.Time
}

// BacklogSince is where a backlog is to be read from: the oldest end of what is rolled up, zero if some resolution has nothing.
func BacklogSince(coverage []Coverage) time.Time {
	since := coverage[Day].Until
	for _, c := range coverage[Minute:] {
		if c.Until.Before(since) {
			since = c.Until
		}
	}
	return since
}

// waitsFrom is the end of what is rolled up to a resolution if samples wait after it, and zero if none does.
func (b *Backlog) waitsFrom(r Resolution) time.Time {
	until := b.Coverage[r].Until
	switch {
	case b.Newest.IsZero() || b.Newest.Before(until):
		return time.Time{}
	case until.IsZero(): // its first bucket is not over, or was never made
		return r.Floor(b.Oldest)
	default:
		return until
	}
}

// RollupWatch keeps what the last round of rolling up left, as metrics: a scrape asks the database nothing.
type RollupWatch struct {
	now      func() time.Time
	lag      *prometheus.Desc
	failures prometheus.Counter

	mutex sync.Mutex
	// waitsFrom is of each resolution, by the last round after which it could be read; known says whether there was one.
	waitsFrom [len(Resolutions)]time.Time
	known     bool
}

// NewRollupWatch has the lag go by a clock.
func NewRollupWatch(now func() time.Time) *RollupWatch {
	return &RollupWatch{
		now: now,
		lag: prometheus.NewDesc("gohub_rollup_lag_seconds",
			"How far a resolution's rollups are behind now, while samples wait to be rolled up to it; 0 if none does.", []string{"resolution"}, nil),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_rollup_failures_total",
			Help: "Rounds of rolling up and dropping what is old that failed.",
		}),
	}
}

// Round notes how a round ended, and reads what it left, also of one that failed: it may have come some way. It returns the round's
// failure, or that of reading. A round that was cancelled is no failure.
func (w *RollupWatch) Round(ctx context.Context, failure error, read func(context.Context) (Backlog, error)) error {
	if ctx.Err() != nil {
		return failure
	}
	backlog, err := read(ctx)
	if ctx.Err() != nil {
		return failure
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if err == nil {
		for _, r := range Resolutions[Minute:] {
			w.waitsFrom[r] = backlog.waitsFrom(r)
		}
		w.known = true
	} else if failure == nil {
		failure = fmt.Errorf("read what is left to roll up: %w", err)
	}
	if failure != nil {
		w.failures.Inc()
	}
	return failure
}

// Describe implements prometheus.Collector.
func (w *RollupWatch) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- w.lag
	w.failures.Describe(descriptions)
}

// Collect implements prometheus.Collector. Before the first round nothing is known of the lag, and nothing told.
func (w *RollupWatch) Collect(metrics chan<- prometheus.Metric) {
	w.failures.Collect(metrics)
	w.mutex.Lock()
	waitsFrom, known := w.waitsFrom, w.known
	w.mutex.Unlock()
	if !known {
		return
	}
	now := w.now()
	for _, r := range Resolutions[Minute:] {
		var lag time.Duration
		if from := waitsFrom[r]; !from.IsZero() {
			lag = max(now.Sub(from), 0)
		}
		metrics <- prometheus.MustNewConstMetric(w.lag, prometheus.GaugeValue, lag.Seconds(), r.String())
	}
}

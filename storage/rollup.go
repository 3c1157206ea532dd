package storage

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// RolledUp says whether a family has rollups. The instances of an ephemeral one come and go, so that there would be nearly as
// many rows as samples; of it there is what was sampled, for as long as that is kept.
func RolledUp(family *catalogue.Family) bool { return !family.Ephemeral }

// Finer is the resolution whose rows are rolled up to r.
func (r Resolution) Finer() Resolution { return r - 1 }

// RollupDialect is what the statements of rollups differ in between the two databases.
type RollupDialect struct {
	// Bucket is the start of the bucket of a resolution that a row's time is in.
	Bucket func(r Resolution) string
	// Last aggregates a column: its value, where there is one, of the row with the greatest time.
	Last func(column string) string
	// Value is a metric of a sample; nil where it is that of the column.
	Value func(*catalogue.Metric) string
	// Types are the columns' types, of a metric by its type.
	Time, Integer, Text string
	Metric              func(catalogue.Type) string
	Double              string
}

// Columns returns the columns of a rollup's relation with their types, as a table's definition has them.
func (d RollupDialect) Columns(family *catalogue.Family) []string {
	columns := []string{"time " + d.Time + " NOT NULL", "host_id " + d.Integer + " NOT NULL"}
	for _, label := range family.Labels {
		columns = append(columns, label.Name+" "+d.Text+" NOT NULL")
	}
	for _, metric := range family.Metrics {
		columns = append(columns, d.MetricColumns(metric)...)
	}
	return columns
}

// MetricColumns returns those of one metric.
func (d RollupDialect) MetricColumns(metric *catalogue.Metric) []string {
	value := d.Metric(metric.Type)
	return []string{
		Avg.Column(metric) + " " + d.Double,
		Min.Column(metric) + " " + value,
		Max.Column(metric) + " " + value,
		Count.Column(metric) + " " + d.Integer + " NOT NULL DEFAULT 0",
		Last.Column(metric) + " " + value,
	}
}

// Select returns the query that rolls a family up to r from the next finer resolution, with the columns of Columns. where
// bounds what is read of the finer relation's time and host_id; every name is the catalogue's.
func (d RollupDialect) Select(family *catalogue.Family, r Resolution, where string) string {
	return d.SelectFrom(family, r, r.Finer().Relation(family)+" WHERE "+where)
}

// SelectFrom is Select from what is given: a relation with the next finer resolution's columns, and what is read of it.
//
// An average of averages is weighted by their counts, so it is the average of the readings.
func (d RollupDialect) SelectFrom(family *catalogue.Family, r Resolution, from string) string {
	var labels, values strings.Builder
	for _, label := range family.Labels {
		labels.WriteString(", " + label.Name)
	}
	for _, metric := range family.Metrics {
		column := func(of Rollup) string { return of.Column(metric) }
		if r == Minute {
			raw := metric.Column
			if d.Value != nil {
				raw = d.Value(metric)
			}
			fmt.Fprintf(&values, ", avg(CAST(%s AS double precision)) AS %s, min(%s) AS %s, max(%s) AS %s, count(%s) AS %s, %s AS %s",
				raw, column(Avg), raw, column(Min), raw, column(Max), raw, column(Count), d.Last(raw), column(Last))
			continue
		}
		fmt.Fprintf(&values, ", sum(%[1]s * %[2]s) / nullif(sum(%[2]s), 0) AS %[1]s, min(%[3]s) AS %[3]s, max(%[4]s) AS %[4]s, CAST(sum(%[2]s) AS bigint) AS %[2]s, %[5]s AS %[6]s",
			column(Avg), column(Count), column(Min), column(Max), d.Last(column(Last)), column(Last))
	}
	return fmt.Sprintf("SELECT %s AS time, host_id%s%s FROM %s GROUP BY 1, host_id%s",
		d.Bucket(r), labels.String(), values.String(), from, labels.String())
}

// Remade is the condition for the rows of a rollup's relation that Select makes again, with the same bounds. Others stay, as those
// that were imported without what they were made of.
func (d RollupDialect) Remade(family *catalogue.Family, r Resolution, where string) string {
	return "(host_id, time) IN (SELECT host_id, " + d.Bucket(r) + " FROM " + r.Finer().Relation(family) + " WHERE " + where + ")"
}

// Span is a stretch of time, its start included, its end not.
type Span struct{ From, To time.Time }

// Floor is the start of the bucket that t is in.
func (r Resolution) Floor(t time.Time) time.Time { return t.UTC().Truncate(r.Step()) }

// Ceil is the first start of a bucket that is not before t.
func Ceil(r Resolution, t time.Time) time.Time {
	if floor := r.Floor(t); floor.Before(t) {
		return floor.Add(r.Step())
	}
	return t.UTC()
}

// NewCoverage is that of a store where nothing is rolled up.
func NewCoverage(retention Retention, now time.Time) []Coverage {
	coverage := make([]Coverage, len(Resolutions))
	for i, r := range Resolutions {
		coverage[i] = Coverage{Resolution: r, From: retention.Since(r, now)}
	}
	return coverage
}

// Late is a stretch of a host's time in which rows came after it had been rolled up.
type Late struct {
	Host HostID
	Span Span
}

// LateWork is hosts whose buckets in a span are to be made anew together.
type LateWork struct {
	Span  Span
	Hosts []HostID
}

// Gather brings late stretches together to work in spans of a given width, a multiple of the resolution's step, each with all
// its hosts, in order of time. A stretch is cut where it is not between from and until.
func Gather(late []Late, width time.Duration, from, until time.Time) []LateWork {
	var work []LateWork
	place := map[int64]int{}
	seen := map[int64]map[HostID]bool{}
	for _, one := range late {
		first, last := one.Span.From, one.Span.To
		if first.Before(from) {
			first = from
		}
		if last.After(until) {
			last = until
		}
		for at := first.UTC().Truncate(width); at.Before(last); at = at.Add(width) {
			key := at.UnixMilli()
			i, known := place[key]
			if !known {
				i = len(work)
				place[key], seen[key] = i, map[HostID]bool{}
				span := Span{From: at, To: at.Add(width)}
				if span.From.Before(from) {
					span.From = from
				}
				if span.To.After(until) {
					span.To = until
				}
				work = append(work, LateWork{Span: span})
			}
			if !seen[key][one.Host] {
				seen[key][one.Host] = true
				work[i].Hosts = append(work[i].Hosts, one.Host)
			}
		}
	}
	return work
}

// Retention is how long each resolution is kept; 0 is for ever.
type Retention struct{ Raw, Minute, Hour, Day time.Duration }

// DefaultRetention is 7 days of samples, 90 days of minutes, two years of hours, and days for ever.
var DefaultRetention = Retention{Raw: 7 * 24 * time.Hour, Minute: 90 * 24 * time.Hour, Hour: 2 * 365 * 24 * time.Hour}

// Of is how long a resolution is kept; 0 is for ever.
func (k Retention) Of(r Resolution) time.Duration {
	return [...]time.Duration{k.Raw, k.Minute, k.Hour, k.Day}[r]
}

// Since is the oldest time that is kept at a resolution; zero if all is.
func (k Retention) Since(r Resolution, now time.Time) time.Time {
	if k.Of(r) == 0 {
		return time.Time{}
	}
	return now.Add(-k.Of(r)).UTC()
}

// Check refuses what can not be kept so: a coarser resolution is made from the finer one, and must not be gone before it.
func (k Retention) Check() error {
	for _, r := range Resolutions {
		switch keep := k.Of(r); {
		case keep < 0:
			return fmt.Errorf("the retention of %s is negative", r)
		case keep > 0 && keep < 2*Day.Step():
			return fmt.Errorf("the retention of %s is %s, the least is 48h: from less no day could be rolled up", r, keep)
		case r > Raw && keep > 0 && (k.Of(r.Finer()) == 0 || k.Of(r.Finer()) > keep):
			return fmt.Errorf("the retention of %s is shorter than that of %s, from which it is made", r, r.Finer())
		}
	}
	return nil
}

// Options of a Store. Zero values stand for the defaults.
type Options struct {
	// Retention is DefaultRetention if it is nil.
	Retention *Retention
	// Now is the clock that retention and rollups go by; default time.Now.
	Now func() time.Time
	// Logger is told when what the store does by itself begins to fail, and when it works again; nil discards.
	Logger *slog.Logger
	// Idle has the store do nothing by itself: its owner calls RollUp.
	Idle bool
	// MaxHosts is how many hosts there may be before a new one is refused; by default as many as there are ids. An import is
	// not held to it.
	MaxHosts int
	// Queries is how many queries run at once, 8 by default: a database on the network gets connections for as many.
	Queries int
}

// TooManyHosts is why a new agent is refused.
func (o Options) TooManyHosts() error {
	return fmt.Errorf("%w: there are %d, which is the limit (max_hosts) for new ones; those that are known still come in", ErrTooManyHosts, o.MaxHosts)
}

// WithDefaults returns the options with the defaults in place.
func (o Options) WithDefaults() Options {
	if o.Retention == nil {
		o.Retention = &DefaultRetention
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxHosts <= 0 {
		o.MaxHosts = math.MaxInt32
	}
	if o.Queries <= 0 {
		o.Queries = 8
	}
	return o
}

// RollupLag is how long after a minute's end it is rolled up. What comes later than that is late, which costs more.
const RollupLag = 2 * time.Minute

// RollupStep is how much time one transaction rolls up to a resolution at first, and what late rows are made anew by: of a
// fleet of thousands, ten minutes are hundreds of thousands of samples.
func RollupStep(r Resolution) time.Duration {
	return [...]time.Duration{Minute: 10 * time.Minute, Hour: time.Hour, Day: 24 * time.Hour}[r]
}

// NextRollupStep is how much the next transaction rolls up, after one that made some rows: a little fleet's days pass as quickly
// as a large one's minutes. It grows to 16 times the first step at most, because after a time of little the samples of thousands
// of hosts may come, and all of a step's are in one transaction. A time without samples is skipped, not stepped through.
func NextRollupStep(r Resolution, step time.Duration, rows int64) time.Duration {
	const few, many, longest = 5_000, 50_000, 16
	switch {
	case rows < few:
		return min(2*step, longest*RollupStep(r))
	case rows > many:
		return max(r.Floor(time.Unix(0, 0).Add(step/2)).Sub(time.Unix(0, 0)), r.Step())
	default:
		return step
	}
}

// rollupEvery is often enough: a minute is rolled up when it is over.
const rollupEvery = time.Minute

// KeepRolledUp has a store roll up every minute until ctx ends, and logs when that begins to fail and when it works again.
func KeepRolledUp(ctx context.Context, store interface{ RollUp(context.Context) error }, log *slog.Logger) {
	ticker := time.NewTicker(rollupEvery)
	defer ticker.Stop()
	failing := false
	for {
		err := store.RollUp(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			log.Error("can not roll samples up; range queries read them as they came, and nothing old is dropped meanwhile", "error", err)
		case err == nil && failing:
			log.Info("rolling samples up again")
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

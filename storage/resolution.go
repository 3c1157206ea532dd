package storage

import (
	"fmt"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// Resolution is how finely a relation keeps a family's samples: as they came, or rolled up to buckets.
//
// A rollup's relation is named after the family's table, as host_samples_1h. Its rows have time (the start of the bucket,
// a multiple of Step since the Unix epoch), host_id, the family's labels, and a column for each metric and
// Rollup.
type Resolution int

// The resolutions, each finer than the next.
const (
	Raw Resolution = iota
	Minute
	Hour
	Day
)

// Resolutions has all of them, the finest first.
var Resolutions = [...]Resolution{Raw, Minute, Hour, Day}

// Step is the width of a bucket; 0 for Raw.
func (r Resolution) Step() time.Duration {
	switch r {
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	case Day:
		return 24 * time.Hour
	default:
		return 0
	}
}

// String returns the name that answers and configurations use: "raw", "1m", "1h" or "1d".
func (r Resolution) String() string {
	switch r {
	case Raw:
		return "raw"
	case Minute:
		return "1m"
	case Hour:
		return "1h"
	case Day:
		return "1d"
	default:
		return fmt.Sprintf("Resolution(%d)", int(r))
	}
}

// Relation is the table or view that has a family at this resolution.
func (r Resolution) Relation(family *catalogue.Family) string {
	if r == Raw {
		return family.Table
	}
	return family.Table + "_" + r.String()
}

// Rollup is what is kept of a metric's readings in one bucket.
type Rollup string

// What is kept. Where a bucket has no reading of the metric, Count is 0 and the others are NULL.
const (
	Avg   Rollup = "avg"
	Min   Rollup = "min"
	Max   Rollup = "max"
	Count Rollup = "count"
	Last  Rollup = "last"
)

// Column is the rollup's column of a metric, as cpu_usage_percent_max.
func (r Rollup) Column(metric *catalogue.Metric) string { return metric.Column + "_" + string(r) }

// Coverage tells what a resolution's relations hold.
type Coverage struct {
	Resolution Resolution
	// From is the oldest time that retention keeps at this resolution; zero if it keeps everything.
	From time.Time
	// Until is where the rolled-up part ends, a multiple of Step: what is newer is found in a finer resolution. It is zero
	// where nothing was rolled up yet, and for Raw, which always ends at the newest sample.
	Until time.Time
}

package storage

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// RangeQuery asks for metrics over a range of time, in buckets.
type RangeQuery struct {
	// Hosts to read; none stands for all.
	Hosts []HostID
	// Metrics of any families, at least one.
	Metrics []*catalogue.Metric
	// From is included, To is not. Both should be borders of buckets.
	From, To time.Time
	// Step is the width of a bucket, a whole number of milliseconds. Buckets are counted from the Unix epoch.
	Step time.Duration
	// Edges, where there are any, are the borders of the buckets instead of Step: days of a time zone are not all of one
	// length. They are in order; the first is From and the last To.
	Edges []time.Time
	// Parts say what is read from which resolution, in order of time and without overlap; none stands for all from Raw. The
	// borders of a part must be multiples of its resolution's step, and so must the query's Step or Edges.
	Parts []Part
	// Custom is the name of a custom metric, where one is asked for: Metrics is then that of the family custom, and other names are
	// left out.
	Custom string
	// Known, where it is not nil, are the only series of a custom metric that are read, by the texts of their labels, and what
	// those texts are to become. Where several become one, Across must say how they are combined.
	Known []Relabelling
	// HostParts, where there are any, are for each of Hosts the parts that end the texts of its series, as far as Known has no others.
	HostParts [][]string
	// Across combines series, nil for each by itself.
	Across *Across
	// Top keeps the first series only, nil for all.
	Top *Top
	// MaxRows bounds the rows that the database returns for one family; over it the query fails with ErrTooManyRows.
	MaxRows int
	// MaxSeries bounds the series of one family; over it the query fails with ErrTooManySeries. 0 is no bound.
	MaxSeries int
}

// Relabelling says what the text of a custom series' labels becomes: To, and behind it the parts, as many as HostParts have of a
// host. Of an empty part the host's own is taken.
type Relabelling struct {
	From, To string
	Parts    []string
}

// parts is how many parts a text ends in.
func (q RangeQuery) parts() int {
	if len(q.HostParts) == 0 {
		return 0
	}
	return len(q.HostParts[0])
}

// Part is a stretch of a range that is read from one resolution.
type Part struct {
	Resolution Resolution
	From, To   time.Time
}

// Function combines the values of several series in one bucket.
type Function int

// The functions. Each works on the averages that the series have in the bucket, so that a host which samples often counts as
// much as one that does not.
const (
	Mean Function = iota
	Least
	Greatest
	Sum
	// Quantile interpolates between the two nearest averages.
	Quantile
)

// Across says how series are combined: those of one group, and with the same values of the labels in By, make one.
type Across struct {
	Function Function
	// Quantile between 0 and 1, for that function.
	Quantile float64
	// Groups has the number of the group for each of the query's Hosts. None puts all hosts into group 0.
	Groups []int32
	// By are the family's labels that tell the combined series apart. Names that the family does not have are ignored.
	By []string
}

// Top keeps the series that come first by the mean of their buckets, the greatest first.
type Top struct {
	// Series is how many.
	Series int
	// Metric that they are compared by, one of the query's. All metrics of the query must be of its family.
	Metric *catalogue.Metric
	// Chosen, where there are any, are the series instead, as another query has ranked them.
	Chosen []SeriesKey
}

// SeriesKey tells the series of a query apart: the host or, where hosts are combined, the group, and the labels as Series has them.
type SeriesKey struct {
	Host   HostID
	Group  int32
	Labels []string
}

// Series is the answer for one metric of one instance or group: columns of equal length, in order of time. Buckets without
// a reading are left out.
type Series struct {
	Metric *catalogue.Metric
	// Host whose series it is, 0 where hosts are combined.
	Host HostID
	// Group is the number of the group where hosts are combined.
	Group int32
	// LabelNames and Labels have the names and the values of the instance's labels, in the family's order: all of them, or
	// those of Across.By.
	LabelNames []string
	Labels     []string
	Times      []time.Time
	// Avg is the average of the readings in the bucket, or what Across makes of the averages. Min and Max are the smallest and
	// the largest reading of all that was combined; for a Sum, the sums of those.
	Avg, Min, Max []float64
}

// Selection is the part of a range query that one statement answers: the metrics of one family.
type Selection struct {
	Family  *catalogue.Family
	Metrics []*catalogue.Metric
	query   RangeQuery
}

// bucketOf is the start of the bucket that a time of the range is in.
func (q RangeQuery) bucketOf(t time.Time) time.Time {
	if len(q.Edges) > 0 {
		later := sort.Search(len(q.Edges), func(i int) bool { return q.Edges[i].After(t) })
		return q.Edges[max(later-1, 0)]
	}
	millis := t.UnixMilli()
	return time.UnixMilli(millis - millis%q.Step.Milliseconds()).UTC()
}

// WithParts returns the query with parts: what none stand for, where it has none.
func (q RangeQuery) WithParts() RangeQuery {
	if len(q.Parts) == 0 {
		q.Parts = []Part{{Raw, q.From, q.To}}
	}
	return q
}

// Selections groups the query's metrics by family, in the order in which they are named, each metric once.
func (q RangeQuery) Selections() []Selection {
	var selections []Selection
	place := map[*catalogue.Family]int{}
	seen := map[*catalogue.Metric]bool{}
	q = q.WithParts()
	for _, metric := range q.Metrics {
		if seen[metric] {
			continue
		}
		seen[metric] = true
		i, ok := place[metric.Family]
		if !ok {
			i = len(selections)
			place[metric.Family] = i
			selections = append(selections, Selection{Family: metric.Family, query: q})
		}
		selections[i].Metrics = append(selections[i].Metrics, metric)
	}
	return selections
}

// labels are the names of those labels that tell the selection's series apart.
func (s Selection) labels() []string {
	var names []string
	for _, label := range s.Family.Labels {
		if s.query.Across == nil || slices.Contains(s.query.Across.By, label.Name) {
			names = append(names, label.Name)
		}
	}
	return names
}

// CollectLabels reads the rows of LabelsSQL. It returns ErrTooManySeries when there are more than the query allows.
func (s Selection) CollectLabels(rows ResultRows) ([]string, error) {
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("scan labels of %s: %w", s.Family.Table, err)
		}
		if all = append(all, text); len(all) > s.query.MaxSeries {
			return nil, fmt.Errorf("%w: over %d series of %s", ErrTooManySeries, s.query.MaxSeries, s.query.Custom)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read labels of %s: %w", s.Family.Table, err)
	}
	return all, nil
}

// Collect reads the rows of the selection's statement into series, in the order of the selection's metrics, then of
// hosts or groups, then of labels. It returns ErrTooManyRows or ErrTooManySeries when there are more than the query allows.
func (s Selection) Collect(rows ResultRows) ([]Series, error) {
	var (
		bucket, key, lastKey int64
		names                = s.labels()
		labels               = make([]string, len(names))
		values               = make([]*float64, 3*len(s.Metrics))
		dest                 = []any{&bucket, &key}
		// One slice of series a metric, as rows of all its instances come one instance after the other.
		found    = make([][]Series, len(s.Metrics))
		instance []string
		count    int
	)
	for i := range labels {
		dest = append(dest, &labels[i])
	}
	for i := range values {
		dest = append(dest, &values[i])
	}
	for rows.Next() {
		if count++; count > s.query.MaxRows {
			return nil, fmt.Errorf("%w: over %d rows of %s", ErrTooManyRows, s.query.MaxRows, s.Family.Name)
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("scan %s: %w", s.Family.Table, err)
		}
		if count == 1 || key != lastKey || !slices.Equal(instance, labels) {
			lastKey, instance = key, slices.Clone(labels)
			for i, metric := range s.Metrics {
				one := Series{Metric: metric, LabelNames: names, Labels: instance}
				if s.query.Across == nil {
					one.Host = HostID(key)
				} else {
					one.Group = int32(key)
				}
				found[i] = append(found[i], one)
			}
			if have := len(found[0]) * len(s.Metrics); s.query.MaxSeries > 0 && have > s.query.MaxSeries {
				return nil, fmt.Errorf("%w: over %d series of %s", ErrTooManySeries, s.query.MaxSeries, s.Family.Name)
			}
		}
		at := time.UnixMilli(bucket).UTC()
		for i := range s.Metrics {
			if values[3*i] == nil {
				continue
			}
			series := &found[i][len(found[i])-1]
			series.Times = append(series.Times, at)
			series.Avg = append(series.Avg, *values[3*i])
			series.Min = append(series.Min, *values[3*i+1])
			series.Max = append(series.Max, *values[3*i+2])
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Family.Table, err)
	}
	var all []Series
	for _, ofMetric := range found {
		for _, series := range ofMetric {
			if len(series.Times) > 0 {
				all = append(all, series)
			}
		}
	}
	return all, nil
}

package storage

import (
	"fmt"
	"strings"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Selection is the part of a range query that one statement answers: the metrics of one family.
type Selection struct {
	Family  *catalogue.Family
	Metrics []*catalogue.Metric
}

// Selections groups the query's metrics by family, in the order in which they are named, each metric once.
func (q RangeQuery) Selections() []Selection {
	var selections []Selection
	place := map[*catalogue.Family]int{}
	seen := map[*catalogue.Metric]bool{}
	for _, metric := range q.Metrics {
		if seen[metric] {
			continue
		}
		seen[metric] = true
		i, ok := place[metric.Family]
		if !ok {
			i = len(selections)
			place[metric.Family] = i
			selections = append(selections, Selection{Family: metric.Family})
		}
		selections[i].Metrics = append(selections[i].Metrics, metric)
	}
	return selections
}

// SQL returns the statement that answers the selection. bucket is the driver's expression for the start of a row's
// bucket in Unix milliseconds; the statement's parameters are, in order, those of bucket ($1), the host ($2), the
// start ($3), the end ($4) and the largest number of rows ($5). Every name in it comes from the catalogue.
func (s Selection) SQL(bucket string) string {
	var sql, labels strings.Builder
	for _, label := range s.Family.Labels {
		labels.WriteString(", " + label.Name)
	}
	fmt.Fprintf(&sql, "SELECT %s AS bucket%s", bucket, labels.String())
	for _, metric := range s.Metrics {
		value := "CAST(" + metric.Column + " AS double precision)"
		fmt.Fprintf(&sql, ", avg(%s), min(%s), max(%s)", value, value, value)
	}
	fmt.Fprintf(&sql, " FROM %s WHERE host_id = $2 AND time >= $3 AND time < $4", s.Family.Table)
	fmt.Fprintf(&sql, " GROUP BY bucket%s ORDER BY %sbucket LIMIT $5", labels.String(), strings.TrimPrefix(labels.String()+", ", ", "))
	return sql.String()
}

// ResultRows is what both drivers' result sets have in common.
type ResultRows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// Collect reads the rows of the selection's statement into series, in the order of the selection's metrics, then of
// the labels. It returns ErrTooManyRows when there are more than maxRows; the statement's limit should be one more.
func (s Selection) Collect(rows ResultRows, maxRows int) ([]Series, error) {
	var (
		bucket int64
		labels = make([]string, len(s.Family.Labels))
		values = make([]*float64, 3*len(s.Metrics))
		dest   = []any{&bucket}
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
		if count++; count > maxRows {
			return nil, fmt.Errorf("%w: over %d rows of %s", ErrTooManyRows, maxRows, s.Family.Name)
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("scan %s: %w", s.Family.Table, err)
		}
		if instance == nil || !equal(instance, labels) {
			instance = append([]string{}, labels...)
			for i, metric := range s.Metrics {
				found[i] = append(found[i], Series{Metric: metric, Labels: instance})
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

// CollectQuarantine reads rows of received_at in Unix milliseconds, host_id, epoch, seq, reason and sample.
func CollectQuarantine(rows ResultRows) ([]Quarantined, error) {
	var all []Quarantined
	for rows.Next() {
		var (
			one                  Quarantined
			received, epoch, seq int64
			wire                 []byte
		)
		if err := rows.Scan(&received, &one.Host, &epoch, &seq, &one.Reason, &wire); err != nil {
			return nil, fmt.Errorf("scan a rejected sample: %w", err)
		}
		one.ReceivedAt, one.Epoch, one.Seq, one.Wire = time.UnixMilli(received).UTC(), uint64(epoch), uint64(seq), string(wire)
		all = append(all, one)
	}
	return all, rows.Err()
}

// CollectGaps reads rows of a gap's start, end, reason and number of samples.
func CollectGaps(rows ResultRows) ([]*gohubv1.Gap, error) {
	var gaps []*gohubv1.Gap
	for rows.Next() {
		gap := &gohubv1.Gap{}
		if err := rows.Scan(&gap.FromUnixMillis, &gap.ToUnixMillis, (*int32)(&gap.Reason), &gap.Samples); err != nil {
			return nil, fmt.Errorf("scan a gap: %w", err)
		}
		gaps = append(gaps, gap)
	}
	return gaps, rows.Err()
}

func equal(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

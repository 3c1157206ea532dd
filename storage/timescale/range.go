package timescale

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gohub-io/gohub/storage"
)

var rangeDialect = storage.RangeDialect{
	Placeholder: func(n int) string { return "$" + strconv.Itoa(n) },
	Time:        func(t time.Time) any { return t },
	Width:       func(width time.Duration) any { return width },
	Hosts:       func(hosts []storage.HostID) any { return integers(hosts) },
	Pairs:       func(hosts []storage.HostID, groups []int32) []any { return []any{integers(hosts), groups} },
	Times:       func(times []time.Time) any { return times },
	// Buckets are counted from the Unix epoch, as SQLite's are; time_bucket by itself would begin at a Monday in 2000.
	Bucket: func(width string) string { return "time_bucket(" + width + "::interval, time, TIMESTAMPTZ 'epoch')" },
	BucketOf: func(times string) string {
		return "(" + times + "::timestamptz[])[width_bucket(time, " + times + "::timestamptz[])]"
	},
	Instant:    func(time string) string { return time + "::timestamptz" },
	Millis:     func(bucket string) string { return "(extract(epoch FROM " + bucket + ") * 1000)::bigint" },
	AmongHosts: func(hosts string) string { return "host_id = ANY (" + hosts + "::integer[])" },
	PairsTable: func(pairs []string) string {
		return "unnest(" + pairs[0] + "::integer[], " + pairs[1] + "::integer[]) AS groups (host_id, grp)"
	},
	Texts: func(texts []storage.Relabelling, parts int) []any {
		from, to := make([]string, len(texts)), make([]string, len(texts))
		own := make([][]string, len(texts))
		for i, text := range texts {
			from[i], to[i], own[i] = text.From, text.To, text.Parts
		}
		return append([]any{from, to}, partColumns(own, parts)...)
	},
	TextsTable: func(texts []string, parts int) string {
		return "unnest(" + strings.Join(texts, "::text[], ") + "::text[]) AS texts (labels, becomes" + partNames("own", parts) + ")"
	},
	HostParts: func(hosts []storage.HostID, all [][]string, parts int) []any {
		return append([]any{integers(hosts)}, partColumns(all, parts)...)
	},
	HostPartsTable: func(all []string, parts int) string {
		return "unnest(" + all[0] + "::integer[], " + strings.Join(all[1:], "::text[], ") + "::text[]) AS host_parts (host_id" + partNames("part", parts) + ")"
	},
	Quantile: func(expression, quantile string) string {
		return "percentile_cont(" + quantile + "::float8) WITHIN GROUP (ORDER BY " + expression + ")"
	},
	Collate: ` COLLATE "C"`,
}

// partColumns makes of rows of parts their columns.
func partColumns(rows [][]string, parts int) []any {
	columns := make([]any, parts)
	for i := range columns {
		column := make([]string, len(rows))
		for j, row := range rows {
			column[j] = row[i]
		}
		columns[i] = column
	}
	return columns
}

func partNames(name string, parts int) string {
	var names strings.Builder
	for i := range parts {
		names.WriteString(", " + name + strconv.Itoa(i))
	}
	return names.String()
}

func integers(hosts []storage.HostID) []int32 {
	all := make([]int32, len(hosts))
	for i, host := range hosts {
		all[i] = int32(host)
	}
	return all
}

// Range implements storage.Store.
func (s *Store) Range(ctx context.Context, q storage.RangeQuery) ([]storage.Series, error) {
	var all []storage.Series
	for _, selection := range q.Selections() {
		series, err := s.selectRange(ctx, selection)
		if err != nil {
			return nil, fmt.Errorf("range of %s: %w", selection.Family.Name, err)
		}
		all = append(all, series...)
	}
	return all, nil
}

// CustomLabels implements storage.Store.
func (s *Store) CustomLabels(ctx context.Context, q storage.RangeQuery) ([]string, error) {
	selection := q.Selections()[0]
	sql, args := selection.LabelsSQL(rangeDialect)
	rows, err := s.reads.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list the labels of %s: %w", q.Custom, classify(err))
	}
	defer rows.Close()
	all, err := selection.CollectLabels(rows)
	if errors.Is(err, storage.ErrTooManySeries) {
		return nil, err
	}
	return all, classify(err)
}

func (s *Store) selectRange(ctx context.Context, selection storage.Selection) ([]storage.Series, error) {
	sql, args := selection.SQL(rangeDialect)
	rows, err := s.reads.Query(ctx, sql, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	series, err := selection.Collect(rows)
	if errors.Is(err, storage.ErrTooManyRows) || errors.Is(err, storage.ErrTooManySeries) {
		return nil, err
	}
	return series, classify(err)
}

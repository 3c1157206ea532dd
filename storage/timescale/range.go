package timescale

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	Millis:     func(bucket string) string { return "(extract(epoch FROM " + bucket + ") * 1000)::bigint" },
	AmongHosts: func(hosts string) string { return "host_id = ANY (" + hosts + "::integer[])" },
	PairsTable: func(pairs []string) string {
		return "unnest(" + pairs[0] + "::integer[], " + pairs[1] + "::integer[]) AS groups (host_id, grp)"
	},
	Quantile: func(expression, quantile string) string {
		return "percentile_cont(" + quantile + "::float8) WITHIN GROUP (ORDER BY " + expression + ")"
	},
	Collate: ` COLLATE "C"`,
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

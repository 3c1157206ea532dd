package timescale

import (
	"context"
	"fmt"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// RollupWatch implements storage.Store.
func (s *Store) RollupWatch() *storage.RollupWatch { return s.watch }

// backlog reads what is left to roll up, by the index of each host.
func (s *Store) backlog(ctx context.Context) (left storage.Backlog, err error) {
	if left.Coverage, err = s.Coverage(ctx); err != nil {
		return left, err
	}
	var oldest, newest *time.Time
	const end = " LEFT JOIN LATERAL (SELECT time FROM %s AS s WHERE s.host_id = hosts.host_id AND time >= $1 ORDER BY time %s LIMIT 1) AS %s ON true"
	table := catalogue.Host().Table
	err = s.reads.QueryRow(ctx, "SELECT min(oldest.time), max(newest.time) FROM hosts"+
		fmt.Sprintf(end, table, "ASC", "oldest")+fmt.Sprintf(end, table, "DESC", "newest"), storage.BacklogSince(left.Coverage)).Scan(&oldest, &newest)
	if err != nil {
		return left, classify(err)
	}
	if newest != nil {
		left.Oldest, left.Newest = oldest.UTC(), newest.UTC()
	}
	return left, nil
}

// Coverage implements storage.Store.
func (s *Store) Coverage(ctx context.Context) ([]storage.Coverage, error) {
	coverage := storage.NewCoverage(*s.options.Retention, s.options.Now())
	rows, err := s.small.Query(ctx, "SELECT resolution, until FROM rollup_progress WHERE isfinite(until)")
	if err != nil {
		return nil, fmt.Errorf("read how far rollups are: %w", classify(err))
	}
	var resolution int
	var until time.Time
	_, err = pgxv5.ForEachRow(rows, []any{&resolution, &until}, func() error {
		coverage[resolution].Until = until.UTC()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read how far rollups are: %w", classify(err))
	}
	return coverage, nil
}

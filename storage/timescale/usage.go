package timescale

import (
	"context"
	"fmt"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/storage"
)

// Usage implements storage.Store. The times are those of chunks, which begin before what is in them and end after it, but for the
// first host's beginning and the clock.
func (s *Store) Usage(ctx context.Context) (usage storage.Usage, err error) {
	describe := func(err error) error { return fmt.Errorf("tell what the database takes: %w", classify(err)) }
	var begin *time.Time
	err = s.reads.QueryRow(ctx, "SELECT pg_database_size(current_database()), (SELECT min(first_seen) FROM hosts)").Scan(&usage.TotalBytes, &begin)
	if err != nil {
		return usage, describe(err)
	}
	tables := map[string]storage.Table{}
	var names []string
	for _, table := range storage.Tables(storage.Resolutions[:]...) {
		names = append(names, storedTable(table))
		tables[storedTable(table)] = table
	}
	// A relation is one hypertable, or, where it is a view of generations, several, most of them of continuous aggregates.
	rows, err := s.reads.Query(ctx, `
		SELECT relation, sum(bytes)::bigint, min(oldest), max(newest) FROM (
			SELECT regexp_replace(name, '_g[0-9]+$', '') AS relation,
			       coalesce(hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass), 0) AS bytes,
			       (SELECT min(range_start) FROM timescaledb_information.chunks AS c WHERE (c.hypertable_schema, c.hypertable_name) = (h.hypertable_schema, h.hypertable_name)) AS oldest,
			       (SELECT max(range_end) FROM timescaledb_information.chunks AS c WHERE (c.hypertable_schema, c.hypertable_name) = (h.hypertable_schema, h.hypertable_name)) AS newest
			FROM (
				SELECT hypertable_name AS name, hypertable_schema, hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()
				UNION ALL
				SELECT view_name, materialization_hypertable_schema, materialization_hypertable_name FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()
			) AS h (name, hypertable_schema, hypertable_name)) AS each
		WHERE relation = ANY($1) GROUP BY relation ORDER BY array_position($1, relation)`, names)
	if err != nil {
		return usage, describe(err)
	}
	var (
		name           string
		bytes          int64
		oldest, newest *time.Time
		now            = s.options.Now().UTC()
	)
	_, err = pgxv5.ForEachRow(rows, []any{&name, &bytes, &oldest, &newest}, func() error {
		table := tables[name]
		one := storage.RelationUsage{Table: table, Bytes: bytes, Keep: s.options.Retention.Of(table.Resolution)}
		if oldest != nil && newest != nil && oldest.Before(now) {
			one.Oldest, one.Newest = oldest.UTC(), newest.UTC()
			if begin != nil && one.Oldest.Before(*begin) && begin.Before(now) {
				one.Oldest = begin.UTC()
			}
			if one.Newest.After(now) {
				one.Newest = now
			}
		}
		usage.Relations = append(usage.Relations, one)
		return nil
	})
	if err != nil {
		return usage, describe(err)
	}
	return usage, nil
}

package timescale

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// errNeedsCommunity: the database was made, or moved to, with continuous aggregates.
var errNeedsCommunity = errors.New("the rollups of this database are continuous aggregates, which TimescaleDB's Apache edition can not refresh; set timescaledb.license to timescale on a server that has the Community edition")

// column is a column of a relation with its type.
type column struct{ name, of string }

// columnsOf reads those of a relation in their order; none if there is no such relation.
func columnsOf(ctx context.Context, tx pgxv5.Tx, relation string) ([]column, error) {
	rows, err := tx.Query(ctx, `
		SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, relation)
	if err != nil {
		return nil, fmt.Errorf("read the columns of %s: %w", relation, err)
	}
	var columns []column
	var one column
	_, err = pgxv5.ForEachRow(rows, []any{&one.name, &one.of}, func() error {
		columns = append(columns, one)
		return nil
	})
	return columns, err
}

// catalogued are the columns that a rollup of the family has by the catalogue.
func catalogued(family *catalogue.Family) []column {
	var columns []column
	for _, definition := range dialect.Columns(family) {
		name, of, _ := strings.Cut(definition, " ")
		of, _, _ = strings.Cut(of, " NOT NULL")
		columns = append(columns, column{name, of})
	}
	return columns
}

// makeAggregates makes sure that a family's newest generation has all of its metrics, and both columns of what is packed, and makes a
// new one where not. A new one counts from the start of the day on, and what was rolled up since then is rolled up again: until it is,
// answers are read from samples. The day is that of the last rollup where the clock is before it: of what was rolled up earlier,
// samples may be gone.
func (s *Store) makeAggregates(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, some []generation) error {
	newest := some[len(some)-1]
	next, from := 1, time.Time{}
	if newest.number != unnumbered {
		there, err := columnsOf(ctx, tx, newest.relation(family, storage.Minute))
		if err != nil {
			return err
		}
		missing := func(c column) bool {
			return !slices.ContainsFunc(there, func(other column) bool { return other.name == c.name })
		}
		if !newest.isTable() && newest.packed == family.Packs() && !slices.ContainsFunc(catalogued(family), missing) {
			return nil
		}
		now := s.options.Now()
		var until time.Time
		if err := tx.QueryRow(ctx, "SELECT greatest(until, '0001-01-01Z') FROM rollup_progress WHERE resolution = 1").Scan(&until); err != nil {
			return err
		}
		if until.After(now) {
			now = until
		}
		next, from = newest.number+1, storage.Day.Floor(now)
		if from.Before(newest.from) { // a clock that was ahead
			from = newest.from
		}
	}
	added := generation{number: next, from: from, packed: family.Packs()}
	if err := addGeneration(ctx, tx, family, added); err != nil {
		return err
	}
	if newest.number == unnumbered {
		some = nil
	} else {
		some = slices.Clone(some)
		some[len(some)-1].to = from
	}
	for _, r := range storage.Resolutions[1:] {
		relation := added.relation(family, r)
		if err := makeAggregate(ctx, tx, family, r, added); err != nil {
			return fmt.Errorf("make %s: %w", relation, err)
		}
		if err := compress(ctx, tx, family, aggregate, relation, 0); err != nil {
			return err
		}
		if err := makeView(ctx, tx, family, r, append(some, added)); err != nil {
			return fmt.Errorf("make the view %s: %w", r.Relation(family), err)
		}
	}
	return nil
}

// addGeneration tells of a generation, and has what is rolled up of its time rolled up again.
func addGeneration(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, g generation) error {
	var from any = "-infinity"
	if !g.from.IsZero() {
		from = g.from.Format(time.RFC3339)
	}
	_, err := tx.Exec(ctx, "INSERT INTO rollup_generations (family, generation, from_time, packed) VALUES ($1, $2, $3::text::timestamptz, $4)", family.Name, g.number, from, g.packed)
	if err != nil {
		return fmt.Errorf("note generation %d of %s: %w", g.number, family.Name, err)
	}
	_, err = tx.Exec(ctx, "UPDATE rollup_progress SET generations = generations + 1")
	if err == nil && !g.from.IsZero() {
		_, err = tx.Exec(ctx, "UPDATE rollup_progress SET until = least(until, $1)", g.from)
	}
	if err != nil {
		return fmt.Errorf("take rollups back to the start of generation %d of %s: %w", g.number, family.Name, err)
	}
	return nil
}

func makeAggregate(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, r storage.Resolution, g generation) error {
	relation, finer := g.relation(family, r), family.StoredTable()
	if r > storage.Minute {
		finer = g.relation(family, r.Finer())
	}
	// Only what is rolled up is seen: the tail is read from finer rows by the planner, which knows where it begins.
	_, err := tx.Exec(ctx, "CREATE MATERIALIZED VIEW "+relation+
		" WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS "+
		packedDialect.SelectFrom(family, r, finer)+" WITH NO DATA")
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		SELECT set_chunk_time_interval(format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass, $2::text::interval)
		FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema() AND view_name = $1`, relation, chunkOf[r])
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "CREATE INDEX ON "+relation+" (host_id, time DESC)")
	return err
}

// makeView makes or replaces the view of a family's generations. What depends on it stays: its columns keep their order, and
// those of new metrics are appended.
func makeView(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, r storage.Resolution, some []generation) error {
	columns, err := columnsOf(ctx, tx, r.Relation(family))
	if err != nil {
		return err
	}
	for _, c := range catalogued(family) {
		if !slices.ContainsFunc(columns, func(other column) bool { return other.name == c.name }) {
			columns = append(columns, c)
		}
	}
	var parts []string
	for _, g := range some {
		if !g.from.IsZero() && g.from.Equal(g.to) {
			continue
		}
		there, err := columnsOf(ctx, tx, g.relation(family, r))
		if err != nil {
			return err
		}
		var values, where []string
		for _, c := range columns {
			at := slices.IndexFunc(there, func(other column) bool { return other.name == c.name })
			switch {
			case at >= 0 && there[at].of == "bigint" && c.of == "integer": // a count, as it is in a table
				values = append(values, c.name+"::integer AS "+c.name)
			case at >= 0:
				values = append(values, c.name)
			case strings.HasSuffix(c.name, "_count"):
				values = append(values, "0 AS "+c.name)
			default:
				values = append(values, "NULL::"+c.of+" AS "+c.name)
			}
		}
		if !g.from.IsZero() {
			where = append(where, "time >= '"+g.from.Format(time.RFC3339)+"'")
		}
		if !g.to.IsZero() {
			where = append(where, "time < '"+g.to.Format(time.RFC3339)+"'")
		}
		part := "SELECT " + strings.Join(values, ", ") + " FROM " + g.relation(family, r)
		if len(where) > 0 {
			part += " WHERE " + strings.Join(where, " AND ")
		}
		parts = append(parts, part)
	}
	_, err = tx.Exec(ctx, "CREATE OR REPLACE VIEW "+r.Relation(family)+" AS "+strings.Join(parts, " UNION ALL "))
	return err
}

package timescale

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// The advisory locks of rollups: the first number is GoHub's, the second says which.
const (
	locks = 7148601
	// lockClaim is held shared by every flush from when it asks what is late until its commit (migration 3), and taken
	// for an instant by who has claimed time.
	lockClaim = 1
	// lockRollUp is held by the one server that rolls up, lockSchema while tables are made.
	lockRollUp = 2
	lockSchema = 3
	// lockHosts is held by who lets new agents in.
	lockHosts = 5
)

var dialect = storage.RollupDialect{
	Bucket: func(r storage.Resolution) string {
		return fmt.Sprintf("time_bucket('%d seconds', time)", int(r.Step().Seconds()))
	},
	Last: func(column string) string {
		return fmt.Sprintf("last(%s, time) FILTER (WHERE %s IS NOT NULL)", column, column)
	},
	Time: "timestamptz", Integer: "integer", Text: "text", Double: "double precision",
	Metric: func(kind catalogue.Type) string {
		return [...]string{catalogue.Float: "real", catalogue.Uint32: "integer", catalogue.Uint64: "bigint", catalogue.Double: "double precision"}[kind]
	},
}

// chunkOf is how much time a rollup's chunk has: a day of minutes of thousands of hosts is millions of rows.
var chunkOf = map[storage.Resolution]string{storage.Minute: "1 day", storage.Hour: "30 days", storage.Day: "360 days"}

// makeRollups makes the relations of all rollups, and what metrics that are new need. A database keeps the kind of rollups that it
// was made with; a new one has continuous aggregates where the edition has them.
func (s *Store) makeRollups(ctx context.Context) error {
	return pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", locks, lockSchema); err != nil {
			return err
		}
		all, err := readGenerations(ctx, tx)
		if err != nil {
			return err
		}
		var community, tables bool
		err = tx.QueryRow(ctx, "SELECT current_setting('timescaledb.license') = 'timescale', to_regclass($1) IS NOT NULL",
			storage.Minute.Relation(catalogue.Host())).Scan(&community, &tables)
		if err != nil {
			return err
		}
		if all.numbered > 0 && !community {
			return errNeedsCommunity
		}
		aggregates := all.numbered > 0 || community && !tables && !s.plain
		for _, family := range catalogue.Families() {
			if err := makeSamplesView(ctx, tx, family); err != nil {
				return fmt.Errorf("make the view %s: %w", family.Table, err)
			}
			if !community {
				continue
			}
			if err := compress(ctx, tx, family, table, family.StoredTable(), compressRaw); err != nil {
				return err
			}
		}
		for family, some := range all.of {
			if aggregates {
				if err := s.makeAggregates(ctx, tx, family, some); err != nil {
					return err
				}
				continue
			}
			for _, r := range storage.Resolutions[1:] {
				if err := makeRollup(ctx, tx, family, r); err != nil {
					return fmt.Errorf("make %s: %w", r.Relation(family), err)
				}
			}
		}
		all, err = readGenerations(ctx, tx)
		s.plainBefore = all.plainBefore()
		return err
	})
}

func makeRollup(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, r storage.Resolution) error {
	relation := r.Relation(family)
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", relation).Scan(&there); err != nil {
		return err
	}
	if there {
		var columns []string
		for _, metric := range family.Metrics {
			for _, column := range dialect.MetricColumns(metric) {
				columns = append(columns, "ADD COLUMN IF NOT EXISTS "+column)
			}
		}
		var missing int
		err := tx.QueryRow(ctx, "SELECT $2 - count(*) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
			relation, len(dialect.Columns(family))).Scan(&missing)
		if err != nil || missing <= 0 {
			return err
		}
		_, err = tx.Exec(ctx, "ALTER TABLE "+relation+" "+strings.Join(columns, ", "))
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE "+relation+" ("+strings.Join(dialect.Columns(family), ", ")+")"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "SELECT create_hypertable('"+relation+"', 'time', chunk_time_interval => interval '"+chunkOf[r]+"', create_default_indexes => false)")
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "CREATE INDEX "+relation+"_host_time ON "+relation+" (host_id, time DESC)")
	return err
}

// RollUp rolls up all that can be by now, makes anew what came late, and drops what retention does not keep. One server does so
// at a time: where another is at it, there is nothing to do. What is interrupted goes on the next time: every step is a
// transaction that moves the progress with the rows.
func (s *Store) RollUp(ctx context.Context) error {
	return s.watch.Round(ctx, s.rollUp(ctx, false), s.backlog)
}

// rollUp is RollUp, or Settle.
func (s *Store) rollUp(ctx context.Context, settle bool) error {
	connection, err := s.reads.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("roll up: %w", classify(err))
	}
	defer connection.Release()
	alone := settle
	if settle {
		_, err = connection.Exec(ctx, "SELECT set_config('statement_timeout', '0', false), pg_advisory_lock($1, $2)", locks, lockRollUp)
	} else {
		err = connection.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", locks, lockRollUp).Scan(&alone)
	}
	if err != nil {
		return fmt.Errorf("roll up: %w", classify(err))
	}
	if !alone {
		return nil
	}
	roller := &roller{connection: connection.Conn(), judge: s.judgeClock, retention: *s.options.Retention}
	err = roller.all(ctx)
	switch {
	case errors.Is(err, errGenerations):
		err = nil // the next one has the new
	case err == nil && settle:
		err = roller.settle(ctx)
	}
	// The lock is the session's. Where it can not be given back the session is broken, and must end.
	if _, failure := connection.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1, $2)", locks, lockRollUp); failure != nil {
		err = errors.Join(err, failure, connection.Conn().Close(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return fmt.Errorf("roll up: %w", classify(err))
	}
	return nil
}

// roller is one RollUp.
type roller struct {
	connection *pgxv5.Conn
	// judge tells the time to go by.
	judge     func(context.Context, *pgxv5.Conn) (time.Time, error)
	retention storage.Retention
	now       time.Time
	// until is how far each resolution is.
	until [len(storage.Resolutions)]time.Time
	generations
	// resume is from when on each resolution may be made: of the time before, finer rows are gone.
	resume [len(storage.Resolutions)]time.Time
}

// errGenerations: another server has made a generation since this one read which there are.
var errGenerations = errors.New("the generations of rollups have changed")

func (r *roller) all(ctx context.Context) error {
	// What is made must not depend on a plan that reads a whole chunk for minutes of it: the index finds those of each host.
	if _, err := r.connection.Exec(ctx, "SET enable_seqscan = off; SET statement_timeout = '10min'"); err != nil {
		return err
	}
	defer r.connection.Exec(context.WithoutCancel(ctx), "RESET enable_seqscan; RESET statement_timeout") //nolint:errcheck // the session is broken then, and ends
	var err error
	if r.now, err = r.judge(ctx, r.connection); err != nil {
		return fmt.Errorf("judge the clock: %w", err)
	}
	if r.generations, err = readGenerations(ctx, r.connection); err != nil {
		return err
	}
	for _, resolution := range storage.Resolutions[1:] {
		var gone time.Time
		err := r.connection.QueryRow(ctx, "SELECT greatest(gone, '0001-01-01Z') FROM rollup_progress WHERE resolution = $1", resolution).Scan(&gone)
		if err != nil {
			return err
		}
		r.resume[resolution] = storage.Ceil(resolution, r.retention.Since(resolution.Finer(), r.now))
		if gone = storage.Ceil(resolution, gone); gone.After(r.resume[resolution]) {
			r.resume[resolution] = gone
		}
		if err := r.advance(ctx, resolution); err != nil {
			return fmt.Errorf("to %s: %w", resolution, err)
		}
		if err := r.late(ctx, resolution); err != nil {
			return fmt.Errorf("late rows to %s: %w", resolution, err)
		}
	}
	if err := r.drop(ctx); err != nil {
		return err
	}
	return r.compressOld(ctx)
}

// settle has those resolutions that were never made, for want of samples, count as made up to where they would be.
func (r *roller) settle(ctx context.Context) error {
	for _, resolution := range storage.Resolutions[1:] {
		_, err := r.connection.Exec(ctx, "UPDATE rollup_progress SET until = $2, claimed = greatest(claimed, $2) WHERE resolution = $1 AND NOT isfinite(until)",
			resolution, r.until[resolution])
		if err != nil {
			return fmt.Errorf("settle %s: %w", resolution, err)
		}
	}
	return nil
}

// advance rolls up what is complete at the finer resolution.
func (r *roller) advance(ctx context.Context, resolution storage.Resolution) error {
	target := resolution.Floor(r.until[resolution.Finer()])
	if resolution == storage.Minute {
		target = resolution.Floor(r.now.Add(-storage.RollupLag))
	}
	until, err := r.begin(ctx, resolution, target)
	if err != nil {
		return err
	}
	var again bool
	if until.Before(target) && r.of[catalogue.Host()][0].isTable() {
		if again, err = r.madeFrom(ctx, resolution, until); err != nil {
			return err
		}
	}
	span := storage.RollupStep(resolution)
	for until.Before(target) {
		next := storage.Span{From: until, To: resolution.Floor(until.Add(span))}
		if next.To.After(target) {
			next.To = target
		}
		if err := r.refresh(ctx, resolution, next); err != nil {
			return err
		}
		var rows int64
		err := pgxv5.BeginFunc(ctx, r.connection, func(tx pgxv5.Tx) (err error) {
			if rows, err = r.rollUp(ctx, tx, resolution, next, again); err != nil {
				return err
			}
			if rows == 0 {
				if next.To, err = r.skip(ctx, resolution, next.To, target); err != nil {
					return err
				}
			}
			tag, err := tx.Exec(ctx, "UPDATE rollup_progress SET until = $2 WHERE resolution = $1 AND generations = $3", resolution, next.To, r.numbered)
			if err == nil && tag.RowsAffected() == 0 {
				return errGenerations
			}
			return err
		})
		if err != nil {
			return err
		}
		until, span = next.To, storage.NextRollupStep(resolution, span, rows)
	}
	r.until[resolution] = until
	return nil
}

// begin returns where the resolution stands, after it has claimed the time up to target: what is appended from then on to a
// time before that is noted as late, and all that was appended without being noted is committed. So who reads the time now,
// or looks for the oldest there is, reads all of it.
func (r *roller) begin(ctx context.Context, resolution storage.Resolution, target time.Time) (until time.Time, err error) {
	if resolution == storage.Minute {
		if _, err := r.connection.Exec(ctx, "UPDATE rollup_progress SET claimed = $2 WHERE resolution = $1 AND claimed < $2", resolution, target); err != nil {
			return until, err
		}
		if _, err := r.connection.Exec(ctx, "SELECT pg_advisory_lock($1, $2), pg_advisory_unlock($1, $2)", locks, lockClaim); err != nil {
			return until, err
		}
	}
	err = r.connection.QueryRow(ctx, "SELECT until FROM rollup_progress WHERE resolution = $1 AND isfinite(until)", resolution).Scan(&until)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return r.oldest(ctx, resolution, target)
	}
	return until, err
}

// oldest is where a resolution begins that was never made: the start of the finer relations' oldest chunk.
func (r *roller) oldest(ctx context.Context, resolution storage.Resolution, target time.Time) (time.Time, error) {
	return r.nextChunk(ctx, resolution, time.Time{}, target)
}

// skip is from when on there may be something to roll up to a resolution, between from and target.
func (r *roller) skip(ctx context.Context, resolution storage.Resolution, from, target time.Time) (time.Time, error) {
	next, err := r.nextChunk(ctx, resolution, from, target)
	if next.Before(from) {
		return from, err
	}
	return next, err
}

// nextChunk is the start of the oldest chunk of the finer relations that has time after from, or target if that is before.
func (r *roller) nextChunk(ctx context.Context, resolution storage.Resolution, from, target time.Time) (time.Time, error) {
	var names []string
	for family, some := range r.of {
		if resolution == storage.Minute {
			names = append(names, family.StoredTable())
			continue
		}
		for _, g := range some {
			names = append(names, g.relation(family, resolution.Finer()))
		}
	}
	var oldest *time.Time
	err := r.connection.QueryRow(ctx, `
		SELECT min(range_start) FROM timescaledb_information.chunks
		WHERE range_end > $2 AND hypertable_name IN (
			SELECT unnest($1::text[]) UNION ALL
			SELECT materialization_hypertable_name FROM timescaledb_information.continuous_aggregates WHERE view_name = ANY($1))`, names, from).Scan(&oldest)
	if err != nil || oldest == nil || oldest.After(target) {
		return target, err
	}
	return resolution.Floor(*oldest), nil
}

// madeFrom tells whether a resolution has buckets from a time on, up to which it counts as rolled up: what was ahead of the clock was
// taken back. Every sample has a row of the host's, so that family's are asked for.
func (r *roller) madeFrom(ctx context.Context, resolution storage.Resolution, from time.Time) (made bool, err error) {
	err = r.connection.QueryRow(ctx, "SELECT EXISTS (SELECT FROM hosts CROSS JOIN LATERAL (SELECT FROM "+resolution.Relation(catalogue.Host())+
		" AS s WHERE s.host_id = hosts.host_id AND time >= $1 LIMIT 1) AS made)", from).Scan(&made)
	return made, err
}

// rollUp makes the buckets of a span, of all hosts, where they are in tables, and returns how many rows the span has. again: some may
// be there already.
func (r *roller) rollUp(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution, span storage.Span, again bool) (rows int64, err error) {
	const where = "time >= $1 AND time < $2 AND host_id = ANY(ARRAY(SELECT host_id FROM hosts))"
	for family, some := range r.of {
		for _, g := range some {
			part, counts := g.clip(span)
			if !counts {
				continue
			}
			relation := g.relation(family, resolution)
			if !g.isTable() {
				var count int64
				if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+relation+" WHERE time >= $1 AND time < $2", part.From, part.To).Scan(&count); err != nil {
					return rows, fmt.Errorf("count %s: %w", relation, err)
				}
				rows += count
				continue
			}
			if again {
				_, err := tx.Exec(ctx, "DELETE FROM "+relation+" WHERE time >= $1 AND time < $2 AND "+dialect.Remade(family, resolution, where), part.From, part.To)
				if err != nil {
					return rows, fmt.Errorf("from %s: %w", relation, err)
				}
			}
			tag, err := tx.Exec(ctx, "INSERT INTO "+relation+" ("+strings.Join(names(catalogued(family)), ", ")+") "+
				dialect.Select(family, resolution, where), part.From, part.To)
			if err != nil {
				return rows, fmt.Errorf("into %s: %w", relation, err)
			}
			rows += tag.RowsAffected()
		}
	}
	return rows, nil
}

// refresh makes the buckets of a span that are in continuous aggregates, as far as what they are made of changed. It can be
// repeated, and is no transaction: whoever moves the progress does so after it.
func (r *roller) refresh(ctx context.Context, resolution storage.Resolution, span storage.Span) error {
	for family, some := range r.of {
		for _, g := range some {
			part, counts := g.clip(span)
			if !counts || g.isTable() {
				continue
			}
			_, err := r.connection.Exec(ctx, "CALL refresh_continuous_aggregate('"+g.relation(family, resolution)+"', '"+
				part.From.Format(time.RFC3339)+"', '"+part.To.Format(time.RFC3339)+"')")
			if err != nil {
				return fmt.Errorf("refresh %s: %w", g.relation(family, resolution), err)
			}
		}
	}
	return nil
}

func names(columns []column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name
	}
	return all
}

// drop gives back what retention does not keep, chunk by chunk. Nothing is dropped that is not rolled up yet.
func (r *roller) drop(ctx context.Context) error {
	for _, resolution := range storage.Resolutions {
		since := r.retention.Since(resolution, r.now)
		if since.IsZero() {
			continue
		}
		if resolution != storage.Day && r.until[resolution+1].Before(since) {
			since = r.until[resolution+1]
		}
		if resolution != storage.Day {
			_, err := r.connection.Exec(ctx, "UPDATE rollup_progress SET gone = $2 WHERE resolution = $1 AND gone < $2", resolution+1, since)
			if err != nil {
				return fmt.Errorf("note what is to be dropped: %w", err)
			}
		}
		for _, relation := range r.relations(resolution) {
			if _, err := r.connection.Exec(ctx, "SELECT drop_chunks($1::regclass, older_than => $2::timestamptz)", relation, since); err != nil {
				return fmt.Errorf("drop what is old of %s: %w", relation, err)
			}
		}
	}
	return nil
}

// relations are the tables and continuous aggregates of a resolution.
func (r *roller) relations(resolution storage.Resolution) (all []string) {
	for _, family := range catalogue.Families() {
		if resolution == storage.Raw {
			all = append(all, family.StoredTable())
			continue
		}
		for _, g := range r.of[family] {
			all = append(all, g.relation(family, resolution))
		}
	}
	return all
}

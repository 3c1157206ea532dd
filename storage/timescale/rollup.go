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

// makeRollups makes the relations of all rollups, and the columns of metrics that are new.
func (s *Store) makeRollups(ctx context.Context) error {
	return pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", locks, lockSchema); err != nil {
			return err
		}
		for _, family := range catalogue.Families() {
			if !storage.RolledUp(family) {
				continue
			}
			for _, r := range storage.Resolutions[1:] {
				if err := makeRollup(ctx, tx, family, r); err != nil {
					return fmt.Errorf("make %s: %w", r.Relation(family), err)
				}
			}
		}
		return nil
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
func (s *Store) RollUp(ctx context.Context) error { return s.rollUp(ctx, false) }

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
	roller := &roller{connection: connection.Conn(), retention: s.options.Retention, now: s.options.Now().UTC()}
	if err = roller.all(ctx); err == nil && settle {
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
	retention  storage.Retention
	now        time.Time
	// until is how far each resolution is.
	until [len(storage.Resolutions)]time.Time
}

func (r *roller) all(ctx context.Context) error {
	// What is made must not depend on a plan that reads a whole chunk for minutes of it: the index finds those of each host.
	if _, err := r.connection.Exec(ctx, "SET enable_seqscan = off; SET statement_timeout = '10min'"); err != nil {
		return err
	}
	defer r.connection.Exec(context.WithoutCancel(ctx), "RESET enable_seqscan; RESET statement_timeout") //nolint:errcheck // the session is broken then, and ends
	for _, resolution := range storage.Resolutions[1:] {
		if err := r.advance(ctx, resolution); err != nil {
			return fmt.Errorf("to %s: %w", resolution, err)
		}
		if err := r.late(ctx, resolution); err != nil {
			return fmt.Errorf("late rows to %s: %w", resolution, err)
		}
	}
	return r.drop(ctx)
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
	span := storage.RollupStep(resolution)
	for until.Before(target) {
		next := storage.Span{From: until, To: resolution.Floor(until.Add(span))}
		if next.To.After(target) {
			next.To = target
		}
		var rows int64
		err := pgxv5.BeginFunc(ctx, r.connection, func(tx pgxv5.Tx) (err error) {
			if rows, err = rollUp(ctx, tx, resolution, next); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE rollup_progress SET until = $2 WHERE resolution = $1", resolution, next.To)
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
	var names []string
	for _, family := range catalogue.Families() {
		names = append(names, resolution.Finer().Relation(family))
	}
	var oldest *time.Time
	err := r.connection.QueryRow(ctx, "SELECT min(range_start) FROM timescaledb_information.chunks WHERE hypertable_name = ANY($1)", names).Scan(&oldest)
	if err != nil || oldest == nil || oldest.After(target) {
		return target, err
	}
	return resolution.Floor(*oldest), nil
}

// rollUp makes the buckets of a span, of all hosts, and returns how many rows they have.
func rollUp(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution, span storage.Span) (rows int64, err error) {
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		relation := resolution.Relation(family)
		tag, err := tx.Exec(ctx, "INSERT INTO "+relation+" "+
			dialect.Select(family, resolution, "time >= $1 AND time < $2 AND host_id = ANY(ARRAY(SELECT host_id FROM hosts))"), span.From, span.To)
		if err != nil {
			return rows, fmt.Errorf("into %s: %w", relation, err)
		}
		rows += tag.RowsAffected()
	}
	return rows, nil
}

// lateAtOnce is about how many stretches of hosts one transaction makes anew: each note of late rows is one, or, of a spool that
// was full for days, hundreds.
const lateAtOnce = 10_000

// late makes those buckets anew whose rows came after they had been made.
func (r *roller) late(ctx context.Context, resolution storage.Resolution) error {
	for {
		done := 0
		err := pgxv5.BeginFunc(ctx, r.connection, func(tx pgxv5.Tx) (err error) {
			done, err = r.someLate(ctx, tx, resolution)
			return err
		})
		if err != nil || done == 0 {
			return err
		}
	}
}

func (r *roller) someLate(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution) (done int, err error) {
	rows, err := tx.Query(ctx, `
		SELECT id, host_id, from_time, to_time FROM rollup_late WHERE resolution = $1 AND from_time < $2 ORDER BY id LIMIT $3`,
		resolution, r.until[resolution], lateAtOnce)
	if err != nil {
		return 0, err
	}
	var (
		ids       []int64
		late      []storage.Late
		id        int64
		host      int32
		span      storage.Span
		stretches time.Duration
	)
	_, err = pgxv5.ForEachRow(rows, []any{&id, &host, &span.From, &span.To}, func() error {
		if stretches > lateAtOnce {
			return nil
		}
		stretches += 1 + span.To.Sub(span.From)/storage.RollupStep(resolution)
		ids = append(ids, id)
		late = append(late, storage.Late{Host: storage.HostID(host), Span: span})
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	// Where the finer rows are gone, or are about to be, a bucket made anew would have less than it has.
	kept := storage.Ceil(resolution, r.retention.Since(resolution.Finer(), r.now))
	work := storage.Gather(late, storage.RollupStep(resolution), kept, r.until[resolution])
	if err := remake(ctx, tx, resolution, work); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, "DELETE FROM rollup_late WHERE id = ANY($1)", ids)
	return len(ids), err
}

// remake replaces buckets, and notes that they are late for the next coarser resolution.
func remake(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution, work []storage.LateWork) error {
	if len(work) == 0 {
		return nil
	}
	// One statement a family, however many stretches there are: to plan it takes longer than to make a bucket.
	const stretches = "unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS late (host, since, till)"
	var hosts []int32
	var since, till []time.Time
	for _, one := range work {
		for _, host := range one.Hosts {
			hosts, since, till = append(hosts, int32(host)), append(since, one.Span.From), append(till, one.Span.To)
		}
	}
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		relation := resolution.Relation(family)
		_, err := tx.Exec(ctx, "DELETE FROM "+relation+" USING "+stretches+" WHERE host_id = host AND time >= since AND time < till", hosts, since, till)
		if err != nil {
			return fmt.Errorf("from %s: %w", relation, err)
		}
		_, err = tx.Exec(ctx, "INSERT INTO "+relation+" SELECT made.* FROM "+stretches+" CROSS JOIN LATERAL ("+
			dialect.Select(family, resolution, "host_id = host AND time >= since AND time < till")+") AS made", hosts, since, till)
		if err != nil {
			return fmt.Errorf("into %s: %w", relation, err)
		}
	}
	if resolution == storage.Day {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
		SELECT resolution, host, since, till FROM `+stretches+`, rollup_progress WHERE resolution = $4 AND until > since`, hosts, since, till, resolution+1)
	return err
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
		for _, family := range catalogue.Families() {
			if resolution != storage.Raw && !storage.RolledUp(family) {
				continue
			}
			if _, err := r.connection.Exec(ctx, "SELECT drop_chunks($1::regclass, older_than => $2::timestamptz)", resolution.Relation(family), since); err != nil {
				return fmt.Errorf("drop what is old of %s: %w", resolution.Relation(family), err)
			}
		}
	}
	return nil
}

// Coverage implements storage.Store.
func (s *Store) Coverage(ctx context.Context) ([]storage.Coverage, error) {
	coverage := storage.NewCoverage(s.options.Retention, s.options.Now())
	rows, err := s.reads.Query(ctx, "SELECT resolution, until FROM rollup_progress WHERE isfinite(until)")
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

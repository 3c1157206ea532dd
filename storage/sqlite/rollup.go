package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

var dialect = storage.RollupDialect{
	Bucket: func(r storage.Resolution) string { return fmt.Sprintf("time - time %% %d", r.Step().Milliseconds()) },
	Last:   func(column string) string { return "gohub_last(" + column + ", time)" },
	Time:   "INTEGER", Integer: "INTEGER", Text: "TEXT", Double: "REAL",
	Metric: func(kind catalogue.Type) string {
		if kind == catalogue.Float || kind == catalogue.Double {
			return "REAL"
		}
		return "INTEGER"
	},
}

// makeRollups makes the tables of all rollups, and the columns of metrics that are new.
func makeRollups(ctx context.Context, tx *sql.Tx) error {
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
}

func makeRollup(ctx context.Context, tx *sql.Tx, family *catalogue.Family, r storage.Resolution) error {
	relation := r.Relation(family)
	there := map[string]bool{}
	rows, err := tx.QueryContext(ctx, "SELECT name FROM pragma_table_info($1)", relation)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		there[name] = true
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(there) == 0 {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE "+relation+" ("+strings.Join(dialect.Columns(family), ", ")+") STRICT"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "CREATE INDEX "+relation+"_host_time ON "+relation+" (host_id, time DESC)")
		return err
	}
	for _, column := range dialect.Columns(family) {
		if name, _, _ := strings.Cut(column, " "); !there[name] {
			if _, err := tx.ExecContext(ctx, "ALTER TABLE "+relation+" ADD COLUMN "+column); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteLate notes which rows of the batches are of a time that is rolled up already.
func noteLate(ctx context.Context, tx *sql.Tx, batches []*storage.Batch) error {
	var until int64
	if err := tx.QueryRowContext(ctx, "SELECT until FROM rollup_progress WHERE resolution = 1").Scan(&until); err != nil {
		return fmt.Errorf("read how far rollups are: %w", err)
	}
	for _, batch := range batches {
		oldest, newest := batch.Rows.Times()
		if batch.Rows.Count() == 0 || oldest >= until {
			continue
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO rollup_late (resolution, host_id, from_time, to_time) VALUES (1, $1, $2, $3)", batch.Host, oldest, newest+1)
		if err != nil {
			return fmt.Errorf("note late rows of host %d: %w", batch.Host, err)
		}
	}
	return nil
}

// RollUp implements storage.Store.
func (s *Store) RollUp(ctx context.Context) error {
	return s.watch.Round(ctx, s.rollUp(ctx), s.backlog)
}

// RollupWatch implements storage.Store.
func (s *Store) RollupWatch() *storage.RollupWatch { return s.watch }

// backlog reads what is left to roll up, by the index of each host.
func (s *Store) backlog(ctx context.Context) (left storage.Backlog, err error) {
	if left.Coverage, err = s.Coverage(ctx); err != nil {
		return left, err
	}
	var oldest, newest sql.NullInt64
	const end = "(SELECT %s(time) FROM %s AS s WHERE s.host_id = hosts.host_id AND time >= $1)"
	table := catalogue.Host().Table
	err = s.read.QueryRowContext(ctx, "SELECT min("+fmt.Sprintf(end, "min", table)+"), max("+fmt.Sprintf(end, "max", table)+") FROM hosts",
		storage.BacklogSince(left.Coverage).UnixMilli()).Scan(&oldest, &newest)
	if err != nil {
		return left, classify(err)
	}
	if newest.Valid {
		left.Oldest, left.Newest = time.UnixMilli(oldest.Int64).UTC(), time.UnixMilli(newest.Int64).UTC()
	}
	return left, nil
}

// rollUp is one round. Every step is a transaction that moves the progress with the rows. Flushes wait for it, as
// SQLite has one writer, so a step is short.
func (s *Store) rollUp(ctx context.Context) error {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	now, err := s.judgeClock(ctx)
	if err != nil {
		return fmt.Errorf("judge the clock: %w", err)
	}
	var until [len(storage.Resolutions)]time.Time
	for _, r := range storage.Resolutions[1:] {
		target := r.Floor(until[r.Finer()])
		if r == storage.Minute {
			target = r.Floor(now.Add(-storage.RollupLag))
		}
		var err error
		if until[r], err = s.advance(ctx, r, target); err != nil {
			return fmt.Errorf("roll up to %s: %w", r, err)
		}
		kept, err := s.kept(ctx, r, now)
		if err != nil {
			return fmt.Errorf("roll late rows up to %s: %w", r, err)
		}
		if err := s.late(ctx, r, kept, until[r]); err != nil {
			return fmt.Errorf("roll late rows up to %s: %w", r, err)
		}
	}
	for _, r := range storage.Resolutions {
		since := s.options.Retention.Since(r, now)
		if r != storage.Day && until[r+1].Before(since) {
			since = until[r+1]
		}
		if err := s.drop(ctx, r, since); err != nil {
			return fmt.Errorf("drop what is old at %s: %w", r, err)
		}
	}
	return nil
}

// advance rolls up what is complete at the finer resolution, up to target, and returns how far it is then.
func (s *Store) advance(ctx context.Context, r storage.Resolution, target time.Time) (until time.Time, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		var millis int64
		if err := tx.QueryRowContext(ctx, "SELECT until FROM rollup_progress WHERE resolution = $1", r).Scan(&millis); err != nil {
			return err
		}
		if millis == 0 { // it was never made
			var oldest sql.NullInt64
			if err := tx.QueryRowContext(ctx, "SELECT min(time) FROM "+r.Finer().Relation(catalogue.Host())).Scan(&oldest); err != nil {
				return err
			}
			if until = target; oldest.Valid && oldest.Int64 < target.UnixMilli() {
				until = r.Floor(time.UnixMilli(oldest.Int64))
			}
			return nil
		}
		until = time.UnixMilli(millis).UTC()
		return nil
	})
	var again bool
	if err == nil && until.Before(target) {
		again, err = s.madeFrom(ctx, r, until)
	}
	span := storage.RollupStep(r)
	for err == nil && until.Before(target) {
		next := storage.Span{From: until, To: r.Floor(until.Add(span))}
		if next.To.After(target) {
			next.To = target
		}
		var rows int64
		err = s.inTx(ctx, func(tx *sql.Tx) (err error) {
			// Another process with the same file, as an import, may have done this span meanwhile.
			result, err := tx.ExecContext(ctx, "UPDATE rollup_progress SET until = $2 WHERE resolution = $1 AND until IN (0, $3)", r, next.To.UnixMilli(), next.From.UnixMilli())
			if err != nil {
				return err
			}
			moved, err := result.RowsAffected()
			if err != nil {
				return err
			}
			if moved == 0 {
				return tx.QueryRowContext(ctx, "SELECT until FROM rollup_progress WHERE resolution = $1", r).Scan(scanMillis{&next.To})
			}
			if again {
				if err := unmake(ctx, tx, r, next); err != nil {
					return err
				}
			}
			if rows, err = rollUp(ctx, tx, r, next, nil); err != nil || rows > 0 {
				return err
			}
			if next.To, err = skip(ctx, tx, r, next.To, target); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "UPDATE rollup_progress SET until = $2 WHERE resolution = $1", r, next.To.UnixMilli())
			return err
		})
		until, span = next.To, storage.NextRollupStep(r, span, rows)
	}
	return until, err
}

// madeFrom tells whether a resolution has buckets from a time on, up to which it counts as rolled up: what was ahead of the clock was
// taken back. Every sample has a row of the host's, so that family's are asked for.
func (s *Store) madeFrom(ctx context.Context, r storage.Resolution, from time.Time) (made bool, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM hosts WHERE EXISTS (SELECT 1 FROM "+r.Relation(catalogue.Host())+
		" AS s WHERE s.host_id = hosts.host_id AND time >= $1))", from.UnixMilli()).Scan(&made)
	return made, classify(err)
}

// unmake deletes those buckets of a span that are about to be made again.
func unmake(ctx context.Context, tx *sql.Tx, r storage.Resolution, span storage.Span) error {
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		relation := r.Relation(family)
		_, err := tx.ExecContext(ctx, "DELETE FROM "+relation+" WHERE "+
			dialect.Remade(family, r, "host_id IN (SELECT host_id FROM hosts) AND time >= $1 AND time < $2"), span.From.UnixMilli(), span.To.UnixMilli())
		if err != nil {
			return fmt.Errorf("from %s: %w", relation, err)
		}
	}
	return nil
}

// scanMillis reads Unix milliseconds into a time.
type scanMillis struct{ time *time.Time }

// Scan implements sql.Scanner.
func (s scanMillis) Scan(value any) error {
	millis, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a time of the type %T", value)
	}
	*s.time = time.UnixMilli(millis).UTC()
	return nil
}

// skip is from when on there is something to roll up to a resolution, between from and target.
func skip(ctx context.Context, tx *sql.Tx, r storage.Resolution, from, target time.Time) (time.Time, error) {
	to := target
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		var next sql.NullInt64
		err := tx.QueryRowContext(ctx, "SELECT min((SELECT min(time) FROM "+r.Finer().Relation(family)+
			" AS s WHERE s.host_id = hosts.host_id AND time >= $1 AND time < $2)) FROM hosts", from.UnixMilli(), to.UnixMilli()).Scan(&next)
		if err != nil {
			return to, fmt.Errorf("look for what is next: %w", err)
		}
		if next.Valid {
			to = r.Floor(time.UnixMilli(next.Int64))
		}
	}
	return to, nil
}

// rollUp makes the buckets of a span, of all hosts or of some, and returns how many rows they have.
func rollUp(ctx context.Context, tx *sql.Tx, r storage.Resolution, span storage.Span, hosts []storage.HostID) (rows int64, err error) {
	among := "SELECT host_id FROM hosts"
	arguments := []any{span.From.UnixMilli(), span.To.UnixMilli()}
	if hosts != nil {
		list, err := json.Marshal(hosts)
		if err != nil {
			return 0, err
		}
		among, arguments = "SELECT value FROM json_each($3)", append(arguments, string(list))
	}
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		relation := r.Relation(family)
		result, err := tx.ExecContext(ctx, "INSERT INTO "+relation+" "+
			dialect.Select(family, r, "host_id IN ("+among+") AND time >= $1 AND time < $2"), arguments...)
		if err != nil {
			return rows, fmt.Errorf("into %s: %w", relation, err)
		}
		count, err := result.RowsAffected()
		if err != nil {
			return rows, err
		}
		rows += count
	}
	return rows, nil
}

// kept is from when on buckets of a resolution may be made anew: of the time before, finer rows are gone, or are about to be.
func (s *Store) kept(ctx context.Context, r storage.Resolution, now time.Time) (time.Time, error) {
	var gone time.Time
	err := s.small.QueryRowContext(ctx, "SELECT gone FROM rollup_progress WHERE resolution = $1", r).Scan(scanMillis{&gone})
	if since := s.options.Retention.Since(r.Finer(), now); since.After(gone) {
		gone = since
	}
	return storage.Ceil(r, gone), classify(err)
}

// lateAtOnce is about how many stretches of hosts one transaction makes anew: each note of late rows is one, or, of a spool that was
// full for days, hundreds.
const lateAtOnce = 1000

// late makes those buckets anew whose rows came after they had been made. What is before kept stays: of that, the finer rows are
// gone or about to be.
func (s *Store) late(ctx context.Context, r storage.Resolution, kept, until time.Time) error {
	for done := 1; done > 0; {
		err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
			done, err = someLate(ctx, tx, r, kept, until)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func someLate(ctx context.Context, tx *sql.Tx, r storage.Resolution, kept, until time.Time) (done int, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, host_id, from_time, to_time FROM rollup_late WHERE resolution = $1 AND from_time < $2 ORDER BY id LIMIT $3",
		r, until.UnixMilli(), lateAtOnce)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var late []storage.Late
	var ids []int64
	var stretches time.Duration
	for stretches <= lateAtOnce && rows.Next() {
		var one storage.Late
		var id, from, to int64
		if err := rows.Scan(&id, &one.Host, &from, &to); err != nil {
			return 0, err
		}
		one.Span = storage.Span{From: time.UnixMilli(from).UTC(), To: time.UnixMilli(to).UTC()}
		late, ids = append(late, one), append(ids, id)
		stretches += 1 + one.Span.To.Sub(one.Span.From)/storage.RollupStep(r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(late) == 0 {
		return 0, err
	}
	for _, work := range storage.Gather(late, storage.RollupStep(r), kept, until) {
		if err := remake(ctx, tx, r, work); err != nil {
			return 0, err
		}
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM rollup_late WHERE id IN (SELECT value FROM json_each($1))", string(list))
	return len(late), err
}

// remake replaces buckets, and notes that they are late for the next coarser resolution.
func remake(ctx context.Context, tx *sql.Tx, r storage.Resolution, work storage.LateWork) error {
	list, err := json.Marshal(work.Hosts)
	if err != nil {
		return err
	}
	from, to := work.Span.From.UnixMilli(), work.Span.To.UnixMilli()
	for _, family := range catalogue.Families() {
		if !storage.RolledUp(family) {
			continue
		}
		relation := r.Relation(family)
		_, err := tx.ExecContext(ctx, "DELETE FROM "+relation+" WHERE host_id IN (SELECT value FROM json_each($1)) AND time >= $2 AND time < $3", string(list), from, to)
		if err != nil {
			return fmt.Errorf("from %s: %w", relation, err)
		}
	}
	if _, err := rollUp(ctx, tx, r, work.Span, work.Hosts); err != nil {
		return err
	}
	if r == storage.Day {
		return nil
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
		SELECT resolution, value, $2, $3 FROM json_each($1), rollup_progress WHERE resolution = $4 AND until > $2`, string(list), from, to, r+1)
	return err
}

// dropAtOnce is how many rows one transaction deletes.
const dropAtOnce = 20_000

// drop deletes what is older than since, and notes that it is gone for the next coarser resolution. The file does not shrink; what comes next takes the room.
func (s *Store) drop(ctx context.Context, r storage.Resolution, since time.Time) error {
	if since.IsZero() {
		return nil
	}
	for _, family := range catalogue.Families() {
		if r != storage.Raw && !storage.RolledUp(family) {
			continue
		}
		relation := r.Relation(family)
		for deleted := int64(dropAtOnce); deleted == dropAtOnce; {
			err := s.inTx(ctx, func(tx *sql.Tx) error {
				result, err := tx.ExecContext(ctx, "DELETE FROM "+relation+" WHERE rowid IN (SELECT rowid FROM "+relation+
					" WHERE host_id IN (SELECT host_id FROM hosts) AND time < $1 LIMIT $2)", since.UnixMilli(), dropAtOnce)
				if err != nil {
					return err
				}
				if deleted, err = result.RowsAffected(); err != nil || deleted == 0 {
					return err
				}
				_, err = tx.ExecContext(ctx, "UPDATE rollup_progress SET gone = max(gone, $2) WHERE resolution = $1", r+1, since.UnixMilli())
				return err
			})
			if err != nil {
				return fmt.Errorf("from %s: %w", relation, err)
			}
		}
	}
	return nil
}

// Coverage implements storage.Store.
func (s *Store) Coverage(ctx context.Context) ([]storage.Coverage, error) {
	coverage := storage.NewCoverage(*s.options.Retention, s.options.Now())
	rows, err := s.small.QueryContext(ctx, "SELECT resolution, until FROM rollup_progress WHERE until > 0")
	if err != nil {
		return nil, fmt.Errorf("read how far rollups are: %w", classify(err))
	}
	defer rows.Close()
	for rows.Next() {
		var r, until int64
		if err := rows.Scan(&r, &until); err != nil {
			return nil, fmt.Errorf("scan how far rollups are: %w", err)
		}
		coverage[r].Until = time.UnixMilli(until).UTC()
	}
	return coverage, classify(rows.Err())
}

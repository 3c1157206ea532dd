package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// judgeClock returns the time that a round goes by, after it has taken back what is ahead of the clock.
func (s *Store) judgeClock(ctx context.Context) (time.Time, error) {
	clock := s.options.Now()
	var until time.Time
	if err := s.read.QueryRowContext(ctx, "SELECT until FROM rollup_progress WHERE resolution = 1").Scan(scanMillis{&until}); err != nil {
		return clock, classify(err)
	}
	if until.UnixMilli() == 0 {
		until = time.Time{}
	}
	if storage.AheadOf(clock, until) {
		if err := s.inTx(ctx, func(tx *sql.Tx) error { return s.takeBack(ctx, tx, clock.UTC()) }); err != nil {
			return clock, fmt.Errorf("take back rollups that are ahead of it: %w", err)
		}
	}
	return s.clock.Judge(clock, until, func() (time.Time, error) {
		_, newest, err := ends(ctx, s.read, catalogue.Host().Table)
		return newest, classify(err)
	})
}

// takeBack has nothing count as rolled up or gone that is after the clock, and every sample that is there as late: notes of late
// ones may have been deleted.
func (s *Store) takeBack(ctx context.Context, tx *sql.Tx, clock time.Time) error {
	target := clock.Add(-storage.RollupLag)
	for _, r := range storage.Resolutions[1:] {
		var level storage.Level
		err := tx.QueryRowContext(ctx, "SELECT until, gone FROM rollup_progress WHERE resolution = $1", r).Scan(scanMillis{&level.Until}, scanMillis{&level.Gone})
		if err != nil {
			return err
		}
		if level.OldestFiner, _, err = ends(ctx, tx, r.Finer().Relation(catalogue.Host())); err != nil {
			return err
		}
		if _, level.NewestBucket, err = ends(ctx, tx, r.Relation(catalogue.Host())); err != nil {
			return err
		}
		until, gone := level.TakeBack(r, target)
		target = until
		if until.Equal(level.Until) {
			continue
		}
		s.options.Logger.Warn("rollups were made up to a time that is ahead of the clock; they are taken back", "resolution", r, "until", level.Until, "now_until", until, "gone", level.Gone, "now_gone", gone)
		if _, err := tx.ExecContext(ctx, "UPDATE rollup_progress SET until = $2, gone = $3 WHERE resolution = $1", r, until.UnixMilli(), gone.UnixMilli()); err != nil {
			return err
		}
		for _, family := range catalogue.Families() {
			if !storage.RolledUp(family) {
				continue
			}
			_, err := tx.ExecContext(ctx, "DELETE FROM "+r.Relation(family)+" WHERE host_id IN (SELECT host_id FROM hosts) AND time >= $1", until.UnixMilli())
			if err != nil {
				return fmt.Errorf("from %s: %w", r.Relation(family), err)
			}
		}
		if r != storage.Minute {
			continue
		}
		// A day a note, so that a transaction that deals with a number of them does not take long.
		for day := storage.Day.Floor(level.OldestFiner); !level.OldestFiner.IsZero() && day.Before(until); day = day.Add(storage.Day.Step()) {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
				SELECT 1, host_id, max(oldest, $1), min($2, $3) FROM (SELECT host_id, (SELECT min(time) FROM `+catalogue.Host().Table+` AS s
					WHERE s.host_id = hosts.host_id) AS oldest FROM hosts) WHERE oldest < min($2, $3)`,
				day.UnixMilli(), day.Add(storage.Day.Step()).UnixMilli(), until.UnixMilli())
			if err != nil {
				return fmt.Errorf("note samples as late: %w", err)
			}
		}
	}
	return nil
}

// querier is the database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, arguments ...any) *sql.Row
}

// ends are the oldest and the newest time of a relation, by the index of each host; zero if it is empty.
func ends(ctx context.Context, from querier, relation string) (oldest, newest time.Time, err error) {
	var first, last sql.NullInt64
	const end = "(SELECT %s(time) FROM %s AS s WHERE s.host_id = hosts.host_id)"
	err = from.QueryRowContext(ctx, "SELECT min("+fmt.Sprintf(end, "min", relation)+"), max("+fmt.Sprintf(end, "max", relation)+") FROM hosts").Scan(&first, &last)
	if err == nil && first.Valid {
		oldest, newest = time.UnixMilli(first.Int64).UTC(), time.UnixMilli(last.Int64).UTC()
	}
	return oldest, newest, err
}

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
	if s.clock.TakesBack(clock, clock, until) {
		var taken []storage.TakenBack
		err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
			taken, err = takeBack(ctx, tx, clock.UTC(), s.options.Retention.Raw)
			return err
		})
		if err != nil {
			return clock, fmt.Errorf("take back rollups that are ahead of it: %w", err)
		}
		s.clock.TookBack(taken)
	}
	return s.clock.Judge(clock, until, func(from, to time.Time) ([]time.Time, error) {
		rows, err := s.read.QueryContext(ctx, "SELECT newest FROM (SELECT (SELECT max(time) FROM "+catalogue.Host().Table+
			" AS s WHERE s.host_id = hosts.host_id AND time >= $1 AND time <= $2) AS newest FROM hosts) WHERE newest IS NOT NULL", from.UnixMilli(), to.UnixMilli())
		if err != nil {
			return nil, classify(err)
		}
		defer rows.Close()
		var newest []time.Time
		for rows.Next() {
			var one time.Time
			if err := rows.Scan(scanMillis{&one}); err != nil {
				return nil, err
			}
			newest = append(newest, one)
		}
		return newest, classify(rows.Err())
	})
}

// takeBack has nothing count as rolled up or gone that is after the clock, and those samples as late whose notes may have been deleted.
// Rows stay until they are made again.
func takeBack(ctx context.Context, tx *sql.Tx, clock time.Time, keep time.Duration) (taken []storage.TakenBack, err error) {
	target := clock.Add(-storage.RollupLag)
	for _, r := range storage.Resolutions[1:] {
		one := storage.TakenBack{Resolution: r}
		level := &one.Level
		err := tx.QueryRowContext(ctx, "SELECT until, gone FROM rollup_progress WHERE resolution = $1", r).Scan(scanMillis{&level.Until}, scanMillis{&level.Gone})
		if err != nil {
			return nil, err
		}
		if level.OldestFiner, err = end(ctx, tx, "min", r.Finer().Relation(catalogue.Host())); err != nil {
			return nil, err
		}
		if level.OldestFiner.IsZero() {
			if level.NewestBucket, err = end(ctx, tx, "max", r.Relation(catalogue.Host())); err != nil {
				return nil, err
			}
		}
		one.Until, one.Gone = level.TakeBack(r, target)
		target = one.Until
		if one.Until.Equal(level.Until) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE rollup_progress SET until = $2, gone = $3 WHERE resolution = $1", r, one.Until.UnixMilli(), one.Gone.UnixMilli()); err != nil {
			return nil, err
		}
		if r == storage.Minute {
			one.Late = level.Late(clock, one.Until, keep)
		}
		// A day a note, so that a transaction that deals with some of them does not take long.
		for from := one.Late.From; from.Before(one.Late.To); from = from.Add(storage.Day.Step()) {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
				SELECT 1, host_id, oldest, $2 FROM (SELECT host_id, (SELECT min(time) FROM `+catalogue.Host().Table+` AS s
					WHERE s.host_id = hosts.host_id AND time >= $1 AND time < $2) AS oldest FROM hosts) WHERE oldest IS NOT NULL`,
				from.UnixMilli(), min(from.Add(storage.Day.Step()).UnixMilli(), one.Late.To.UnixMilli()))
			if err != nil {
				return nil, fmt.Errorf("note samples as late: %w", err)
			}
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// end is the oldest (min) or the newest (max) time of a relation, by the index of each host; zero if it is empty.
func end(ctx context.Context, tx *sql.Tx, which, relation string) (time.Time, error) {
	var found sql.NullInt64
	err := tx.QueryRowContext(ctx, "SELECT "+which+"((SELECT "+which+"(time) FROM "+relation+" AS s WHERE s.host_id = hosts.host_id)) FROM hosts").Scan(&found)
	if err != nil || !found.Valid {
		return time.Time{}, err
	}
	return time.UnixMilli(found.Int64).UTC(), nil
}

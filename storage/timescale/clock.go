package timescale

import (
	"context"
	"errors"
	"fmt"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// judgeClock returns the time that a round goes by, after it has taken back what is ahead of the clock. The database may be on
// another machine: nothing is claimed or dropped that its clock does not know of, and nothing taken back that it does.
func (s *Store) judgeClock(ctx context.Context, connection *pgxv5.Conn) (time.Time, error) {
	clock := s.options.Now()
	earliest, latest := clock, clock
	var until, claimed, database time.Time
	err := connection.QueryRow(ctx, `
		SELECT greatest(until, '0001-01-01Z'), greatest(until, claimed, '0001-01-01Z'), clock_timestamp() FROM rollup_progress WHERE resolution = 1`).
		Scan(&until, &claimed, &database)
	if err != nil {
		return clock, err
	}
	switch {
	case s.mocked: // the database's has nothing to do with it
	case database.Before(clock):
		earliest = database
	default:
		latest = database
	}
	if s.clock.TakesBack(clock, latest, claimed) {
		var taken []storage.TakenBack
		err := pgxv5.BeginFunc(ctx, connection, func(tx pgxv5.Tx) (err error) {
			taken, err = takeBack(ctx, tx, latest.UTC(), s.options.Retention.Raw)
			return err
		})
		if err != nil {
			return clock, fmt.Errorf("take back rollups that are ahead of it: %w", err)
		}
		s.clock.TookBack(taken)
	}
	now, err := s.clock.Judge(clock, until.UTC(), func(from, to time.Time) ([]time.Time, error) {
		rows, err := connection.Query(ctx, `
			SELECT newest.time FROM hosts CROSS JOIN LATERAL (
				SELECT time FROM `+catalogue.Host().Table+` AS s WHERE s.host_id = hosts.host_id AND time >= $1 AND time <= $2 ORDER BY time DESC LIMIT 1
			) AS newest`, from, to)
		if err != nil {
			return nil, err
		}
		return pgxv5.CollectRows(rows, pgxv5.RowTo[time.Time])
	})
	if earliest.Before(now) {
		now = earliest.UTC()
	}
	return now, err
}

// takeBack has nothing count as claimed, rolled up or gone that is after the clock, and those samples as late whose notes may have
// been deleted. Rows in tables stay until they are made again; what continuous aggregates have is refreshed when it is its turn.
func takeBack(ctx context.Context, tx pgxv5.Tx, clock time.Time, keep time.Duration) (taken []storage.TakenBack, err error) {
	target := clock.Add(-storage.RollupLag)
	for _, r := range storage.Resolutions[1:] {
		one := storage.TakenBack{Resolution: r}
		level := &one.Level
		var claimed time.Time
		err := tx.QueryRow(ctx, `
			SELECT greatest(until, '0001-01-01Z'), greatest(until, claimed, '0001-01-01Z'), greatest(gone, '0001-01-01Z') FROM rollup_progress WHERE resolution = $1`, r).
			Scan(&level.Until, &claimed, &level.Gone)
		if err != nil {
			return nil, err
		}
		if r == storage.Minute { // of a round that came no further than to claim
			level.Until = claimed
		}
		if level.OldestFiner, err = end(ctx, tx, "ASC", r.Finer().Relation(catalogue.Host())); err != nil {
			return nil, err
		}
		if level.OldestFiner.IsZero() {
			if level.NewestBucket, err = end(ctx, tx, "DESC", r.Relation(catalogue.Host())); err != nil {
				return nil, err
			}
		}
		one.Until, one.Gone = level.TakeBack(r, target)
		target = one.Until
		if one.Until.Equal(level.Until) {
			continue
		}
		_, err = tx.Exec(ctx, "UPDATE rollup_progress SET until = least(until, $2), claimed = least(claimed, $2), gone = least(gone, $3) WHERE resolution = $1", r, one.Until, one.Gone)
		if err != nil {
			return nil, err
		}
		if r == storage.Minute {
			one.Late = level.Late(clock, one.Until, keep)
		}
		if one.Late.From.Before(one.Late.To) {
			// A day a note, so that a transaction that deals with some of them does not take long.
			_, err = tx.Exec(ctx, `
				INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
				SELECT 1, host_id, oldest, least(day + interval '1 day', $2)
				FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS day, hosts
				CROSS JOIN LATERAL (SELECT time AS oldest FROM `+catalogue.Host().Table+` AS s
					WHERE s.host_id = hosts.host_id AND time >= day AND time < least(day + interval '1 day', $2) ORDER BY time LIMIT 1) AS first
				ORDER BY day`, one.Late.From, one.Late.To)
			if err != nil {
				return nil, fmt.Errorf("note samples as late: %w", err)
			}
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// end is the oldest (ASC) or the newest (DESC) time of a relation, by the index of each host; zero if it is empty.
func end(ctx context.Context, tx pgxv5.Tx, order, relation string) (time.Time, error) {
	var found time.Time
	err := tx.QueryRow(ctx, "SELECT first.time FROM hosts CROSS JOIN LATERAL (SELECT time FROM "+relation+
		" AS s WHERE s.host_id = hosts.host_id ORDER BY time "+order+" LIMIT 1) AS first ORDER BY first.time "+order+" LIMIT 1").Scan(&found)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return time.Time{}, nil
	}
	return found.UTC(), err
}

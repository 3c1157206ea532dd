package timescale

import (
	"context"
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
	if storage.AheadOf(latest, claimed) {
		if err := pgxv5.BeginFunc(ctx, connection, func(tx pgxv5.Tx) error { return s.takeBack(ctx, tx, latest.UTC()) }); err != nil {
			return clock, fmt.Errorf("take back rollups that are ahead of it: %w", err)
		}
	}
	now, err := s.clock.Judge(clock, until.UTC(), func() (time.Time, error) {
		_, newest, err := ends(ctx, connection, catalogue.Host().Table)
		return newest, err
	})
	if earliest.Before(now) {
		now = earliest.UTC()
	}
	return now, err
}

// takeBack has nothing count as claimed, rolled up or gone that is after the clock, and every sample that is there as late: notes
// of late ones may have been deleted. What continuous aggregates have after that is refreshed when it is its turn.
func (s *Store) takeBack(ctx context.Context, tx pgxv5.Tx, clock time.Time) error {
	all, err := readGenerations(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = '10min'"); err != nil {
		return err
	}
	target := clock.Add(-storage.RollupLag)
	for _, r := range storage.Resolutions[1:] {
		var level storage.Level
		var claimed time.Time
		err := tx.QueryRow(ctx, `
			SELECT greatest(until, '0001-01-01Z'), greatest(until, claimed, '0001-01-01Z'), greatest(gone, '0001-01-01Z') FROM rollup_progress WHERE resolution = $1`, r).
			Scan(&level.Until, &claimed, &level.Gone)
		if err != nil {
			return err
		}
		if r == storage.Minute { // of a round that came no further than to claim
			level.Until = claimed
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
		_, err = tx.Exec(ctx, "UPDATE rollup_progress SET until = least(until, $2), claimed = least(claimed, $2), gone = least(gone, $3) WHERE resolution = $1", r, until, gone)
		if err != nil {
			return err
		}
		for family, some := range all.of {
			for _, g := range some {
				if !g.isTable() {
					continue
				}
				if _, err := tx.Exec(ctx, "DELETE FROM "+g.relation(family, r)+" WHERE time >= $1", until); err != nil {
					return fmt.Errorf("from %s: %w", g.relation(family, r), err)
				}
			}
		}
		if r != storage.Minute || level.OldestFiner.IsZero() {
			continue
		}
		// A day a note, so that a transaction that deals with a number of them does not take long.
		_, err = tx.Exec(ctx, `
			INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
			SELECT 1, host_id, greatest(day, oldest), least(day + interval '1 day', $2)
			FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS day, hosts
			CROSS JOIN LATERAL (SELECT time AS oldest FROM `+catalogue.Host().Table+` AS s WHERE s.host_id = hosts.host_id ORDER BY time LIMIT 1) AS first
			WHERE oldest < least(day + interval '1 day', $2) AND day < $2
			ORDER BY day`, storage.Day.Floor(level.OldestFiner), until)
		if err != nil {
			return fmt.Errorf("note samples as late: %w", err)
		}
	}
	return nil
}

// rowQuerier is a connection or a transaction.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgxv5.Row
}

// ends are the oldest and the newest time of a relation, by the index of each host; zero if it is empty.
func ends(ctx context.Context, from rowQuerier, relation string) (oldest, newest time.Time, err error) {
	var first, last *time.Time
	const end = " LEFT JOIN LATERAL (SELECT time FROM %s AS s WHERE s.host_id = hosts.host_id ORDER BY time %s LIMIT 1) AS %s ON true"
	err = from.QueryRow(ctx, "SELECT min(oldest.time), max(newest.time) FROM hosts"+
		fmt.Sprintf(end, relation, "ASC", "oldest")+fmt.Sprintf(end, relation, "DESC", "newest")).Scan(&first, &last)
	if err == nil && first != nil {
		oldest, newest = first.UTC(), last.UTC()
	}
	return oldest, newest, err
}

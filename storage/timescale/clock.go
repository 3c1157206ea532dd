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

// ContradictClock implements storage.Store.
func (s *Store) ContradictClock() { s.clock.Contradict() }

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
			taken, err = storage.TakeBack(progress{ctx, tx}, latest.UTC(), s.options.Retention.Raw)
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

// progress is how far rollups are.
type progress struct {
	ctx context.Context // of one transaction
	tx  pgxv5.Tx
}

func (p progress) Level(r storage.Resolution) (level storage.Level, err error) {
	var claimed time.Time
	err = p.tx.QueryRow(p.ctx, `
		SELECT greatest(until, '0001-01-01Z'), greatest(until, claimed, '0001-01-01Z'), greatest(gone, '0001-01-01Z') FROM rollup_progress WHERE resolution = $1`, r).
		Scan(&level.Until, &claimed, &level.Gone)
	if err != nil {
		return level, err
	}
	if r == storage.Minute { // of a round that came no further than to claim
		level.Until = claimed
	}
	if level.OldestFiner, err = p.end("ASC", r.Finer().Relation(catalogue.Host())); err == nil && level.OldestFiner.IsZero() {
		level.NewestBucket, err = p.end("DESC", r.Relation(catalogue.Host()))
	}
	return level, err
}

// SetBack leaves what continuous aggregates have: it is refreshed when it is its turn.
func (p progress) SetBack(r storage.Resolution, until, gone time.Time) error {
	_, err := p.tx.Exec(p.ctx, "UPDATE rollup_progress SET until = least(until, $2), claimed = least(claimed, $2), gone = least(gone, $3) WHERE resolution = $1", r, until, gone)
	return err
}

func (p progress) NoteLate(late storage.Span) error {
	_, err := p.tx.Exec(p.ctx, `
		INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
		SELECT 1, host_id, oldest, least(day + interval '1 day', $2)
		FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 day') AS day, hosts
		CROSS JOIN LATERAL (SELECT time AS oldest FROM `+catalogue.Host().Table+` AS s
			WHERE s.host_id = hosts.host_id AND time >= day AND time < least(day + interval '1 day', $2) ORDER BY time LIMIT 1) AS first
		ORDER BY day`, late.From, late.To)
	return err
}

// end is the oldest (ASC) or the newest (DESC) time of a relation, by the index of each host; zero if it is empty.
func (p progress) end(order, relation string) (time.Time, error) {
	var found time.Time
	err := p.tx.QueryRow(p.ctx, "SELECT first.time FROM hosts CROSS JOIN LATERAL (SELECT time FROM "+relation+
		" AS s WHERE s.host_id = hosts.host_id ORDER BY time "+order+" LIMIT 1) AS first ORDER BY first.time "+order+" LIMIT 1").Scan(&found)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return time.Time{}, nil
	}
	return found.UTC(), err
}

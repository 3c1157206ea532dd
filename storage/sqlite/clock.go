package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// ContradictClock implements storage.Store.
func (s *Store) ContradictClock() { s.clock.Contradict() }

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
			taken, err = storage.TakeBack(progress{ctx, tx}, clock.UTC(), s.options.Retention.Raw)
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

// progress is how far rollups are.
type progress struct {
	ctx context.Context // of one transaction
	tx  *sql.Tx
}

func (p progress) Level(r storage.Resolution) (level storage.Level, err error) {
	err = p.tx.QueryRowContext(p.ctx, "SELECT until, gone FROM rollup_progress WHERE resolution = $1", r).Scan(scanMillis{&level.Until}, scanMillis{&level.Gone})
	if err != nil {
		return level, err
	}
	if level.OldestFiner, err = p.end("min", r.Finer().Relation(catalogue.Host())); err == nil && level.OldestFiner.IsZero() {
		level.NewestBucket, err = p.end("max", r.Relation(catalogue.Host()))
	}
	return level, err
}

func (p progress) SetBack(r storage.Resolution, until, gone time.Time) error {
	_, err := p.tx.ExecContext(p.ctx, "UPDATE rollup_progress SET until = $2, gone = $3 WHERE resolution = $1", r, until.UnixMilli(), gone.UnixMilli())
	return err
}

func (p progress) NoteLate(late storage.Span) error {
	for from := late.From; from.Before(late.To); from = from.Add(storage.Day.Step()) {
		_, err := p.tx.ExecContext(p.ctx, `
			INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
			SELECT 1, host_id, oldest, $2 FROM (SELECT host_id, (SELECT min(time) FROM `+catalogue.Host().Table+` AS s
				WHERE s.host_id = hosts.host_id AND time >= $1 AND time < $2) AS oldest FROM hosts) WHERE oldest IS NOT NULL`,
			from.UnixMilli(), min(from.Add(storage.Day.Step()).UnixMilli(), late.To.UnixMilli()))
		if err != nil {
			return err
		}
	}
	return nil
}

// end is the oldest (min) or the newest (max) time of a relation, by the index of each host; zero if it is empty.
func (p progress) end(which, relation string) (time.Time, error) {
	var found sql.NullInt64
	err := p.tx.QueryRowContext(p.ctx, "SELECT "+which+"((SELECT "+which+"(time) FROM "+relation+" AS s WHERE s.host_id = hosts.host_id)) FROM hosts").Scan(&found)
	if err != nil || !found.Valid {
		return time.Time{}, err
	}
	return time.UnixMilli(found.Int64).UTC(), nil
}

package timescale

import (
	"context"
	"fmt"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// A chunk is made by the first row of its time, and until that row's transaction ends no other can write to the table where
// a chunk is missing: a server that froze in the middle of it would hold up all others for as long as its session lasts.
// So chunks are made ahead, in short transactions of their own.
const (
	// chunksAhead is longer than the migrations' chunk interval, so that there is always a chunk after the current one.
	chunksAhead = 7 * time.Hour
	// upkeepEvery is often enough for both: chunks are hours long, and the quarantine grows by what is wrong.
	upkeepEvery = 5 * time.Minute
)

// upkeep makes chunks and bounds the quarantine until ctx ends.
func (s *Store) upkeep(ctx context.Context) {
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	for {
		// Where these fail, a flush makes its chunk, as ever, and the quarantine is bounded the next time.
		_ = s.makeChunks(ctx, time.Now())
		_ = s.pruneQuarantine(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// makeChunks makes the chunks for now and for what comes next.
func (s *Store) makeChunks(ctx context.Context, now time.Time) error {
	for _, family := range catalogue.Families() {
		for _, at := range []time.Time{now, now.Add(chunksAhead)} {
			if err := s.makeChunk(ctx, family, at); err != nil {
				return fmt.Errorf("make the chunk of %s for %s: %w", family.Table, at.UTC().Format(time.RFC3339), classify(err))
			}
		}
	}
	return nil
}

// makeChunk has a row come and go in one transaction, which no one else ever sees.
func (s *Store) makeChunk(ctx context.Context, family *catalogue.Family, at time.Time) error {
	var there bool
	err := s.writes.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM timescaledb_information.chunks WHERE hypertable_name = $1 AND range_start <= $2 AND range_end > $2)`,
		family.StoredTable(), at).Scan(&there)
	if err != nil || there {
		return err
	}
	columns, values := []string{"time", "host_id"}, []string{"$1", "0"}
	for _, label := range family.Labels {
		columns, values = append(columns, label.Name), append(values, "''")
	}
	if len(family.Labels) == 0 {
		columns, values = append(columns, "received_at"), append(values, "$1")
	}
	return pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		// Another server may be at it, and be frozen.
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
			return err
		}
		insert := "INSERT INTO " + family.StoredTable() + " (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
		if _, err := tx.Exec(ctx, insert, at); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM "+family.StoredTable()+" WHERE time = $1 AND host_id = 0", at)
		return err
	})
}

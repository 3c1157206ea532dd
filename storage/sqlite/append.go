package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Append implements storage.Store.
func (s *Store) Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	var outcomes []storage.Outcome
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		cursors, err := readCursors(ctx, tx, batches)
		if err != nil {
			return err
		}
		outcomes = storage.Judge(cursors, batches)
		chosen := storage.Chosen(batches, outcomes)
		for _, family := range catalogue.Families() {
			if err := insertFamily(ctx, tx, family, chosen); err != nil {
				return err
			}
		}
		if err := insertQuarantine(ctx, tx, chosen); err != nil {
			return err
		}
		if err := insertGaps(ctx, tx, chosen); err != nil {
			return err
		}
		if err := noteLate(ctx, tx, chosen); err != nil {
			return err
		}
		return advanceCursors(ctx, tx, cursors)
	})
	if err != nil {
		return nil, fmt.Errorf("append %d batches: %w", len(batches), err)
	}
	return outcomes, nil
}

// readCursors reads the cursors of the batches. The transaction holds SQLite's write lock, so they can not change until it
// ends.
func readCursors(ctx context.Context, tx *sql.Tx, batches []*storage.Batch) (map[storage.Spool]storage.Cursor, error) {
	statement, err := tx.PrepareContext(ctx, "SELECT seq, checksum FROM cursors WHERE host_id = $1 AND epoch = $2")
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	defer statement.Close()
	cursors := map[storage.Spool]storage.Cursor{}
	for _, batch := range batches {
		if _, known := cursors[batch.Spool()]; known {
			continue
		}
		var cursor storage.Cursor
		switch err := statement.QueryRowContext(ctx, batch.Host, int64(batch.Epoch)).Scan(&cursor.Seq, &cursor.Checksum); {
		case err == nil:
			cursors[batch.Spool()] = cursor
		case errors.Is(err, sql.ErrNoRows):
		default:
			return nil, fmt.Errorf("read the cursor of host %d: %w", batch.Host, err)
		}
	}
	return cursors, nil
}

func advanceCursors(ctx context.Context, tx *sql.Tx, cursors map[storage.Spool]storage.Cursor) error {
	for spool, cursor := range cursors {
		_, err := tx.ExecContext(ctx, "UPDATE cursors SET seq = $3, checksum = $4 WHERE host_id = $1 AND epoch = $2 AND seq <> $3",
			spool.Host, int64(spool.Epoch), int64(cursor.Seq), cursor.Checksum)
		if err != nil {
			return fmt.Errorf("advance the cursor of host %d: %w", spool.Host, err)
		}
	}
	return nil
}

func insertFamily(ctx context.Context, tx *sql.Tx, family *catalogue.Family, batches []*storage.Batch) (err error) {
	var (
		statement *sql.Stmt
		columns   = family.Columns()
		args      = make([]any, 0, len(columns))
	)
	defer func() {
		if statement != nil {
			err = errors.Join(err, statement.Close())
		}
	}()
	for _, batch := range batches {
		if !batch.Rows.Has(family) {
			continue
		}
		if statement == nil {
			marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
			statement, err = tx.PrepareContext(ctx, "INSERT INTO "+family.Table+" ("+strings.Join(columns, ", ")+") VALUES ("+marks+")")
			if err != nil {
				return fmt.Errorf("insert into %s: %w", family.Table, err)
			}
		}
		err := batch.Rows.EachTuple(family, func(tuple storage.Tuple) error {
			args = appendArgs(args[:0], family, tuple)
			_, err := statement.ExecContext(ctx, args...)
			return err
		})
		if err != nil {
			return fmt.Errorf("insert into %s, host %d, batch %d: %w", family.Table, batch.Host, batch.Seq, err)
		}
	}
	return nil
}

// appendArgs appends the values of the family's columns.
func appendArgs(args []any, family *catalogue.Family, tuple storage.Tuple) []any {
	args = append(args, tuple.Time().UnixMilli(), tuple.Number(catalogue.Uint32))
	if len(family.Labels) == 0 {
		args = append(args, tuple.Time().UnixMilli())
	}
	for range family.Labels {
		args = append(args, tuple.Text())
	}
	for _, metric := range family.Metrics {
		args = append(args, tuple.Value(metric))
	}
	return args
}

func insertQuarantine(ctx context.Context, tx *sql.Tx, batches []*storage.Batch) error {
	added := false
	for _, batch := range batches {
		for _, rejected := range batch.Rejected {
			_, err := tx.ExecContext(ctx, "INSERT INTO quarantine (received_at, host_id, epoch, seq, reason, sample) VALUES ($1, $2, $3, $4, $5, $6)",
				batch.ReceivedAt.UnixMilli(), batch.Host, int64(batch.Epoch), int64(batch.Seq), rejected.Reason, []byte(rejected.Wire))
			if err != nil {
				return fmt.Errorf("quarantine a sample of host %d: %w", batch.Host, err)
			}
			added = true
		}
	}
	if !added {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM quarantine WHERE rowid <= (SELECT max(rowid) FROM quarantine) - $1", storage.MaxQuarantine); err != nil {
		return fmt.Errorf("prune the quarantine: %w", err)
	}
	return nil
}

func insertGaps(ctx context.Context, tx *sql.Tx, batches []*storage.Batch) error {
	for _, batch := range batches {
		for _, gap := range batch.Gaps {
			_, err := tx.ExecContext(ctx, "INSERT INTO gaps (host_id, from_time, to_time, reason, samples, received_at) VALUES ($1, $2, $3, $4, $5, $6)",
				batch.Host, gap.GetFromUnixMillis(), gap.GetToUnixMillis(), int32(gap.GetReason()), gap.GetSamples(), batch.ReceivedAt.UnixMilli())
			if err != nil {
				return fmt.Errorf("save a gap of host %d: %w", batch.Host, err)
			}
		}
	}
	return nil
}

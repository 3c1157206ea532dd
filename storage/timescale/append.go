package timescale

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Append implements storage.Store. It is one transaction: lock and read the cursors, in the order of their hosts so
// that two servers can not deadlock; drop the batches that the cursors do not let pass; COPY the rows; advance the
// cursors. When the connection breaks during COMMIT the outcome is unknown, and the caller's retry finds out: the
// cursors say Duplicate for what was committed.
func (s *Store) Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	var outcomes []storage.Outcome
	err := pgxv5.BeginFunc(ctx, s.pool, func(tx pgxv5.Tx) error {
		cursors, err := lockCursors(ctx, tx, batches)
		if err != nil {
			return err
		}
		outcomes = storage.Judge(cursors, batches)
		chosen := storage.Chosen(batches, outcomes)
		// One buffer for all tables: COPY of one ends before the next is encoded.
		var buffer []byte
		for _, family := range catalogue.Families() {
			var rows int
			if buffer, rows = appendFamily(buffer[:0], family, chosen); rows == 0 {
				continue
			}
			if err := copyBinary(ctx, tx, family.Table, family.Columns(), buffer); err != nil {
				return err
			}
		}
		buffer, rows, err := appendQuarantine(buffer[:0], chosen)
		if err != nil {
			return err
		}
		if rows > 0 {
			if err := copyBinary(ctx, tx, "quarantine", quarantineColumns, buffer); err != nil {
				return err
			}
		}
		return advanceCursors(ctx, tx, cursors)
	})
	if err != nil {
		return nil, fmt.Errorf("append %d batches: %w", len(batches), classify(err))
	}
	return outcomes, nil
}

func lockCursors(ctx context.Context, tx pgxv5.Tx, batches []*storage.Batch) (map[storage.HostID]storage.Cursor, error) {
	hosts := make([]int32, 0, len(batches))
	seen := make(map[storage.HostID]bool, len(batches))
	for _, batch := range batches {
		if !seen[batch.Host] {
			seen[batch.Host] = true
			hosts = append(hosts, int32(batch.Host))
		}
	}
	rows, err := tx.Query(ctx, "SELECT host_id, epoch, seq FROM cursors WHERE host_id = ANY($1) ORDER BY host_id FOR UPDATE", hosts)
	if err != nil {
		return nil, fmt.Errorf("lock cursors: %w", err)
	}
	cursors := make(map[storage.HostID]storage.Cursor, len(hosts))
	var host int32
	var epoch, seq int64
	_, err = pgxv5.ForEachRow(rows, []any{&host, &epoch, &seq}, func() error {
		cursors[storage.HostID(host)] = storage.Cursor{Epoch: uint64(epoch), Seq: uint64(seq)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock cursors: %w", err)
	}
	return cursors, nil
}

func advanceCursors(ctx context.Context, tx pgxv5.Tx, cursors map[storage.HostID]storage.Cursor) error {
	hosts, seqs := make([]int32, 0, len(cursors)), make([]int64, 0, len(cursors))
	for host, cursor := range cursors {
		hosts, seqs = append(hosts, int32(host)), append(seqs, int64(cursor.Seq))
	}
	_, err := tx.Exec(ctx, `
		UPDATE cursors SET seq = new.seq FROM unnest($1::int[], $2::bigint[]) AS new (host_id, seq)
		WHERE cursors.host_id = new.host_id AND cursors.seq <> new.seq`, hosts, seqs)
	if err != nil {
		return fmt.Errorf("advance cursors: %w", err)
	}
	return nil
}

// copyBinary sends finished binary tuples. pgx's own CopyFrom would box every value.
func copyBinary(ctx context.Context, tx pgxv5.Tx, table string, columns []string, tuples []byte) error {
	statement := "COPY " + table + " (" + strings.Join(columns, ", ") + ") FROM STDIN BINARY"
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(tuples), statement); err != nil {
		return fmt.Errorf("copy into %s: %w", table, err)
	}
	return nil
}

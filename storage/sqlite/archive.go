package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

var _ storage.Archive = (*Store)(nil)

// ArchivedHosts implements storage.Archive.
func (s *Store) ArchivedHosts(ctx context.Context) ([]storage.ArchivedHost, error) {
	hosts, err := s.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, "SELECT host_id, epoch, seq, checksum FROM cursors")
	if err != nil {
		return nil, fmt.Errorf("list cursors: %w", classify(err))
	}
	defer rows.Close()
	archived, err := storage.AttachCursors(rows, hosts)
	return archived, classify(err)
}

// Extent implements storage.Archive.
func (s *Store) Extent(ctx context.Context, table storage.Table, hosts []storage.HostID) (storage.Span, error) {
	query, args := table.ExtentSQL(rangeDialect, hosts)
	var oldest, newest sql.NullInt64
	if err := s.read.QueryRowContext(ctx, query, args...).Scan(&oldest, &newest); err != nil {
		return storage.Span{}, fmt.Errorf("find the extent of %s: %w", table.Name(), classify(err))
	}
	if !oldest.Valid {
		return storage.Span{}, nil
	}
	return storage.Span{From: time.UnixMilli(oldest.Int64).UTC(), To: time.UnixMilli(newest.Int64 + 1).UTC()}, nil
}

// ReadRows implements storage.Archive.
func (s *Store) ReadRows(ctx context.Context, table storage.Table, hosts []storage.HostID, span storage.Span, yield func([]storage.Cell) error) error {
	query, args := table.ReadSQL(rangeDialect, hosts, span)
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", table.Name(), classify(err))
	}
	defer rows.Close()
	columns := table.Columns()
	row, targets := storage.NewRow(columns)
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return fmt.Errorf("scan a row of %s: %w", table.Name(), err)
		}
		for i, column := range columns {
			if column.Kind == storage.Timestamp {
				row[i].Int *= 1000 // from milliseconds
			}
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", table.Name(), classify(err))
	}
	return nil
}

// ImportHosts implements storage.Archive.
func (s *Store) ImportHosts(ctx context.Context, hosts []storage.ArchivedHost) (map[storage.HostID]storage.HostID, error) {
	ids := make(map[storage.HostID]storage.HostID, len(hosts))
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for _, host := range hosts {
			id, err := importHost(ctx, tx, host)
			if err != nil {
				return fmt.Errorf("import the host of agent %s: %w", host.AgentID, err)
			}
			ids[host.ID] = id
		}
		return nil
	})
	return ids, err
}

func importHost(ctx context.Context, tx *sql.Tx, host storage.ArchivedHost) (id storage.HostID, err error) {
	agent, seen := host.AgentID.String(), host.FirstSeen.UnixMilli()
	err = tx.QueryRowContext(ctx, "UPDATE hosts SET first_seen = min(first_seen, $2) WHERE agent_id = $1 RETURNING host_id", agent, seen).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		facts, failure := protojson.Marshal(host.Facts)
		if failure != nil {
			return 0, fmt.Errorf("encode facts: %w", failure)
		}
		err = tx.QueryRowContext(ctx, "INSERT INTO hosts (agent_id, facts, first_seen) VALUES ($1, $2, $3) RETURNING host_id", agent, string(facts), seen).Scan(&id)
	}
	if err != nil {
		return 0, err
	}
	for name, value := range host.Labels {
		if _, err := tx.ExecContext(ctx, "INSERT INTO host_labels (host_id, name, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", id, name, value); err != nil {
			return 0, fmt.Errorf("save the label %s: %w", name, err)
		}
	}
	for epoch, cursor := range host.Cursors {
		_, err := tx.ExecContext(ctx, "INSERT INTO cursors (host_id, epoch, seq, checksum) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			id, int64(epoch), int64(cursor.Seq), cursor.Checksum)
		if err != nil {
			return 0, fmt.Errorf("save a cursor: %w", err)
		}
	}
	return id, nil
}

// Imported implements storage.Archive.
func (s *Store) Imported(ctx context.Context, digest string) (progress storage.ImportProgress, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT rows, whole FROM imports WHERE digest = $1", digest).Scan(&progress.Rows, &progress.Whole)
	if errors.Is(err, sql.ErrNoRows) {
		return storage.ImportProgress{}, nil
	}
	if err != nil {
		return progress, fmt.Errorf("read how far %s is imported: %w", digest, classify(err))
	}
	return progress, nil
}

// ImportRows implements storage.Archive.
func (s *Store) ImportRows(ctx context.Context, part storage.ImportPart) (counts storage.ImportCounts, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if err := advanceImport(ctx, tx, part); err != nil {
			return err
		}
		resolution := part.Table.Resolution
		var until int64
		if resolution != storage.Raw {
			if err := tx.QueryRowContext(ctx, "SELECT until FROM rollup_progress WHERE resolution = $1", resolution).Scan(&until); err != nil {
				return fmt.Errorf("read how far rollups are: %w", err)
			}
		}
		var due [][]storage.Cell
		due, counts = part.Due(s.options.Retention.Since(resolution, s.options.Now()), time.UnixMilli(until))
		if len(due) == 0 {
			return nil
		}
		stored, err := importRows(ctx, tx, part.Table, due, s.options.Now().Add(-storage.ImportsTold))
		counts.Settle(len(due), stored)
		return err
	})
	if err != nil {
		return storage.ImportCounts{}, fmt.Errorf("import %s from row %d on: %w", part.Name, part.From, err)
	}
	return counts, nil
}

// advanceImport moves the progress of the part's file, from where the part begins.
func advanceImport(ctx context.Context, tx *sql.Tx, part storage.ImportPart) error {
	if _, err := tx.ExecContext(ctx, "INSERT INTO imports (digest, name, rows) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", part.Digest, part.Name); err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, "UPDATE imports SET rows = $2, whole = $3 WHERE digest = $1 AND rows = $4 AND NOT whole", part.Digest, part.To, part.Whole, part.From)
	if err != nil {
		return err
	}
	moved, err := result.RowsAffected()
	if err == nil && moved != 1 {
		err = storage.ErrImportedElsewhere
	}
	return err
}

// importRows stores what is not there. The positions move of hosts that have rows since told.
func importRows(ctx context.Context, tx *sql.Tx, table storage.Table, rows [][]storage.Cell, told time.Time) (stored int64, err error) {
	if _, err := tx.ExecContext(ctx, "CREATE TEMP TABLE "+storage.Incoming+" AS "+storage.IncomingSQL(table.Name(), table.ColumnNames())); err != nil {
		return 0, fmt.Errorf("make room for what is incoming: %w", err)
	}
	if err := insertIncoming(ctx, tx, table, rows); err != nil {
		return 0, err
	}
	span := table.SpanOf(rows)
	from, to := span.From.UnixMilli(), span.To.UnixMilli()
	const between = "BETWEEN $1 AND $2"
	if table.Resolution != storage.Raw {
		_, err := tx.ExecContext(ctx, "DELETE FROM "+table.Name()+" WHERE rowid IN (SELECT r.rowid FROM "+storage.Incoming+" AS i JOIN "+table.Name()+
			" AS r ON "+table.Superseded()+" WHERE r.time "+between+")", from, to)
		if err != nil {
			return 0, fmt.Errorf("replace rollups of fewer readings in %s: %w", table.Name(), err)
		}
	}
	result, err := tx.ExecContext(ctx, table.AddSQL(table.Name(), table.ColumnNames(), between), from, to)
	if err != nil {
		return 0, fmt.Errorf("insert into %s: %w", table.Name(), err)
	}
	if stored, err = result.RowsAffected(); err != nil {
		return 0, err
	}
	if stored > 0 && storage.RolledUp(table.Family) && table.Resolution != storage.Day {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
			SELECT resolution, host_id, min(time), max(time) + $2 FROM `+storage.Incoming+`, rollup_progress
			WHERE resolution = $1 AND until > 0 GROUP BY resolution, host_id, until HAVING min(time) < until`,
			table.Resolution+1, max(table.Resolution.Step().Milliseconds(), 1))
		if err != nil {
			return 0, fmt.Errorf("note what is late: %w", err)
		}
	}
	if stored > 0 {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO cursors (host_id, epoch, seq) SELECT DISTINCT host_id, $1, 1 FROM `+storage.Incoming+` WHERE time >= $2
			ON CONFLICT DO UPDATE SET seq = seq + 1`, storage.ImportEpoch, told.Add(-table.Resolution.Step()).UnixMilli())
		if err != nil {
			return 0, fmt.Errorf("tell of the import: %w", err)
		}
	}
	_, err = tx.ExecContext(ctx, "DROP TABLE "+storage.Incoming)
	return stored, err
}

func insertIncoming(ctx context.Context, tx *sql.Tx, table storage.Table, rows [][]storage.Cell) (err error) {
	columns := table.Columns()
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	statement, err := tx.PrepareContext(ctx, "INSERT INTO "+storage.Incoming+" VALUES ("+marks+")")
	if err != nil {
		return fmt.Errorf("take what is incoming: %w", err)
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	args := make([]any, len(columns))
	for _, row := range rows {
		for i, column := range columns {
			args[i] = argument(row[i], column.Kind)
		}
		if _, err := statement.ExecContext(ctx, args...); err != nil {
			return fmt.Errorf("take what is incoming: %w", err)
		}
	}
	return nil
}

// argument is a cell as the database takes it.
func argument(cell storage.Cell, kind storage.CellKind) any {
	switch {
	case !cell.Valid:
		return nil
	case kind == storage.Timestamp:
		return cell.Int / 1000
	case kind == storage.Text:
		return cell.Text
	case kind == storage.Float32 || kind == storage.Float64:
		return cell.Float
	default:
		return cell.Int
	}
}

// Settle implements storage.Archive. What was never rolled up is by now, or there is nothing to roll up: then that time counts as
// rolled up, and what comes behind it as late.
func (s *Store) Settle(ctx context.Context) error {
	for again := true; again; {
		if err := s.RollUp(ctx); err != nil {
			return err
		}
		again = false
		err := s.inTx(ctx, func(tx *sql.Tx) error {
			until := s.options.Now().Add(-storage.RollupLag)
			for _, r := range storage.Resolutions[1:] {
				until = r.Floor(until)
				var oldest sql.NullInt64
				if err := tx.QueryRowContext(ctx, "SELECT min(time) FROM "+r.Finer().Relation(catalogue.Host())).Scan(&oldest); err != nil {
					return err
				}
				if oldest.Valid && oldest.Int64 < until.UnixMilli() {
					// It came this instant, and is for RollUp, which has set the progress elsewhere.
					var set bool
					if err := tx.QueryRowContext(ctx, "SELECT until > 0 FROM rollup_progress WHERE resolution = $1", r).Scan(&set); err != nil {
						return err
					}
					again = again || !set
					continue
				}
				if _, err := tx.ExecContext(ctx, "UPDATE rollup_progress SET until = $2 WHERE resolution = $1 AND until = 0", r, until.UnixMilli()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("settle the rollups: %w", err)
		}
	}
	return nil
}

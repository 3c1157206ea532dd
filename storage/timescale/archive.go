package timescale

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/storage"
)

var _ storage.Archive = (*Store)(nil)

// ArchivedHosts implements storage.Archive.
func (s *Store) ArchivedHosts(ctx context.Context) ([]storage.ArchivedHost, error) {
	hosts, err := s.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.reads.Query(ctx, "SELECT host_id, epoch, seq, checksum FROM cursors")
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
	var oldest, newest *time.Time
	err := s.patiently(ctx, func(tx pgxv5.Tx) error { return tx.QueryRow(ctx, query, args...).Scan(&oldest, &newest) })
	if err != nil {
		return storage.Span{}, fmt.Errorf("find the extent of %s: %w", table.Name(), classify(err))
	}
	if oldest == nil {
		return storage.Span{}, nil
	}
	return storage.Span{From: oldest.UTC(), To: newest.Add(time.Millisecond).UTC()}, nil
}

// patiently reads for as long as it takes.
func (s *Store) patiently(ctx context.Context, read func(pgxv5.Tx) error) error {
	return pgxv5.BeginTxFunc(ctx, s.reads, pgxv5.TxOptions{AccessMode: pgxv5.ReadOnly}, func(tx pgxv5.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0"); err != nil {
			return err
		}
		return read(tx)
	})
}

// ReadRows implements storage.Archive.
func (s *Store) ReadRows(ctx context.Context, table storage.Table, hosts []storage.HostID, span storage.Span, yield func([]storage.Cell) error) error {
	query, args := table.ReadSQL(rangeDialect, hosts, span)
	var refused error
	err := s.patiently(ctx, func(tx pgxv5.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		row, targets := storage.NewRow(table.Columns())
		for rows.Next() {
			if err := rows.Scan(targets...); err != nil {
				return err
			}
			if refused = yield(row); refused != nil {
				return refused
			}
		}
		return rows.Err()
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", table.Name(), classify(err))
	}
	return nil
}

// What imports a host. An insert that finds the host there would use up an id.
const (
	importHostSQL = `
		INSERT INTO hosts (agent_id, facts, first_seen) SELECT $1::uuid, $2::jsonb, $3::timestamptz
		WHERE NOT EXISTS (SELECT FROM hosts WHERE agent_id = $1) ON CONFLICT (agent_id) DO NOTHING`
	importSeenSQL  = "UPDATE hosts SET first_seen = $2 WHERE agent_id = $1 AND first_seen > $2"
	importLabelSQL = `
		INSERT INTO host_labels (host_id, name, value) SELECT host_id, $2::text, $3::text FROM hosts WHERE agent_id = $1 ON CONFLICT DO NOTHING`
	importCursorSQL = `
		INSERT INTO cursors (host_id, epoch, seq, checksum) SELECT host_id, $2::bigint, $3::bigint, $4::bigint FROM hosts WHERE agent_id = $1 ON CONFLICT DO NOTHING`
)

// ImportHosts implements storage.Archive.
func (s *Store) ImportHosts(ctx context.Context, hosts []storage.ArchivedHost) (map[storage.HostID]storage.HostID, error) {
	ids := make(map[storage.HostID]storage.HostID, len(hosts))
	work := &pgxv5.Batch{}
	for _, host := range hosts {
		facts, err := protojson.Marshal(host.Facts)
		if err != nil {
			return nil, fmt.Errorf("import the host of agent %s: encode facts: %w", host.AgentID, err)
		}
		agent := [16]byte(host.AgentID)
		work.Queue(importHostSQL, agent, facts, host.FirstSeen)
		work.Queue(importSeenSQL, agent, host.FirstSeen)
		for name, value := range host.Labels {
			work.Queue(importLabelSQL, agent, name, value)
		}
		for epoch, cursor := range host.Cursors {
			work.Queue(importCursorSQL, agent, int64(epoch), int64(cursor.Seq), int64(cursor.Checksum))
		}
		work.Queue("SELECT host_id FROM hosts WHERE agent_id = $1", agent).QueryRow(func(row pgxv5.Row) error {
			var id int32
			err := row.Scan(&id)
			ids[host.ID] = storage.HostID(id)
			return err
		})
	}
	err := pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error { return tx.SendBatch(ctx, work).Close() })
	if err != nil {
		return nil, fmt.Errorf("import %d hosts: %w", len(hosts), classify(err))
	}
	return ids, nil
}

// Imported implements storage.Archive.
func (s *Store) Imported(ctx context.Context, digest string) (progress storage.ImportProgress, err error) {
	err = s.reads.QueryRow(ctx, "SELECT rows, whole FROM imports WHERE digest = $1", digest).Scan(&progress.Rows, &progress.Whole)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return storage.ImportProgress{}, nil
	}
	if err != nil {
		return progress, fmt.Errorf("read how far %s is imported: %w", digest, classify(err))
	}
	return progress, nil
}

// ImportRows implements storage.Archive.
func (s *Store) ImportRows(ctx context.Context, part storage.ImportPart) (counts storage.ImportCounts, err error) {
	err = pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		if err := advanceImport(ctx, tx, part); err != nil {
			return err
		}
		resolution := part.Table.Resolution
		var until time.Time
		if resolution != storage.Raw {
			all, err := readGenerations(ctx, tx)
			if err != nil {
				return err
			}
			if all.numbered > 0 {
				return storage.ErrNoImportOfRollups
			}
			// Who makes rollups of late rows would not see those that are being stored here, nor these its own.
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", locks, lockRollUp); err != nil {
				return err
			}
			err = tx.QueryRow(ctx, "SELECT until FROM rollup_progress WHERE resolution = $1 AND isfinite(until)", resolution).Scan(&until)
			if err != nil && !errors.Is(err, pgxv5.ErrNoRows) {
				return err
			}
		}
		var due [][]storage.Cell
		due, counts = part.Due(s.options.Retention.Since(resolution, s.options.Now()), until)
		if len(due) == 0 {
			return nil
		}
		stored, err := s.importRows(ctx, tx, part.Table, due)
		counts.Settle(len(due), stored)
		return err
	})
	if err != nil {
		return storage.ImportCounts{}, fmt.Errorf("import %s from row %d on: %w", part.Name, part.From, classify(err))
	}
	return counts, nil
}

// advanceImport moves the progress of the part's file, from where the part begins.
func advanceImport(ctx context.Context, tx pgxv5.Tx, part storage.ImportPart) error {
	if _, err := tx.Exec(ctx, "INSERT INTO imports (digest, name, rows) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", part.Digest, part.Name); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "UPDATE imports SET rows = $2, whole = $3 WHERE digest = $1 AND rows = $4 AND NOT whole", part.Digest, part.To, part.Whole, part.From)
	if err == nil && tag.RowsAffected() != 1 {
		err = storage.ErrImportedElsewhere
	}
	return err
}

func (s *Store) importRows(ctx context.Context, tx pgxv5.Tx, table storage.Table, rows [][]storage.Cell) (stored int64, err error) {
	// Each row is looked up by the index: any other plan reads whole chunks, for a part of some hosts.
	if _, err := tx.Exec(ctx, "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"); err != nil {
		return 0, err
	}
	spans := newHostSpans(table.SpansOf(rows))
	var there bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+storedTable(table)+" AS r, "+hostSpansSQL+" WHERE "+inHostSpan+")", spans.arguments()...).Scan(&there); err != nil {
		return 0, fmt.Errorf("look for what is there already in %s: %w", table.Name(), err)
	}
	if there {
		stored, err = s.importMissing(ctx, tx, table, rows)
	} else {
		stored, err = int64(len(rows)), copyCells(ctx, tx.Conn().PgConn(), storedTable(table), table, rows, s.plainBefore)
	}
	if err != nil || stored == 0 {
		return stored, err
	}
	if storage.RolledUp(table.Family) && table.Resolution != storage.Day {
		if err := noteLateImport(ctx, tx, table.Resolution+1, spans); err != nil {
			return 0, err
		}
	}
	return stored, tellImport(ctx, tx, spans, s.options.Now().Add(-storage.ImportsTold))
}

// tellImport moves the positions of the hosts whose spans end after a time. It comes last: another import of the same hosts waits
// for the commit. Rows are locked in order, so that two can not deadlock.
func tellImport(ctx context.Context, tx pgxv5.Tx, spans hostSpans, after time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cursors AS c (host_id, epoch, seq)
		SELECT DISTINCT host, $4::bigint, 1 FROM `+hostSpansSQL+` WHERE till > $5 ORDER BY host
		ON CONFLICT (host_id, epoch) DO UPDATE SET seq = c.seq + 1`, append(spans.arguments(), storage.ImportEpoch, after)...)
	if err != nil {
		return fmt.Errorf("tell of the import: %w", err)
	}
	return nil
}

// hostSpans are stretches of hosts' time, as arrays for the database.
type hostSpans struct {
	hosts       []int32
	since, till []time.Time
}

func newHostSpans(hosts []storage.HostID, spans []storage.Span) (h hostSpans) {
	for i, host := range hosts {
		h.hosts, h.since, h.till = append(h.hosts, int32(host)), append(h.since, spans[i].From), append(h.till, spans[i].To)
	}
	return h
}

func (h hostSpans) arguments() []any { return []any{h.hosts, h.since, h.till} }

const (
	hostSpansSQL = "unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS part (host, since, till)"
	inHostSpan   = "r.host_id = part.host AND r.time >= part.since AND r.time < part.till"
)

// importMissing stores those rows that are not there, and those rollups that have more readings than what is there.
func (s *Store) importMissing(ctx context.Context, tx pgxv5.Tx, table storage.Table, rows [][]storage.Cell) (stored int64, err error) {
	if _, err := tx.Exec(ctx, "CREATE TEMP TABLE "+storage.Incoming+" ON COMMIT DROP AS "+storage.IncomingSQL(storedTable(table), storedColumns(table))); err != nil {
		return 0, fmt.Errorf("make room for what is incoming: %w", err)
	}
	if err := copyCells(ctx, tx.Conn().PgConn(), storage.Incoming, table, rows, s.plainBefore); err != nil {
		return 0, err
	}
	span := table.SpanOf(rows)
	const between = "BETWEEN $1 AND $2"
	if table.Resolution != storage.Raw {
		_, err := tx.Exec(ctx, "DELETE FROM "+table.Name()+" AS r USING "+storage.Incoming+" AS i WHERE "+table.Superseded()+" AND r.time "+between, span.From, span.To)
		if err != nil {
			return 0, fmt.Errorf("replace rollups of fewer readings in %s: %w", table.Name(), err)
		}
	}
	tag, err := tx.Exec(ctx, table.AddSQL(storedTable(table), storedColumns(table), between), span.From, span.To)
	if err != nil {
		return 0, fmt.Errorf("insert into %s: %w", table.Name(), err)
	}
	return tag.RowsAffected(), nil
}

// noteLateImport notes what of the hosts' spans is rolled up to a resolution already. The lock is held to the commit, as by a
// flush (migration 3).
func noteLateImport(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution, spans hostSpans) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock_shared($1, $2)", locks, lockClaim); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
		SELECT resolution, host, since, till FROM `+hostSpansSQL+`, rollup_progress
		WHERE resolution = $4 AND isfinite(greatest(claimed, until)) AND since < greatest(claimed, until)`, append(spans.arguments(), resolution)...)
	if err != nil {
		return fmt.Errorf("note what is late: %w", err)
	}
	return nil
}

func appendCell(dst []byte, cell storage.Cell, kind storage.CellKind) []byte {
	switch {
	case !cell.Valid:
		return binary.BigEndian.AppendUint32(dst, math.MaxUint32)
	case kind == storage.Timestamp:
		return appendTime(dst, cell.Int)
	case kind == storage.Text:
		return appendText(dst, cell.Text)
	case kind == storage.Float32 || kind == storage.Int32:
		return appendInt32(dst, uint32(cellBits(cell, kind)))
	default:
		return appendInt64(dst, cellBits(cell, kind))
	}
}

// cellBits are those of a number.
func cellBits(cell storage.Cell, kind storage.CellKind) uint64 {
	switch kind {
	case storage.Float32:
		return uint64(math.Float32bits(float32(cell.Float)))
	case storage.Float64:
		return math.Float64bits(cell.Float)
	default:
		return uint64(cell.Int)
	}
}

// Settle implements storage.Archive. What was never rolled up is by now, or there is nothing to roll up: then that time counts as
// rolled up, and what comes behind it as late. It waits for another server that is at it.
func (s *Store) Settle(ctx context.Context) error {
	return s.rollUp(ctx, true)
}

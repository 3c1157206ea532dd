package timescale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// errCursorMoved: a cursor is not where the batches expect it. The transaction was rolled back.
var errCursorMoved = errors.New("a cursor is not where its batches expect it")

// Append implements storage.Store. One transaction copies the rows, and as its last step moves the cursors from where
// the batches expect them, all or none, and commits. That step is one message to the database, so no lock on a cursor
// outlives the time in which the database works on it, even where this server freezes in the middle of a flush.
//
// Where a cursor is elsewhere the transaction is undone, the cursors are read, the batches that they do not let pass are
// left out, and the rest is tried again. A commit whose answer was lost ends the same way: the caller's retry finds the
// cursors moved, and learns that its batches are duplicates.
func (s *Store) Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	connection, err := s.writes.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("append %d batches: %w", len(batches), classify(err))
	}
	defer connection.Release()
	// The usual case first: every batch follows the one before, and the first of a host its stored cursor.
	outcomes, moves := expect(batches)
	for try := 0; ; try++ {
		if len(moves) > 0 {
			err = commit(ctx, connection.Conn().PgConn(), moves, storage.Chosen(batches, outcomes), s.plainBefore)
		} else {
			err = nil
		}
		switch {
		case err == nil:
			return outcomes, nil
		case !errors.Is(err, errCursorMoved):
			return nil, fmt.Errorf("append %d batches: %w", len(batches), classify(err))
		case try == tries:
			// Others move the same cursors all the time. Let the caller pause.
			return nil, fmt.Errorf("append %d batches: %w: %w", len(batches), storage.ErrUnavailable, err)
		}
		cursors, err := readCursors(ctx, connection.Conn(), batches)
		if err != nil {
			return nil, fmt.Errorf("append %d batches: %w", len(batches), classify(err))
		}
		outcomes, moves = judge(batches, func(batch *storage.Batch) (storage.Cursor, bool) {
			cursor, known := cursors[batch.Spool()]
			return cursor, known
		})
	}
}

// tries bounds how often one call reads the cursors again because another server moved them meanwhile.
const tries = 5

// move is the way of one cursor in a flush.
type move struct {
	spool      storage.Spool
	prev, next storage.Cursor
	// oldest and newest are the times of the samples that come with it, in Unix milliseconds. Without samples, oldest is the
	// end of time.
	oldest, newest int64
}

// add has a batch come with the move.
func (m *move) add(batch *storage.Batch) {
	m.next = storage.Cursor{Seq: batch.Seq, Checksum: batch.Checksum}
	if batch.Rows.Count() > 0 {
		oldest, newest := batch.Rows.Times()
		m.oldest, m.newest = min(m.oldest, oldest), max(m.newest, newest)
	}
}

// newMove begins one of a spool, from a cursor.
func newMove(spool storage.Spool, from storage.Cursor) move {
	return move{spool: spool, prev: from, next: from, oldest: math.MaxInt64, newest: math.MinInt64}
}

// expect takes the batches' word for where the cursors are.
func expect(batches []*storage.Batch) ([]storage.Outcome, []move) {
	return judge(batches, func(batch *storage.Batch) (storage.Cursor, bool) { return batch.Follows(), true })
}

// judge decides on batches whose spools' cursors are where at says, if it knows the spool.
func judge(batches []*storage.Batch, at func(*storage.Batch) (storage.Cursor, bool)) ([]storage.Outcome, []move) {
	outcomes, moves := make([]storage.Outcome, len(batches)), make([]move, 0, len(batches))
	places := placesPool.Get().(map[storage.Spool]int)
	defer func() {
		clear(places)
		placesPool.Put(places)
	}()
	for i, batch := range batches {
		place, seen := places[batch.Spool()]
		if !seen {
			stored, known := at(batch)
			if !known {
				outcomes[i] = storage.Fenced
				continue
			}
			place = len(moves)
			places[batch.Spool()] = place
			moves = append(moves, newMove(batch.Spool(), stored))
		}
		m := &moves[place]
		if outcomes[i] = m.next.Judge(batch); outcomes[i] == storage.Stored {
			m.add(batch)
		}
	}
	return outcomes, slices.DeleteFunc(moves, func(m move) bool { return m.next == m.prev })
}

// placesPool has empty maps.
var placesPool = sync.Pool{New: func() any { return map[storage.Spool]int{} }}

// commit runs the transaction. It returns errCursorMoved if a cursor is not at the start of its move.
func commit(ctx context.Context, connection *pgconn.PgConn, moves []move, batches []*storage.Batch, plainBefore int64) (err error) {
	if _, err := connection.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil && !connection.IsClosed() {
			// The work's error says more than a failed rollback, after which the pool drops the connection.
			_, _ = connection.Exec(ctx, "ROLLBACK").ReadAll()
		}
	}()
	if err := copyAll(ctx, connection, batches, plainBefore); err != nil {
		return err
	}
	return advance(ctx, connection, moves)
}

// copyAll copies everything that the batches hold: one COPY a form. What is of a time before plainBefore, in Unix milliseconds, is
// not packed: the aggregates of that time are made of plain columns.
func copyAll(ctx context.Context, connection *pgconn.PgConn, batches []*storage.Batch, plainBefore int64) error {
	parts := partsPool.Get().(*[]net.Buffers)
	for _, batch := range batches {
		rows := &batch.Rows
		if oldest, _ := rows.Times(); rows.Count() > 0 && oldest < plainBefore {
			plain := rows.Unpacked()
			rows = &plain
		}
		for form, tuples := range rows.Segments {
			(*parts)[form.Index()] = append((*parts)[form.Index()], tuples)
		}
	}
	for i, tuples := range *parts {
		if form := storage.Forms()[i]; len(tuples) > 0 {
			if err := copyBinary(ctx, connection, catalogue.Families()[form.Place].StoredTable(), form.Columns(), tuples); err != nil {
				return err
			}
		}
	}
	// Where a COPY fails, pgx may still be reading what it was given: then the list is not used again.
	for i, tuples := range *parts {
		clear(tuples) // not to keep the rows
		(*parts)[i] = tuples[:0]
	}
	partsPool.Put(parts)
	if err := copyBinary(ctx, connection, "gaps", gapColumns, gapTuples(batches)); err != nil {
		return err
	}
	return copyBinary(ctx, connection, "quarantine", quarantineColumns, quarantineTuples(batches))
}

// partsPool has lists of tuples, one a form.
var partsPool = sync.Pool{New: func() any { parts := make([]net.Buffers, len(storage.Forms())); return &parts }}

// advance moves the cursors and commits, in one message to the database.
func advance(ctx context.Context, connection *pgconn.PgConn, moves []move) error {
	_, err := connection.Exec(ctx, advanceSQL(moves)+"; COMMIT").ReadAll()
	var failure *pgconn.PgError
	if errors.As(err, &failure) && failure.Code == "GH001" {
		return errCursorMoved
	}
	if err != nil {
		return fmt.Errorf("advance cursors and commit: %w", err)
	}
	return nil
}

// advanceSQL is the statement that moves the cursors. It is text, because only so does the commit go in the same
// message; it is made of numbers alone.
func advanceSQL(moves []move) string {
	columns := [8][]byte{}
	oldest := int64(math.MaxInt64)
	for i, m := range moves {
		oldest = min(oldest, m.oldest)
		for j, number := range [8]int64{
			int64(m.spool.Host), int64(m.spool.Epoch), int64(m.prev.Seq), int64(m.prev.Checksum), int64(m.next.Seq), int64(m.next.Checksum), m.oldest, m.newest,
		} {
			if i > 0 {
				columns[j] = append(columns[j], ',')
			}
			columns[j] = strconv.AppendInt(columns[j], number, 10)
		}
	}
	return fmt.Sprintf("SELECT advance_cursors('{%s}', '{%s}', '{%s}', '{%s}', '{%s}', '{%s}', '{%s}', '{%s}', %d)",
		columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6], columns[7], oldest)
}

func readCursors(ctx context.Context, connection *pgxv5.Conn, batches []*storage.Batch) (map[storage.Spool]storage.Cursor, error) {
	hosts := make([]int32, 0, len(batches))
	for _, batch := range batches {
		hosts = append(hosts, int32(batch.Host))
	}
	slices.Sort(hosts)
	rows, err := connection.Query(ctx, "SELECT host_id, epoch, seq, checksum FROM cursors WHERE host_id = ANY($1)", slices.Compact(hosts))
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	cursors := make(map[storage.Spool]storage.Cursor, len(hosts))
	var host int32
	var epoch, seq, check int64
	_, err = pgxv5.ForEachRow(rows, []any{&host, &epoch, &seq, &check}, func() error {
		cursors[storage.Spool{Host: storage.HostID(host), Epoch: uint64(epoch)}] = storage.Cursor{Seq: uint64(seq), Checksum: uint32(check)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	return cursors, nil
}

// copyBinary sends finished binary tuples, where there are some. pgx's own CopyFrom would box every value.
func copyBinary(ctx context.Context, connection *pgconn.PgConn, table string, columns []string, tuples net.Buffers) error {
	if len(tuples) == 0 {
		return nil
	}
	payload := io.MultiReader(strings.NewReader(copyHeader), &tuples, strings.NewReader(copyTrailer))
	statement := "COPY " + table + " (" + strings.Join(columns, ", ") + ") FROM STDIN BINARY"
	if _, err := connection.CopyFrom(ctx, payload, statement); err != nil {
		return fmt.Errorf("copy into %s: %w", table, err)
	}
	return nil
}

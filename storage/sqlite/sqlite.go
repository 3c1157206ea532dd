// Package sqlite is the storage driver for an embedded SQLite file: what a server without a configured database uses.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gohub-io/gohub/migrations"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// FileName is the database's name within the data directory.
const FileName = "gohub.db"

// Store is a storage.Store on one SQLite file in WAL mode. SQLite has one writer: writes queue on one connection, reads
// have connections of their own and never wait for it.
type Store struct {
	write *sql.DB
	// read serves what may take long, small what is a few rows and must not wait behind that: whether the database answers, logins,
	// alerts, hosts, positions.
	read, small *sql.DB
	path        string
	options     storage.Options
	watch       *storage.RollupWatch
	// rolling is held by who rolls up, by the time that clock tells.
	rolling sync.Mutex
	clock   *storage.Clock

	stop context.CancelFunc
	// running counts the goroutines of the store, which stop ends.
	running sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Open opens or creates the database in a directory, which it creates too if needed, and migrates its schema.
func Open(directory string, options storage.Options) (*Store, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory %s: %w; choose one that this user may write with --data-dir", directory, err)
	}
	probe, err := os.CreateTemp(directory, ".writable-*")
	if err != nil {
		return nil, fmt.Errorf("the data directory %s can not be written: %w; choose another with --data-dir", directory, err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return nil, fmt.Errorf("remove a probe file: %w", err)
	}

	path := filepath.Join(directory, FileName)
	if err := migrateFile(path); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	background, stop := context.WithCancel(context.Background())
	options = options.WithDefaults()
	store := &Store{path: path, options: options, watch: storage.NewRollupWatch(options.Now), clock: storage.NewClock(options.Logger), stop: stop}
	if store.write, err = openFile(path, 1); err != nil {
		stop()
		return nil, fmt.Errorf("open %s for writing: %w", path, err)
	}
	// Two readers a core would only contend for the page cache; four serve a dashboard.
	if store.read, err = openFile(path, 4); err != nil {
		stop()
		store.write.Close()
		return nil, fmt.Errorf("open %s for reading: %w", path, err)
	}
	if store.small, err = openFile(path, 2); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("open %s for reading: %w", path, err), store.read.Close(), store.write.Close())
	}
	if err := store.inTx(background, func(tx *sql.Tx) error { return makeRollups(background, tx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the rollups in %s: %w", path, err), store.Close())
	}
	if err := store.inTx(background, func(tx *sql.Tx) error { return makeViews(background, tx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the views for analysts in %s: %w", path, err), store.Close())
	}
	if !options.Idle {
		store.running.Go(func() { storage.KeepRolledUp(background, store, options.Logger) })
	}
	return store, nil
}

// openFile opens the file with settings under which a commit survives a power cut.
func openFile(path string, connections int) (*sql.DB, error) {
	settings := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)",
	}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: settings.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := db.Ping(); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func migrateFile(path string) error {
	db, err := openFile(path, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	target, err := migratesqlite.WithInstance(db, &migratesqlite.Config{})
	if err != nil {
		return err
	}
	return storage.Migrate(migrations.SQLite, "sqlite", target)
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.stop()
	s.running.Wait()
	return errors.Join(s.small.Close(), s.read.Close(), s.write.Close())
}

// Ping implements storage.Store.
func (s *Store) Ping(ctx context.Context) error { return classify(s.small.PingContext(ctx)) }

// Describe implements storage.Store.
func (s *Store) Describe(ctx context.Context) (storage.Description, error) {
	d := storage.Description{Driver: "sqlite"}
	err := s.small.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&d.Version)
	return d, classify(err)
}

// Register implements storage.Store.
func (s *Store) Register(ctx context.Context, registrations []storage.Registration) ([]storage.Registered, error) {
	answers := make([]storage.Registered, len(registrations))
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		full := false
		for i, r := range registrations {
			err := s.register(ctx, tx, r, full, &answers[i])
			if errors.Is(err, storage.ErrTooManyHosts) {
				answers[i], full = storage.Registered{Err: err}, true
				continue
			}
			if err != nil {
				return fmt.Errorf("register agent %s: %w", r.AgentID, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// register registers an agent. full tells that there is no room for new ones: they are not counted for each.
func (s *Store) register(ctx context.Context, tx *sql.Tx, r storage.Registration, full bool, answer *storage.Registered) error {
	facts, err := protojson.Marshal(r.Facts)
	if err != nil {
		return fmt.Errorf("encode facts: %w", err)
	}
	host := storage.Host{AgentID: r.AgentID, Facts: r.Facts}
	var firstSeen int64
	// An upsert would use up an id at every reconnect, so look first.
	err = tx.QueryRowContext(ctx, "UPDATE hosts SET facts = $2 WHERE agent_id = $1 RETURNING host_id, first_seen",
		r.AgentID.String(), string(facts)).Scan(&host.ID, &firstSeen)
	if errors.Is(err, sql.ErrNoRows) {
		if full {
			return s.options.TooManyHosts()
		}
		err = tx.QueryRowContext(ctx, `
			INSERT INTO hosts (agent_id, facts, first_seen) SELECT $1, $2, $3 WHERE (SELECT count(*) FROM hosts) < $4
			RETURNING host_id, first_seen`,
			r.AgentID.String(), string(facts), r.At.UnixMilli(), s.options.MaxHosts).Scan(&host.ID, &firstSeen)
		if errors.Is(err, sql.ErrNoRows) {
			return s.options.TooManyHosts()
		}
	}
	if err != nil {
		return fmt.Errorf("save host: %w", err)
	}
	host.FirstSeen = time.UnixMilli(firstSeen).UTC()
	answer.Host = host
	_, err = tx.ExecContext(ctx, "INSERT INTO cursors (host_id, epoch, seq) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING", host.ID, int64(r.Epoch))
	if err == nil {
		err = tx.QueryRowContext(ctx, "SELECT seq, checksum FROM cursors WHERE host_id = $1 AND epoch = $2", host.ID, int64(r.Epoch)).
			Scan(&answer.Cursor.Seq, &answer.Cursor.Checksum)
	}
	if err != nil {
		return fmt.Errorf("save cursor: %w", err)
	}
	return nil
}

// Hosts implements storage.Store.
func (s *Store) Hosts(ctx context.Context) ([]storage.Host, error) {
	rows, err := s.small.QueryContext(ctx, "SELECT host_id, agent_id, facts, first_seen FROM hosts ORDER BY host_id")
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", classify(err))
	}
	defer rows.Close()
	var hosts []storage.Host
	for rows.Next() {
		var (
			host           = storage.Host{Facts: &gohubv1.HostFacts{}}
			agentID, facts string
			firstSeen      int64
		)
		if err := rows.Scan(&host.ID, &agentID, &facts, &firstSeen); err != nil {
			return nil, fmt.Errorf("scan host: %w", err)
		}
		if host.AgentID, err = uuid.Parse(agentID); err != nil {
			return nil, fmt.Errorf("host %d: agent id %q: %w", host.ID, agentID, err)
		}
		if err := lenient.Unmarshal([]byte(facts), host.Facts); err != nil {
			return nil, fmt.Errorf("host %d: facts: %w", host.ID, err)
		}
		host.FirstSeen = time.UnixMilli(firstSeen).UTC()
		hosts = append(hosts, host)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list hosts: %w", classify(err))
	}
	return hosts, s.attachLabels(ctx, hosts)
}

// lenient reads JSON that a later or earlier server wrote.
var lenient = protojson.UnmarshalOptions{DiscardUnknown: true}

// inTx runs work in one write transaction.
func (s *Store) inTx(ctx context.Context, work func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", classify(err))
	}
	if err := work(tx); err != nil {
		// The work's error says more than a failed rollback, after which the connection is dropped anyway.
		_ = tx.Rollback()
		return classify(err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", classify(err))
	}
	return nil
}

// classify wraps SQLite's errors in those of package storage.
func classify(err error) error {
	var failure *sqlitedriver.Error
	if !errors.As(err, &failure) || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrBadData) {
		return err
	}
	switch failure.Code() & 0xff { // the low byte is the primary code
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE:
		return fmt.Errorf("%w: %w", storage.ErrBadData, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_AUTH: // the first: a missing table
		return fmt.Errorf("%w: %w", storage.ErrMisconfigured, err)
	default:
		return err
	}
}

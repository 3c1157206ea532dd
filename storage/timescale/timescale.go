// Package timescale is the storage driver for TimescaleDB, in both of its editions.
package timescale

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/google/uuid"
	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/migrations"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// The oldest versions that have what the schema and the queries use.
const (
	oldestPostgres    = 150000 // as server_version_num tells: 15
	oldestTimescaleDB = "2.13"
)

// Store is a storage.Store on TimescaleDB.
type Store struct {
	// writes serves flushes and registrations, reads what may take long: a slow query never holds up ingest.
	writes, reads *pgxpool.Pool
	// small serves what is read and written by a few rows and must not wait behind queries: whether the database answers, logins,
	// alerts, hosts, positions.
	small *pgxpool.Pool

	options storage.Options
	watch   *storage.RollupWatch
	// clock judges the server's clock for rollups. mocked: it is a test's.
	clock  *storage.Clock
	mocked bool
	// plain has a new database's rollups be tables, as the Apache edition's are.
	plain bool
	// plainBefore is that of the generations of rollups, set before the store is used.
	plainBefore int64
	stop        context.CancelFunc
	// running counts the goroutines of the store, which stop ends.
	running sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Connections of the pools, unless the URL has pool_max_conns: that is for writes and reads then. docs/storage.md counts them.
const (
	// Rollups hold one for as long as they run, and one is for what has no slot: usage, gaps, the quarantine.
	readsBesideQueries = 2
	// Each is held for milliseconds.
	smallConnections = 3
)

// Open connects to the database that the URL names, checks its versions and migrates its schema. No error that it
// returns contains the URL's password.
func Open(ctx context.Context, url string, options storage.Options) (*Store, error) {
	return open(ctx, url, options, false)
}

func open(ctx context.Context, url string, options storage.Options, plain bool) (*Store, error) {
	mocked := options.Now != nil
	options = options.WithDefaults()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// pgx blanks the password in its parse errors.
		return nil, fmt.Errorf("parse the database URL: %w", err)
	}
	parameters := config.ConnConfig.RuntimeParams
	parameters["application_name"] = "gohub-server"
	parameters["timezone"] = "UTC"
	// A batch is acknowledged after its commit, so the commit must be on disk.
	parameters["synchronous_commit"] = "on"
	// A server that hangs in a transaction must not hold its cursors' row locks for ever.
	parameters["idle_in_transaction_session_timeout"] = "30s"

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	store := &Store{
		options: options, watch: storage.NewRollupWatch(options.Now), clock: storage.NewClock(options.Logger), mocked: mocked, plain: plain, stop: stop,
	}
	if store.writes, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		stop()
		return nil, fmt.Errorf("prepare the database connections: %w", err)
	}
	reading := config.Copy()
	// Who asks gives up after 30 s and cancels. This ends what is left of a server that was frozen or cut off.
	reading.ConnConfig.RuntimeParams["statement_timeout"] = "45s"
	// After five runs PostgreSQL may keep a plan for any times and hosts, which knows neither the chunks nor how many rows
	// there are.
	reading.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	// A fleet of thousands is grouped by host in memory, and compiling a statement takes longer than it saves.
	reading.ConnConfig.RuntimeParams["work_mem"] = "64MB"
	reading.ConnConfig.RuntimeParams["jit"] = "off"
	if given, err := pgconn.ParseConfig(url); err == nil && given.RuntimeParams["pool_max_conns"] == "" {
		reading.MaxConns = int32(options.Queries + readsBesideQueries)
	}
	if store.reads, err = pgxpool.NewWithConfig(ctx, reading); err != nil {
		stop()
		store.writes.Close()
		return nil, fmt.Errorf("prepare the database connections: %w", err)
	}
	small := reading.Copy()
	small.MaxConns, small.MinConns, small.MinIdleConns = smallConnections, 0, 0
	delete(small.ConnConfig.RuntimeParams, "work_mem")
	if store.small, err = pgxpool.NewWithConfig(ctx, small); err != nil {
		stop()
		store.reads.Close()
		store.writes.Close()
		return nil, fmt.Errorf("prepare the database connections: %w", err)
	}
	where := fmt.Sprintf("%s:%d/%s", config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.Database)
	if err := store.prepare(ctx); err != nil {
		store.Close()
		return nil, fmt.Errorf("open the database at %s: %w", where, err)
	}
	if !options.Idle {
		store.running.Go(func() { store.upkeep(background) })
		store.running.Go(func() { storage.KeepRolledUp(background, store, options.Logger) })
	}
	return store, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.checkVersions(ctx); err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.writes)
	defer db.Close()
	target, err := pgx.WithInstance(db, &pgx.Config{})
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	defer target.Close()
	if err := storage.Migrate(migrations.TimescaleDB, "timescaledb", target); err != nil {
		return err
	}
	if err := s.makeRollups(ctx); err != nil {
		return fmt.Errorf("prepare the rollups: %w", classify(err))
	}
	// Samples are stored and shown without the views, so they must not keep the server from starting.
	if err := s.makeViews(ctx); err != nil {
		s.options.Logger.Warn("can not make the views for analysts; they stay as they were", "error", err)
	}
	return nil
}

func (s *Store) checkVersions(ctx context.Context) error {
	var postgres int
	if err := s.small.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&postgres); err != nil {
		return fmt.Errorf("read PostgreSQL's version: %w", classify(err))
	}
	if postgres < oldestPostgres {
		return fmt.Errorf("PostgreSQL %d is too old: version %d or newer is needed", postgres/10000, oldestPostgres/10000)
	}
	var version string
	err := s.small.QueryRow(ctx, `
		SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), default_version)
		FROM pg_available_extensions WHERE name = 'timescaledb'`).Scan(&version)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return errors.New("the extension timescaledb is not installed on the database server; install TimescaleDB " + oldestTimescaleDB + " or newer, or unset GOHUB_DATABASE_URL to store into SQLite")
	}
	if err != nil {
		return fmt.Errorf("read TimescaleDB's version: %w", classify(err))
	}
	if olderThan(version, oldestTimescaleDB) {
		return fmt.Errorf("TimescaleDB %s is too old: version %s or newer is needed", version, oldestTimescaleDB)
	}
	return nil
}

// olderThan compares the major and minor numbers of two versions.
func olderThan(version, bound string) bool {
	v, b := strings.SplitN(version, ".", 3), strings.SplitN(bound, ".", 3)
	for i := range 2 {
		have, _ := strconv.Atoi(v[min(i, len(v)-1)])
		want, _ := strconv.Atoi(b[i])
		if have != want {
			return have < want
		}
	}
	return false
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.stop()
	s.running.Wait()
	s.small.Close()
	s.reads.Close()
	s.writes.Close()
	return nil
}

// Ping implements storage.Store.
func (s *Store) Ping(ctx context.Context) error { return classify(s.small.Ping(ctx)) }

// Describe implements storage.Store.
func (s *Store) Describe(ctx context.Context) (storage.Description, error) {
	var timescale, edition, postgres string
	err := s.small.QueryRow(ctx, `
		SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
		       current_setting('timescaledb.license'), current_setting('server_version')`).Scan(&timescale, &edition, &postgres)
	if err != nil {
		return storage.Description{}, fmt.Errorf("describe the database: %w", classify(err))
	}
	editions := map[string]string{"timescale": "Community edition", "apache": "Apache edition"}
	return storage.Description{
		Driver:  "timescaledb",
		Version: fmt.Sprintf("%s %s on PostgreSQL %s", timescale, editions[edition], strings.Fields(postgres)[0]),
	}, nil
}

// Hosts implements storage.Store.
func (s *Store) Hosts(ctx context.Context) ([]storage.Host, error) {
	rows, err := s.small.Query(ctx, "SELECT host_id, agent_id, facts, first_seen FROM hosts ORDER BY host_id")
	if err != nil {
		return nil, fmt.Errorf("list hosts: %w", classify(err))
	}
	defer rows.Close()
	var hosts []storage.Host
	for rows.Next() {
		var (
			host  = storage.Host{Facts: &gohubv1.HostFacts{}}
			agent [16]byte
			facts []byte
		)
		if err := rows.Scan(&host.ID, &agent, &facts, &host.FirstSeen); err != nil {
			return nil, fmt.Errorf("scan host: %w", err)
		}
		host.AgentID = uuid.UUID(agent)
		if err := lenient.Unmarshal(facts, host.Facts); err != nil {
			return nil, fmt.Errorf("host %d: facts: %w", host.ID, err)
		}
		host.FirstSeen = host.FirstSeen.UTC()
		hosts = append(hosts, host)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list hosts: %w", classify(err))
	}
	return hosts, s.attachLabels(ctx, hosts)
}

// lenient reads JSON that a later or earlier server wrote.
var lenient = protojson.UnmarshalOptions{DiscardUnknown: true}

// classify wraps the database's errors in those of package storage, by SQLSTATE class. What is left as it is may be the fault of
// the rows or not: what is not implemented (0A), a trigger's exception (P0), an internal error (XX).
func classify(err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrBadData) || errors.Is(err, storage.ErrMisconfigured) {
		return err
	}
	var failure *pgconn.PgError
	if !errors.As(err, &failure) {
		if errors.Is(err, context.Canceled) || errors.Is(err, pgxv5.ErrNoRows) {
			return err
		}
		// Not the server's word, so the connection's: refused, cut, timed out.
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if failure.Code == "57014" { // statement_timeout, or an operator who cancelled it
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	switch failure.Code[:2] {
	case "08", "40", "53", "55", "57", "58":
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	case "22", "23", "54": // 54: a row that is too large
		return fmt.Errorf("%w: %w", storage.ErrBadData, err)
	// A wrong password; a missing table or privilege; a standby; no such database or schema.
	case "28", "42", "25", "3D", "3F":
		return fmt.Errorf("%w: %w", storage.ErrMisconfigured, err)
	default:
		return err
	}
}

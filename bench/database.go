package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // driver of the file that a server left behind

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

// database is an empty one for one run, on TimescaleDB or, with an empty url, on SQLite.
type database struct {
	name string
	// admin is the URL that was given, url names the fresh database on the same server.
	admin, url string
	// directory is for what the server keeps in files.
	directory string
}

// newDatabase makes one. remove it in any case.
func (o *Options) newDatabase(ctx context.Context) (*database, error) {
	directory, err := os.MkdirTemp("", "gohub-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	db := &database{name: "gohub_bench_" + strings.ToLower(rand.Text()[:10]), directory: directory}
	if o.DatabaseURL == "sqlite" {
		return db, nil
	}
	parsed, err := url.Parse(o.DatabaseURL)
	if err != nil {
		return nil, errors.Join(errors.New("the database URL is malformed"), db.remove()) // its text may hold a password
	}
	db.admin = o.DatabaseURL
	if err := db.administer(ctx, "CREATE DATABASE "+db.name); err != nil {
		return nil, errors.Join(err, db.remove())
	}
	parsed.Path = "/" + db.name
	db.url = parsed.String()
	return db, nil
}

// administer runs a statement outside the fresh database.
func (db *database) administer(ctx context.Context, statement string) error {
	connection, err := pgx.Connect(ctx, db.admin)
	if err != nil {
		return fmt.Errorf("connect to the database server: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))
	if _, err := connection.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// remove drops the database. It works after the run's context has ended.
func (db *database) remove() error {
	err := os.RemoveAll(db.directory)
	if db.url == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// A connection of ours that was just cut may still be ending; FORCE ends it, but fails where a worker of the
	// superuser looks after the database, which the plain statement sends away.
	for try := 0; ; try++ {
		statement := "DROP DATABASE IF EXISTS " + db.name
		if try%2 == 1 {
			statement += " WITH (FORCE)"
		}
		failure := db.administer(ctx, statement)
		if failure == nil || !sleep(ctx, 500*time.Millisecond) {
			return errors.Join(err, failure)
		}
	}
}

// postmaster finds the database's main process, 0 where it is not on this machine or in a namespace of its own.
func (db *database) postmaster(ctx context.Context) int {
	if db.url == "" {
		return 0
	}
	connection, err := pgx.Connect(ctx, db.admin)
	if err != nil {
		return 0
	}
	defer connection.Close(context.WithoutCancel(ctx))
	var backend int
	if err := connection.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return 0
	}
	pid, err := measure.Parent(backend)
	if err != nil {
		return 0
	}
	for _, process := range []int{backend, pid} {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process))
		if err != nil || strings.TrimSpace(string(name)) != "postgres" {
			return 0
		}
	}
	return pid
}

// describe tells versions and the settings that durability depends on.
func (db *database) describe(ctx context.Context, environment map[string]string) error {
	if db.url == "" {
		environment["database"] = "sqlite"
		return nil
	}
	connection, err := pgx.Connect(ctx, db.admin)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, setting := range []string{
		"server_version", "timescaledb.license", "fsync", "synchronous_commit", "full_page_writes", "wal_compression",
		"shared_buffers", "max_wal_size", "checkpoint_timeout",
	} {
		var value string
		if err := connection.QueryRow(ctx, "SELECT coalesce(current_setting($1, true), '')", setting).Scan(&value); err != nil {
			return fmt.Errorf("read %s: %w", setting, err)
		}
		environment[setting] = value
	}
	if environment["fsync"] != "on" || environment["synchronous_commit"] != "on" {
		return fmt.Errorf("the database has fsync %s and synchronous_commit %s: what it stores is not durable, so it proves nothing",
			environment["fsync"], environment["synchronous_commit"])
	}
	return nil
}

// checkpoint makes the database write out what it has in memory. CHECKPOINT itself needs a privilege that a database's
// owner seldom has, but DROP DATABASE checkpoints for everyone.
func (db *database) checkpoint(ctx context.Context) error {
	if db.url == "" {
		return nil
	}
	if err := db.administer(ctx, "CHECKPOINT"); err == nil {
		return nil
	}
	name := db.name + "_checkpoint_" + strings.ToLower(rand.Text()[:6])
	if err := db.administer(ctx, "CREATE DATABASE "+name+" STRATEGY wal_log"); err != nil {
		return err
	}
	return db.administer(context.WithoutCancel(ctx), "DROP DATABASE "+name)
}

// checkpoints is how many the database server has finished.
func (db *database) checkpoints(ctx context.Context) (count int64, err error) {
	if db.url == "" {
		return 0, nil
	}
	connection, err := pgx.Connect(ctx, db.admin)
	if err != nil {
		return 0, err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	statement := "SELECT num_timed + num_requested FROM pg_stat_checkpointer"
	if connection.QueryRow(ctx, statement).Scan(&count) == nil {
		return count, nil
	}
	statement = "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter" // before PostgreSQL 17
	return count, connection.QueryRow(ctx, statement).Scan(&count)
}

// The same sums of what is stored, a row a host, in the words of each database.
const (
	sumPostgres = `
		SELECT h.agent_id::text, count(s.*), count(DISTINCT s.time), coalesce(sum(s.memory_used_bytes), 0)::bigint,
		       coalesce(sum((s.cpu_usage_percent * 8)::bigint), 0)::bigint
		FROM hosts h LEFT JOIN host_samples s USING (host_id) GROUP BY 1`
	sumCopied = `
		SELECT host_id::text, count(*), count(DISTINCT time), coalesce(sum(memory_used_bytes), 0)::bigint,
		       coalesce(sum((cpu_usage_percent * 8)::bigint), 0)::bigint
		FROM host_samples GROUP BY 1`
	sumSQLite = `
		SELECT h.agent_id, count(s.time), count(DISTINCT s.time), coalesce(sum(s.memory_used_bytes), 0),
		       coalesce(sum(CAST(s.cpu_usage_percent * 8 AS INTEGER)), 0)
		FROM hosts h LEFT JOIN host_samples s USING (host_id) GROUP BY 1`
)

// sums reads what is stored, by agent id, or by host id where the rows were copied.
func (db *database) sums(ctx context.Context, copied bool) (map[string]fleet.Sum, error) {
	sums := map[string]fleet.Sum{}
	if db.url == "" {
		return sums, db.sumsOfFile(ctx, sums)
	}
	connection, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))
	statement := sumPostgres
	if copied {
		statement = sumCopied
	}
	rows, err := connection.Query(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("check what is stored: %w", err)
	}
	var key string
	var sum fleet.Sum
	_, err = pgx.ForEachRow(rows, []any{&key, &sum.Rows, &sum.Times, &sum.Memory, &sum.CPU}, func() error {
		sums[key] = sum
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("check what is stored: %w", err)
	}
	return sums, nil
}

func (db *database) sumsOfFile(ctx context.Context, sums map[string]fleet.Sum) error {
	file, err := db.open()
	if err != nil {
		return err
	}
	defer file.Close()
	rows, err := file.QueryContext(ctx, sumSQLite)
	if err != nil {
		return fmt.Errorf("check what is stored: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var sum fleet.Sum
		if err := rows.Scan(&key, &sum.Rows, &sum.Times, &sum.Memory, &sum.CPU); err != nil {
			return fmt.Errorf("check what is stored: %w", err)
		}
		sums[key] = sum
	}
	return rows.Err()
}

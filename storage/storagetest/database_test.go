package storagetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close(context.Background()) })
	return connection
}

func count(t *testing.T, connection *pgx.Conn, sql string) int {
	t.Helper()
	var n int
	require.NoError(t, connection.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

const ownRelations = `
	SELECT count(*) FROM pg_class c WHERE relnamespace = current_schema()::regnamespace
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')`

// TestCommunityURLIsAnEmptyDatabase leaves everything behind that a reset could forget.
func TestCommunityURLIsAnEmptyDatabase(t *testing.T) {
	for range 2 {
		t.Run("Database", func(t *testing.T) {
			connection := connect(t, CommunityURL(t))
			var schema string
			require.NoError(t, connection.QueryRow(t.Context(), "SELECT current_schema()").Scan(&schema))
			require.Equal(t, "public", schema)
			require.Zero(t, count(t, connection, ownRelations))
			require.Zero(t, count(t, connection, "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000"))
			for _, sql := range []string{
				"CREATE SCHEMA other",
				"CREATE TYPE mood AS ENUM ('good', 'bad')",
				"CREATE TABLE samples (time timestamptz NOT NULL, id integer GENERATED ALWAYS AS IDENTITY, value real, mood mood)",
				"SELECT create_hypertable('samples', 'time')",
				"INSERT INTO samples (time, value) SELECT TIMESTAMPTZ '2026-03-01' + n * interval '1 minute', n FROM generate_series(0, 5000) AS n",
				`CREATE MATERIALIZED VIEW hours WITH (timescaledb.continuous) AS
					SELECT time_bucket('1 hour', time) AS bucket, max(value) AS most FROM samples GROUP BY 1`,
				`CREATE MATERIALIZED VIEW days WITH (timescaledb.continuous) AS
					SELECT time_bucket('1 day', bucket) AS bucket, max(most) AS most FROM hours GROUP BY 1`,
				"ALTER TABLE samples SET (timescaledb.compress)",
				"SELECT compress_chunk(show_chunks('samples'))",
				"SELECT add_retention_policy('samples', interval '100 years')",
				"CREATE VIEW seen AS SELECT * FROM days",
				"CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n'",
				"SET search_path = other",
				"SELECT pg_advisory_lock(1)",
				"BEGIN",
				"CREATE TEMPORARY TABLE passing (n integer)",
			} {
				_, err := connection.Exec(t.Context(), sql)
				require.NoError(t, err, sql)
			}
		})
	}
}

// TestCommunityConnectionsTakeTurns: connections share one session, and none sees that.
func TestCommunityConnectionsTakeTurns(t *testing.T) {
	url := CommunityURL(t)
	one, two := connect(t, url), connect(t, url)
	_, err := one.Exec(t.Context(), "CREATE TABLE numbers (n integer)")
	require.NoError(t, err)
	// pgx gives the same statement the same name on both.
	require.Zero(t, count(t, one, "SELECT count(*) FROM numbers"))
	require.Zero(t, count(t, two, "SELECT count(*) FROM numbers"))

	tx, err := one.Begin(t.Context())
	require.NoError(t, err)
	copied, err := tx.CopyFrom(t.Context(), pgx.Identifier{"numbers"}, []string{"n"}, pgx.CopyFromSlice(20_000, func(i int) ([]any, error) { return []any{i}, nil }))
	require.NoError(t, err)
	require.EqualValues(t, 20_000, copied)
	seen := make(chan int, 1)
	go func() {
		var n int
		if err := two.QueryRow(context.WithoutCancel(t.Context()), "SELECT count(*) FROM numbers").Scan(&n); err != nil {
			t.Error(err)
		}
		seen <- n
	}()
	_, err = tx.Exec(t.Context(), "DELETE FROM numbers WHERE n < 5000")
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	require.Contains(t, []int{0, 15_000}, <-seen, "before the transaction or after it, never in its middle")

	tx, err = one.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "DELETE FROM numbers")
	require.NoError(t, err)
	require.NoError(t, one.Close(t.Context()), "gone in the middle of a transaction")
	require.Equal(t, 15_000, count(t, two, "SELECT count(*) FROM numbers"))
}

func TestCommunityRefusesUnknownSetting(t *testing.T) {
	config, err := pgx.ParseConfig(CommunityURL(t))
	require.NoError(t, err)
	config.RuntimeParams["no_such_setting"] = "it's"
	_, err = pgx.ConnectConfig(t.Context(), config)
	require.ErrorContains(t, err, "no_such_setting")
}

func TestCommunityServesAfterAnErrorInACopy(t *testing.T) {
	connection := connect(t, CommunityURL(t))
	for _, table := range []string{"nowhere", "numbers"} {
		_, err := connection.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS numbers (n integer NOT NULL)")
		require.NoError(t, err)
		_, err = connection.PgConn().CopyFrom(t.Context(), &endless{}, "COPY "+table+" FROM STDIN")
		require.Error(t, err)
		require.Zero(t, count(t, connection, "SELECT count(*) FROM numbers"))
	}
}

// endless is a megabyte of rows that are no numbers.
type endless struct{ given int }

func (e *endless) Read(p []byte) (int, error) {
	if e.given > 1<<20 {
		return 0, context.Canceled
	}
	for i := range p {
		p[i] = "no number\n"[i%10]
	}
	e.given += len(p)
	return len(p), nil
}

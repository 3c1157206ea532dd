package storagetest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// DatabaseURL makes an empty database on the TimescaleDB server that GOHUB_TEST_DATABASE_URL names, removes it when
// the test ends, and returns its URL. Without the variable the test is skipped, except in CI, where it fails.
func DatabaseURL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("GOHUB_TEST_DATABASE_URL")
	if server == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("GOHUB_TEST_DATABASE_URL is not set; `make test` sets it")
		}
		t.Skip("GOHUB_TEST_DATABASE_URL is not set; `make timescaledb` prints one")
	}
	name := "gohub_test_" + strings.ToLower(rand.Text()[:12])
	run := func(sql string) {
		connection, err := pgx.Connect(context.Background(), server)
		require.NoError(t, err)
		defer connection.Close(context.Background())
		_, err = connection.Exec(context.Background(), sql)
		require.NoError(t, err)
	}
	run("CREATE DATABASE " + name)
	t.Cleanup(func() { run("DROP DATABASE " + name + "") })
	parsed, err := url.Parse(server)
	require.NoError(t, err)
	parsed.Path = "/" + name
	return parsed.String()
}

// CommunityURL is DatabaseURL for TimescaleDB's Community edition, on the server that GOHUB_TEST_COMMUNITY_URL names. That
// server has one session: connections take turns, and a transaction holds up all others until it ends.
func CommunityURL(t testing.TB) string {
	t.Helper()
	server := os.Getenv("GOHUB_TEST_COMMUNITY_URL")
	if server == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("GOHUB_TEST_COMMUNITY_URL is not set; `make test` sets it")
		}
		t.Skip("GOHUB_TEST_COMMUNITY_URL is not set; `deploy/timescaledb/community/provide start` prints one")
	}
	parsed, err := url.Parse(server)
	require.NoError(t, err)
	// A name is a database as long as it has connections. This one keeps it for the test, and others waiting.
	parsed.Path = "/gohub_test_" + strings.ToLower(rand.Text()[:12])
	keeper, err := pgx.Connect(context.Background(), parsed.String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keeper.Close(context.Background())) })
	return parsed.String()
}

// MadeOnApacheURL is CommunityURL of a database that a server will take for one that was made on the Apache edition: it has a
// rollup that is a table, to which the server makes the others.
func MadeOnApacheURL(t testing.TB) string {
	t.Helper()
	address := CommunityURL(t)
	connection, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer connection.Close(context.Background())
	for _, statement := range []string{
		"CREATE EXTENSION IF NOT EXISTS timescaledb",
		"CREATE TABLE host_samples_1m (time timestamptz NOT NULL, host_id integer NOT NULL)",
		"SELECT create_hypertable('host_samples_1m', 'time', chunk_time_interval => interval '1 day', create_default_indexes => false)",
		"CREATE INDEX host_samples_1m_host_time ON host_samples_1m (host_id, time DESC)",
	} {
		_, err = connection.Exec(context.Background(), statement)
		require.NoError(t, err, statement)
	}
	return address
}

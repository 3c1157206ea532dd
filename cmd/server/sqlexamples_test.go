package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/agent"
	simulation "github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestSQLPageOnAgentsSamples runs every example of docs/sql.md as a role of sql-user, on what a real agent and a simulated fleet have
// streamed: the agent of now, the fleet of the last six days. What each answers exactly is tested in storage/timescale.
func TestSQLPageOnAgentsSamples(t *testing.T) {
	const hosts, apart, age = 12, 15 * time.Minute, 6 * 24 * time.Hour
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir, config.DatabaseURL = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), storagetest.DatabaseURL(t)
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	begin(t, app.Run)
	real, err := agent.New(agent.Options{
		Server: app.GRPCAddr(), AgentID: uuid.NewString(), Interval: agent.MinInterval, BufferBytes: agent.DefaultBufferBytes, DrainTimeout: time.Minute,
		Labels: map[string]string{"site": "ams"}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	begin(t, real.Run)
	simulated := simulation.New(simulation.Options{
		Server: app.GRPCAddr(), Agents: hosts, Connections: 1, Interval: apart, Samples: 20, Shape: simulation.NewShape(0, 2, 2, 2), Seed: 1,
		Ticks: int(age / apart), Begin: time.Now().Add(-age - time.Hour).Truncate(time.Hour),
	})
	simulated.Start()
	require.NoError(t, simulated.Run(t.Context()))
	connection := sqlUserOf(t, config.DatabaseURL)
	count := func(query string) (n int) {
		require.NoError(t, connection.QueryRow(t.Context(), query).Scan(&n), query)
		return n
	}
	require.Eventually(t, func() bool { return count("SELECT count(DISTINCT host_id) FROM analysis.hosts_raw") == hosts+1 }, time.Minute, 100*time.Millisecond)
	require.Equal(t, hosts*int(age/apart), count("SELECT count(*) FROM analysis.hosts_raw WHERE time < now() - interval '20 minutes'"))
	// The server rolls up too, once a minute, and then this call leaves it to that.
	require.Eventually(t, func() bool {
		require.NoError(t, app.store.RollUp(t.Context()))
		return count("SELECT count(DISTINCT host_id) FROM analysis.hosts_1d") == hosts
	}, time.Minute, 100*time.Millisecond)

	page, err := os.ReadFile("../../docs/sql.md")
	require.NoError(t, err)
	examples := strings.Split(string(page), "```sql\n")[1:]
	require.Len(t, examples, 10)
	answered := 0
	for _, example := range examples {
		query, _, _ := strings.Cut(example, "```")
		rows, err := connection.Query(t.Context(), query)
		require.NoError(t, err, query)
		got, err := pgx.CollectRows(rows, pgx.RowToMap)
		require.NoError(t, err, query)
		t.Logf("%s%v\n", query, got)
		if len(got) > 0 {
			answered++
		}
		for _, row := range got {
			for name, value := range row {
				if number, isNumber := value.(float64); isNumber && strings.HasSuffix(name, "percent") {
					require.InDelta(t, 0, number, 100, query)
				}
			}
			if newest, isNewest := row["cpu_usage_percent"]; isNewest {
				require.NotEmpty(t, row["hostname"], query)
				require.NotNil(t, newest, query)
			}
		}
		if strings.Contains(query, "FROM analysis.hosts GROUP BY 1") { // all of them, whatever they run
			total := int64(0)
			for _, row := range got {
				total += row["hosts"].(int64)
			}
			require.EqualValues(t, hosts+1, total)
		}
	}
	// No filesystem is about to be full for certain, and whether a host peaks is chance.
	require.GreaterOrEqual(t, answered, 8)
}

// sqlUserOf connects as a role that gohub-server sql-user has made.
func sqlUserOf(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	name, environ := "examples_"+uuid.NewString()[:8], []string{"GOHUB_DATABASE_URL=" + database}
	var output bytes.Buffer
	require.NoError(t, run([]string{"sql-user", name}, environ, nil, &output))
	address, rest, _ := strings.Cut(output.String(), "\n")
	_, password, found := strings.Cut(strings.TrimSpace(rest), "password, shown this once: ")
	require.True(t, found, output.String())
	settings, err := pgx.ParseConfig(address)
	require.NoError(t, err)
	settings.Password = password
	connection, err := pgx.ConnectConfig(t.Context(), settings)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, connection.Close(context.Background()))
		require.NoError(t, run([]string{"sql-user", "--drop", name}, environ, nil, &output))
	})
	return connection
}

//go:build endtoend

package chaos

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/bench/rig"
)

// clusterPort is that of the tests' own TimescaleDB, which is killed: not the one that other tests share.
const clusterPort = 55474

// TestEndToEndChaos runs a short time of every fault against the server that `make server` built, and shows that the
// oracle would see it if something went wrong. Its seed is printed: what else is random is up to the system.
func TestEndToEndChaos(t *testing.T) {
	options := startOptions(t)
	t.Run("faults", func(t *testing.T) {
		report, err := Run(t.Context(), options)
		require.NoError(t, report.Print(os.Stdout))
		require.NoError(t, err)
	})
	t.Run("sabotage is seen", func(t *testing.T) { seesSabotage(t, options) })
	t.Run("an unfenced commit is seen", func(t *testing.T) { seesUnfencedCommit(t, options) })
}

// seesSabotage takes, doubles and changes rows behind the server's back: the oracle must find just these.
func seesSabotage(t *testing.T, options Options) {
	const agents = 10
	outcome, err := options.play(t.Context(), &scenario{name: "sabotage", agents: agents, run: func(ctx context.Context, w *world) error {
		db, err := w.store.open()
		require.NoError(t, err)
		defer db.Close()
		require.Eventually(t, func() bool {
			var stored int
			require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM host_samples WHERE memory_total_bytes = 3").Scan(&stored))
			return stored == agents
		}, time.Minute, 20*time.Millisecond)
		for _, statement := range []string{
			"DELETE FROM host_samples_packed WHERE memory_total_bytes = 1",
			"INSERT INTO host_samples_packed SELECT * FROM host_samples_packed WHERE memory_total_bytes = 2",
			"UPDATE host_samples_packed SET memory_used_bytes = coalesce(memory_used_bytes, 0) + 1, memory_used_bytes_mib = NULL WHERE memory_total_bytes = 3",
			"INSERT INTO host_samples_packed (time, host_id, received_at) SELECT now(), -1, now()",
		} {
			_, err := db.ExecContext(ctx, statement)
			require.NoError(t, err, statement)
		}
		return nil
	}})
	require.Error(t, err)
	require.Equal(t, [4]int{2 * agents, agents, agents, 1}, [4]int{outcome.Missing, outcome.Doubled, outcome.Corrupt, outcome.Spurious}, err)
}

// seesUnfencedCommit takes the comparisons out of the cursors' compare-and-set, that of numbers and that of checksums: a commit that comes late,
// from a server that is dead, then doubles what another one has stored, and the oracle must say so.
func seesUnfencedCommit(t *testing.T, options Options) {
	unfenced := &scenario{name: "unfenced", run: func(ctx context.Context, w *world) error {
		db, err := w.store.open()
		require.NoError(t, err)
		defer db.Close()
		var function string
		require.NoError(t, db.QueryRowContext(ctx, "SELECT pg_get_functiondef('advance_cursors'::regproc)").Scan(&function))
		for _, comparison := range []string{" AND c.seq = n.prev", " AND (c.checksum = n.prev_checksum OR c.checksum = 0 OR n.prev_checksum = 0)"} {
			require.Contains(t, function, comparison)
			function = strings.Replace(function, comparison, "", 1)
		}
		_, err = db.ExecContext(ctx, function)
		require.NoError(t, err)
		return w.commitLate(ctx)
	}}
	var outcome *Outcome
	var err error
	for range 5 { // on a busy machine the late commits may all be in time
		if outcome, err = options.play(t.Context(), unfenced); err != nil {
			break
		}
	}
	require.Error(t, err)
	require.Positive(t, outcome.Doubled, err)
	require.Zero(t, outcome.Missing+outcome.Spurious+outcome.Corrupt, err)
}

// startOptions are those of a short run against a database of its own.
func startOptions(t *testing.T) Options {
	t.Helper()
	server, err := filepath.Abs("../../.build/gohub-server")
	require.NoError(t, err)
	agents, err := os.Executable()
	require.NoError(t, err)
	options := Options{
		ServerBinary: server, AgentBinary: agents, DatabaseURL: os.Getenv("GOHUB_DATABASE_URL"),
		Seed: uint64(time.Now().UnixNano()), Short: true, Progress: testLog{t},
	}
	if options.DatabaseURL == "" {
		options.Cluster, err = rig.StartCluster(t.Context(), "../../deploy/timescaledb/provide", clusterPort)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, options.Cluster.Remove()) })
	}
	return options
}

// testLog writes into a test's log.
type testLog struct{ t *testing.T }

// Write implements io.Writer.
func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

//go:build endtoend

package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clusterPort is that of the tests' own TimescaleDB, which is killed: not the one that other tests share.
const clusterPort = 55474

// TestEndToEndChaos runs a short time of every fault against the server that `make server` built. Its seed is printed:
// what else is random is up to the system.
func TestEndToEndChaos(t *testing.T) {
	server, err := filepath.Abs("../../.build/gohub-server")
	require.NoError(t, err)
	agents, err := os.Executable()
	require.NoError(t, err)
	options := Options{
		ServerBinary: server, AgentBinary: agents, DatabaseURL: os.Getenv("GOHUB_DATABASE_URL"),
		Seed: uint64(time.Now().UnixNano()), Short: true, Progress: testLog{t},
	}
	if options.DatabaseURL == "" {
		options.Cluster, err = StartCluster(t.Context(), "../../deploy/timescaledb/provide", clusterPort)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, options.Cluster.Remove()) })
	}
	report, err := Run(t.Context(), options)
	require.NoError(t, report.Print(os.Stdout))
	require.NoError(t, err)
}

// testLog writes into a test's log.
type testLog struct{ t *testing.T }

// Write implements io.Writer.
func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

package timescale

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func open(t *testing.T) storage.Store {
	store, err := Open(t.Context(), storagetest.DatabaseURL(t))
	require.NoError(t, err)
	return store
}

func TestConformance(t *testing.T) { storagetest.Run(t, open) }

func TestSampleTablesAreHypertables(t *testing.T) {
	store := open(t).(*Store)
	defer store.Close()
	var hypertables int
	err := store.reads.QueryRow(t.Context(), "SELECT count(*) FROM timescaledb_information.hypertables").Scan(&hypertables)
	require.NoError(t, err)
	require.Equal(t, 7, hypertables)
}

func TestOpenSaysWhatIsUnreachable(t *testing.T) {
	_, err := Open(t.Context(), "postgres://gohub:secret-password@127.0.0.1:1/gohub?connect_timeout=2")
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "127.0.0.1:1/gohub")
	require.NotContains(t, err.Error(), "secret-password")
}

func TestOpenRefusesNewerSchema(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	opened, err := Open(t.Context(), url)
	require.NoError(t, err)
	store := opened
	_, err = store.reads.Exec(t.Context(), "UPDATE schema_migrations SET version = 9999")
	require.NoError(t, err)
	require.NoError(t, store.Close())
	_, err = Open(t.Context(), url)
	require.ErrorIs(t, err, storage.ErrSchemaNewer)
}

func TestAppendGoesOnAfterItsConnectionsWereCut(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	store, err := Open(t.Context(), url)
	require.NoError(t, err)
	defer store.Close()
	killer, err := Open(t.Context(), url)
	require.NoError(t, err)
	defer killer.Close()
	require.NoError(t, store.Ping(t.Context()))
	_, err = killer.reads.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return store.Ping(t.Context()) == nil }, 10*time.Second, 10*time.Millisecond)
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		version, bound string
		want           bool
	}{{"2.12.1", "2.13", true}, {"2.13.0", "2.13", false}, {"2.19.3", "2.13", false}, {"1.7", "2.13", true}, {"3.0-dev", "2.13", false}, {"", "2.13", true}} {
		require.Equal(t, c.want, olderThan(c.version, c.bound), c.version)
	}
}

// TestFrozenServerHoldsNoLockThatOthersNeed stops one server between its COPY and its commit. Another one takes over its
// agent meanwhile; woken, the first finds that it has lost.
func TestFrozenServerHoldsNoLockThatOthersNeed(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	frozen, err := Open(t.Context(), url)
	require.NoError(t, err)
	defer frozen.Close()
	other, err := Open(t.Context(), url)
	require.NoError(t, err)
	defer other.Close()
	host, _, err := frozen.Register(t.Context(), storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: time.Now()})
	require.NoError(t, err)
	batch := func(prev, seq uint64) []*storage.Batch {
		sample := storagetest.Flat(&gohubv1.Sample{TimeUnixMillis: time.Now().UnixMilli(), Host: &gohubv1.HostMetrics{}})
		return []*storage.Batch{{Host: host.ID, Epoch: 7, Prev: prev, Seq: seq, ReceivedAt: time.Now(), Samples: []*catalogue.Sample{sample}}}
	}
	// The first row makes the chunk, which locks the hypertable until its transaction ends.
	_, err = other.Append(t.Context(), batch(0, 1))
	require.NoError(t, err)
	batches := batch(1, 2)

	connection, err := frozen.writes.Acquire(t.Context())
	require.NoError(t, err)
	defer connection.Release()
	outcomes, moves := expect(batches)
	copied, woken := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() {
		calls := 0
		result <- commit(context.WithoutCancel(t.Context()), connection.Conn(), moves, func(yield func(*storage.Batch) bool) {
			if calls++; calls == 2 { // the first table's COPY is done
				close(copied)
				<-woken
			}
			storage.Chosen(batches, outcomes)(yield)
		})
	}()
	<-copied
	taken, err := other.Append(t.Context(), batches)
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Stored}, taken)
	close(woken)
	require.ErrorIs(t, <-result, errCursorMoved)
	again, err := frozen.Append(t.Context(), batches)
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Duplicate}, again)
	var rows int
	require.NoError(t, other.reads.QueryRow(t.Context(), "SELECT count(*) FROM host_samples").Scan(&rows))
	require.Equal(t, 2, rows)
}

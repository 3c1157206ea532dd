package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		store, err := Open(t.TempDir(), storage.Options{Idle: true})
		require.NoError(t, err)
		return store
	})
}

func TestHostsAreBounded(t *testing.T) {
	store, err := Open(t.TempDir(), storage.Options{Idle: true, MaxHosts: storagetest.MaxHosts})
	require.NoError(t, err)
	defer store.Close()
	storagetest.RunHostBound(t, store)
}

func TestReopenedFileKeepsItsHosts(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "with space?#%", "data")
	store, err := Open(directory, storage.Options{Idle: true})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(directory, FileName))
	require.NoError(t, store.Close())
	store, err = Open(directory, storage.Options{Idle: true})
	require.NoError(t, err)
	require.NoError(t, store.Close())
}

func TestOpenNamesUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(filepath.Join(file, "data"), storage.Options{})
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "--data-dir")
}

func TestOpenRefusesNewerSchema(t *testing.T) {
	directory := t.TempDir()
	store, err := Open(directory, storage.Options{Idle: true})
	require.NoError(t, err)
	_, err = store.write.Exec("UPDATE schema_migrations SET version = 9999")
	require.NoError(t, err)
	require.NoError(t, store.Close())
	_, err = Open(directory, storage.Options{Idle: true})
	require.ErrorIs(t, err, storage.ErrSchemaNewer)
	require.ErrorContains(t, err, "9999")
}

func TestOpenRefusesFileThatIsNoDatabase(t *testing.T) {
	directory := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(directory, FileName), []byte("this is not a database, but a text that is long enough to be read as one"), 0o600))
	_, err := Open(directory, storage.Options{Idle: true})
	require.ErrorContains(t, err, FileName)
}

// TestCancelledRangeEndsInTheDatabase cancels a query over enough rows that it runs for seconds.
func TestCancelledRangeEndsInTheDatabase(t *testing.T) {
	store, err := Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	_, err = store.write.ExecContext(t.Context(), `
		INSERT INTO hosts (agent_id, facts, first_seen) VALUES ('a', '{}', 0);
		WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
		INSERT INTO host_samples (time, host_id, received_at, load1) SELECT i, 1, 0, i FROM n`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := store.Range(ctx, storage.RangeQuery{
			Metrics: catalogue.Host().Metrics, From: time.UnixMilli(0), To: time.UnixMilli(1_000_000), Step: time.Millisecond,
			Across: &storage.Across{Function: storage.Quantile, Quantile: 0.5}, MaxRows: 1_000_000,
		})
		failed <- err
	}()
	require.Eventually(t, func() bool { return store.read.Stats().InUse == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.Eventually(t, func() bool { return store.read.Stats().InUse == 0 }, 10*time.Second, time.Millisecond)
}

// TestWhatIsSmallDoesNotWaitForQueries holds every connection that queries have.
func TestWhatIsSmallDoesNotWaitForQueries(t *testing.T) {
	store, err := Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	for range store.read.Stats().MaxOpenConnections {
		connection, err := store.read.Conn(t.Context())
		require.NoError(t, err)
		defer connection.Close()
	}
	storagetest.RunSmall(t, store)
}

package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

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

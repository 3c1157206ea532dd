package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestBackupOfOpenDatabase restores a backup that was made while a store had the file open.
func TestBackupOfOpenDatabase(t *testing.T) {
	directory, restored := t.TempDir(), t.TempDir()
	store, err := Open(directory, storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	register := func() storage.Host {
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: &gohubv1.HostFacts{}})
		return host
	}
	before := register()
	file := filepath.Join(restored, FileName)
	require.NoError(t, Backup(t.Context(), directory, file))
	register()
	require.ErrorContains(t, Backup(t.Context(), directory, file), "there already")

	again, err := Open(restored, storage.Options{Idle: true})
	require.NoError(t, err)
	defer again.Close()
	hosts, err := again.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, before.AgentID, hosts[0].AgentID)
	require.NoFileExists(t, file+".part")
	require.ErrorContains(t, Backup(t.Context(), t.TempDir(), file+"2"), FileName)
}

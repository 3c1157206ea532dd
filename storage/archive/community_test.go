package archive

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
	"github.com/gohub-io/gohub/storage/timescale"
)

// TestContinuousAggregatesTakeSamplesAlone: an export with rollups is refused, and one of samples is rolled up there.
func TestContinuousAggregatesTakeSamplesAlone(t *testing.T) {
	store, err := timescale.Open(t.Context(), storagetest.CommunityURL(t), options())
	require.NoError(t, err)
	defer store.Close()
	_, err = Import(t.Context(), store, exported, nil)
	require.ErrorIs(t, err, storage.ErrNoImportOfRollups)

	directory := filepath.Join(t.TempDir(), "samples")
	_, err = Export(t.Context(), filled, ExportOptions{Directory: directory, Resolutions: []storage.Resolution{storage.Raw}, Now: now})
	require.NoError(t, err)
	_, err = Import(t.Context(), store, directory, nil)
	require.NoError(t, err)
	want, got := content(t, filled), content(t, store)
	require.Equal(t, want["host_samples"], got["host_samples"], "once, though the first import had begun with them")
	newest := func(rows [][]storage.Cell) int64 { return rows[len(rows)-1][storage.TimeColumn].Int }
	require.Equal(t, newest(want["host_samples_1h"]), newest(got["host_samples_1h"]))
}

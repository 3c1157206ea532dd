package sqlite

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestViewsShowWhatWasStored(t *testing.T) {
	now := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	directory := t.TempDir()
	options := storage.Options{Idle: true, Now: func() time.Time { return now }}
	store, err := Open(directory, options)
	require.NoError(t, err)
	facts := &gohubv1.HostFacts{Hostname: `web"1`, Os: "linux", CpuCores: 8, MemoryBytes: 1 << 34, Labels: map[string]string{"site": "ams", "tier": "db", `quo"te`: "it's"}}
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
	require.NoError(t, store.SetHostLabels(t.Context(), host.ID, map[string]string{"site": "fra", "tier": ""}))
	sample := &gohubv1.Sample{TimeUnixMillis: now.Add(-49 * time.Hour).UnixMilli()}
	values := storagetest.Fill(sample)
	batch := &storage.Batch{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now, Rows: storagetest.Rows(host.ID, now, sample)}
	_, err = store.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	require.NoError(t, store.RollUp(t.Context()))
	require.NoError(t, store.Close())

	// Opened again, the views are as they were.
	store, err = Open(directory, options)
	require.NoError(t, err)
	defer store.Close()
	var hostname, labels, at string
	var cores, memory int64
	require.NoError(t, store.read.QueryRow("SELECT hostname, labels, cpu_cores, memory_bytes, first_seen FROM analysis_hosts").Scan(&hostname, &labels, &cores, &memory, &at))
	require.Equal(t, `web"1`, hostname)
	require.JSONEq(t, `{"site":"fra","quo\"te":"it's"}`, labels)
	require.Equal(t, []int64{8, 1 << 34}, []int64{cores, memory})
	require.Equal(t, "2026-05-17T12:00:00.000Z", at)
	for _, view := range []string{"hosts_raw", "hosts_1m", "hosts_1h", "hosts_1d"} {
		column := "memory_used_bytes"
		if view != "hosts_raw" {
			column += "_max"
		}
		var value float64
		require.NoError(t, store.read.QueryRow("SELECT "+column+", labels FROM analysis_"+view+" WHERE hostname = $1", hostname).Scan(&value, &labels), view)
		require.InDelta(t, values["memory_used_bytes"], value, 0, view)
		require.JSONEq(t, `{"site":"fra","quo\"te":"it's"}`, labels)
	}
	for _, view := range viewDialect.Views() {
		var rows int
		require.NoError(t, store.read.QueryRow("SELECT count(*) FROM analysis_"+view.Name).Scan(&rows))
		require.Equal(t, 1, rows, view.Name)
	}
}

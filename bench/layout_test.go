package bench

import (
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/archive"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestLayoutsOnTimescaleDB fills each layout with little, and asks all questions.
func TestLayoutsOnTimescaleDB(t *testing.T) {
	options := smallOptions(t, "")
	if options.DatabaseURL = os.Getenv("GOHUB_TEST_DATABASE_URL"); testing.Short() || options.DatabaseURL == "" {
		t.Skip("makes databases on TimescaleDB; set GOHUB_TEST_DATABASE_URL")
	}
	options.Columns, options.Interval = 10, time.Minute
	options.Query = QueryOptions{Hours: 1, Asks: 2}
	report, err := Run(t.Context(), "layout", options)
	require.NoError(t, err)
	require.Len(t, report.Tables[0].Rows, len(layouts))
	for _, row := range report.Tables[0].Rows {
		require.Len(t, row, len(report.Tables[0].Columns))
	}
}

// TestDiskOnCommunity exports samples, and has them stored as of three machines and compressed.
func TestDiskOnCommunity(t *testing.T) {
	options := smallOptions(t, "")
	options.Hosts, options.From, options.DatabaseURL = 3, t.TempDir(), storagetest.CommunityURL(t)
	const samples = 10
	source, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	defer source.Close()
	now := time.Now()
	host, _ := storagetest.Register(t, source, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: &gohubv1.HostFacts{Hostname: "web-1"}, At: now})
	batch := &storage.Batch{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now}
	var all []*gohubv1.Sample
	for i := range samples {
		sample := &gohubv1.Sample{TimeUnixMillis: now.Add(time.Duration(i-samples) * time.Second).UnixMilli()}
		storagetest.Fill(sample)
		all = append(all, sample)
	}
	batch.Rows = storagetest.Rows(host.ID, now, all...)
	_, err = source.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	_, err = archive.Export(t.Context(), source, archive.ExportOptions{Directory: options.From, Now: now, Resolutions: []storage.Resolution{storage.Raw}})
	require.NoError(t, err)
	report, err := Run(t.Context(), "disk", options)
	require.NoError(t, err)
	rows := report.Tables[0].Rows
	require.Equal(t, "host", rows[0][0])
	require.Equal(t, "30", rows[0][1])
	require.Equal(t, "all", rows[len(rows)-1][0])
}

func TestDiskNeedsAnExport(t *testing.T) {
	_, err := Run(t.Context(), "disk", smallOptions(t, ""))
	require.ErrorContains(t, err, "--from")
}

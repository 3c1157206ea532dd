package bench

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/bench/measure"
)

// targets are those of a report by name.
func targets(report *measure.Report) map[string]measure.Target {
	all := map[string]measure.Target{}
	for _, target := range report.Targets {
		all[target.Name] = target
	}
	return all
}

// TestLiveModes runs what concerns viewers, scrapes and recent values, small.
func TestLiveModes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs servers")
	}
	binary, program := binaries(t)
	t.Run("live", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.AgentsBinary, options.Interval, options.Duration = program, time.Second, 3*time.Second
		options.Viewers, options.Topic = 10, `{"fleet":{"metrics":["load1"]}}`
		report, err := Run(t.Context(), "live", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 7)
		stored := 0.0 // on a slow machine a phase may pass without an acknowledgement
		for _, run := range report.Runs {
			phase := run.(*livePhase)
			stored += phase.SamplesPerSecond
			require.Equal(t, phase.Viewers > 0, phase.MessagesPerSecond > 0, phase.Phase)
			require.Equal(t, phase.Viewers > 0, phase.ReadP50 > 0, phase.Phase)
			require.Len(t, phase.Points, soakPoints+1, phase.Phase)
		}
		require.Positive(t, stored)
		require.Equal(t, 4, report.Runs[3].(*livePhase).Viewers)
		require.Equal(t, 2, report.Runs[4].(*livePhase).Stuck)
		require.Contains(t, targets(report), "live_received_to_written_p99_ms")
	})
	t.Run("cluster", func(t *testing.T) {
		options := smallOptions(t, binary)
		if options.DatabaseURL = os.Getenv("GOHUB_TEST_DATABASE_URL"); options.DatabaseURL == "" {
			t.Skip("servers share a TimescaleDB, and GOHUB_TEST_DATABASE_URL is not set")
		}
		options.AgentsBinary, options.Interval, options.Duration = program, time.Second, 3*time.Second
		options.Viewers, options.Topic, options.Pairs = 50, `{"fleet":{}}`, 1
		report, err := Run(t.Context(), "cluster", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 2)
		for _, run := range report.Runs {
			require.Positive(t, run.(*clusterRun).ReadP50)
			require.Positive(t, run.(*clusterRun).BytesASample)
			require.Zero(t, run.(*clusterRun).Resyncs)
		}
		require.Contains(t, targets(report), "cluster_taken_to_read_p99_ms")
		require.Positive(t, targets(report)["cluster_dead_server_noticed_s"].Value)
	})
	t.Run("broadcast", func(t *testing.T) {
		options := smallOptions(t, "")
		options.AgentsBinary, options.Duration, options.Viewers, options.Hosts = program, time.Second, 10, 3
		report, err := Run(t.Context(), "broadcast", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 5)
		for _, one := range report.Runs {
			require.Positive(t, one.(broadcastRun).FramesPerSecond)
		}
		require.InDelta(t, report.Runs[0].(broadcastRun).FrameBytes, report.Runs[1].(broadcastRun).FrameBytes, 2, "the bare loop's frames are as long as the hub's")
	})
	t.Run("scrape", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.Duration, options.Columns = time.Second, 20
		report, err := Run(t.Context(), "scrape", options)
		require.NoError(t, err)
		require.Contains(t, targets(report), "scrape_allocations_a_host")
		require.Positive(t, targets(report)["scrape_ms"].Value)
	})
	t.Run("recent", func(t *testing.T) {
		options := smallOptions(t, binary)
		report, err := Run(t.Context(), "recent", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 5)
		require.Equal(t, "memory", report.Runs[0].(recentRun).Source, "hosts are new, so all of it was taken by this server")
	})
}

// TestLiveTargetsAreNotMetBySilence: viewers who read nothing have no figures, and what has none is missed.
func TestLiveTargetsAreNotMetBySilence(t *testing.T) {
	phase := func() *livePhase {
		return &livePhase{WrittenP99: math.NaN(), ReadP99: math.NaN(), Points: make([]soakPoint, 1)}
	}
	silent, seen := phase(), &livePhase{WrittenP99: 3, ReadP99: 5}
	silent.noNaN()
	require.Equal(t, -1.0, silent.ReadP99, "for JSON")
	require.True(t, math.IsNaN(silent.toldP99()))
	require.Equal(t, 3.0, seen.toldP99())
	require.Equal(t, 5.0, (&livePhase{WrittenP99: -1, ReadP99: 5}).toldP99(), "the whole way, where the server tells no part")
	run := &liveRun{options: &Options{Hosts: 1, Viewers: 1}, report: &measure.Report{}}
	for _, name := range []string{phaseFew, phaseAlone, phaseViewers, phaseFewer, phaseStuck, phaseAloneAgain} {
		silent := phase()
		silent.noNaN()
		silent.Phase, silent.Viewers = name, 1
		run.phases = append(run.phases, silent)
	}
	run.tell()
	for name, target := range targets(run.report) {
		if strings.Contains(name, "p99") || strings.Contains(name, "ratio") || strings.Contains(name, "growth") {
			require.False(t, target.Pass, name)
		}
	}
}

// TestViewersReadTheGoldenFrames: what viewers look at in the binary form is what the same messages say in JSON.
func TestViewersReadTheGoldenFrames(t *testing.T) {
	golden := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join("..", "live", "testdata", name))
		require.NoError(t, err)
		return content
	}
	for name, kind := range map[string]messageKind{
		"fleet_snapshot": kindSnapshot, "host_snapshot": kindSnapshot, "fleet_delta": kindDelta, "host_delta": kindDelta, "columns_delta": kindDelta,
	} {
		text, compact := parseHead(golden(name+".json"), false), parseHead(golden(name+".bin"), true)
		require.Equal(t, kind, text.kind, name)
		require.Equal(t, text, compact, name)
		require.Equal(t, kind == kindDelta, text.sampled != 0, name)
		whole := golden(name + ".bin")
		for cut := range min(len(whole), 600) {
			require.Contains(t, []int64{0, text.sampled}, parseHead(whole[:cut], true).sampled, "%s, cut after %d", name, cut)
		}
	}
	require.Equal(t, messageHead{kind: kindAlerts}, parseHead(golden("alerts.bin"), true))
	require.Equal(t, messageHead{kind: kindError}, parseHead(golden("error.bin"), true))
	require.Equal(t, messageHead{kind: kindError}, parseHead([]byte(`{"seq":0,"error":"no host with id 7"}`), false))
}

// TestBareFramesAreRead: the bare loop's frames have the length that is asked for, and what viewers look at.
func TestBareFramesAreRead(t *testing.T) {
	for _, length := range []int{100, 127, 130, 1445} {
		frame := bareFrame(length, 300, 1_700_000_000_123)
		require.Len(t, frame, length)
		reader := bytes.NewReader(frame)
		header, err := ws.ReadHeader(reader)
		require.NoError(t, err)
		require.EqualValues(t, reader.Len(), header.Length)
		require.Equal(t, messageHead{kindDelta, 300, 1_700_000_000_123}, parseHead(frame[len(frame)-reader.Len():], true))
	}
}

// TestBucketsOfAHistogram reads what was added between two scrapes.
func TestBucketsOfAHistogram(t *testing.T) {
	text := "lag_seconds_bucket{le=\"0.01\"} 5\nlag_seconds_bucket{le=\"0.02\"} 5\nlag_seconds_bucket{le=\"+Inf\"} 5\nlag_seconds_sum 1\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }))
	defer server.Close()
	scraper := newScraper(server.Listener.Addr().String())
	defer scraper.close()
	before, err := scraper.buckets(t.Context(), "lag_seconds")
	require.NoError(t, err)
	text = "lag_seconds_bucket{le=\"0.01\"} 7\nlag_seconds_bucket{le=\"0.02\"} 13\nlag_seconds_bucket{le=\"+Inf\"} 15\n"
	after, err := scraper.buckets(t.Context(), "lag_seconds")
	require.NoError(t, err)
	require.Equal(t, buckets{0.01: 7, 0.02: 13, math.Inf(1): 15}, after)
	require.InDelta(t, 0.015, after.quantileSince(before, 0.5), 1e-9, "the fifth of ten is the third of six between 10 and 20 ms")
	require.InDelta(t, 0.02, after.quantileSince(before, 0.99), 1e-9)
	require.True(t, math.IsNaN(after.quantileSince(after, 0.5)))
	none, err := scraper.buckets(t.Context(), "missing")
	require.NoError(t, err)
	require.True(t, math.IsNaN(none.quantileSince(none, 0.5)))
}

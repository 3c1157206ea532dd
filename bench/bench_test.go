package bench

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// binaries builds the server and this benchmark's own program.
func binaries(t *testing.T) (server, program string) {
	t.Helper()
	directory := t.TempDir()
	output, err := exec.CommandContext(t.Context(), "go", "build", "-o", directory, "../cmd/server", "../cmd/bench").CombinedOutput()
	if err != nil {
		t.Skipf("the server can not be built: %v\n%s", err, output)
	}
	return filepath.Join(directory, "server"), filepath.Join(directory, "bench")
}

func smallOptions(t *testing.T, binary string) Options {
	return Options{
		ServerBinary: binary, DatabaseURL: "sqlite", Hosts: 20, Ticks: 40, Samples: 10, StreamsPerConnection: 10, Window: 8, Interval: 10 * time.Second,
		Pairs: 1, CopyConnections: 2, CopyRows: 1000, Checkpoints: 1, Limit: 2 * time.Minute, Progress: t.Output(),
	}
}

// TestModesOnSQLite runs what needs no TimescaleDB, small: it must end with right rows and with figures.
func TestModesOnSQLite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs servers")
	}
	binary, program := binaries(t)
	t.Run("ingest", func(t *testing.T) {
		report, err := Run(t.Context(), "ingest", smallOptions(t, binary))
		require.NoError(t, err)
		want := 3
		if findVictoria() != "" { // it joins one workload where it is installed
			want++
		}
		require.Len(t, report.Runs, want)
		for _, one := range report.Runs {
			require.Positive(t, one.(run).RowsPerSecond)
		}
		names := map[string]bool{}
		for _, target := range report.Targets {
			names[target.Name] = true
		}
	})
	t.Run("full samples", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.Only, options.Cores, options.Disks, options.Networks = "batched", 2, 1, 1
		_, err := Run(t.Context(), "ingest", options)
		require.NoError(t, err)
	})
	t.Run("storm", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.Interval, options.Duration = time.Second, time.Second
		report, err := Run(t.Context(), "storm", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 1)
		require.Equal(t, measure.Target{Name: "storm_lost_or_doubled", Op: "<=", Pass: true}, report.Targets[len(report.Targets)-1])
	})
	t.Run("latency", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.Interval, options.Duration = time.Second, 2*time.Second
		report, err := Run(t.Context(), "latency", options)
		require.NoError(t, err)
		require.Len(t, report.Runs, 2)
	})
	t.Run("soak", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.AgentsBinary, options.Interval, options.Duration = program, time.Second, 2*time.Second
		options.Cores, options.Disks, options.Networks = 2, 1, 1
		report, err := Run(t.Context(), "soak", options)
		require.NoError(t, err)
		result := report.Runs[0].(*soakResult)
		require.Len(t, result.Points, soakPoints+1)
		require.Positive(t, result.LagP99)
		require.Positive(t, result.Points[soakPoints].Acked)
		require.Equal(t, loss{}, result.Loss)
	})
	t.Run("stopped", func(t *testing.T) {
		options := smallOptions(t, binary)
		options.Ticks = 100_000
		options.Hosts = 40
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := Run(ctx, "ingest", options)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestUnknownMode(t *testing.T) {
	_, err := Run(t.Context(), "nonsense", Options{})
	require.ErrorContains(t, err, "broadcast, cluster, disk, idle, ingest, latency, layout, live, outage, query, recent, scrape, soak, socket, storm")
}

// TestCompareNamesWhatIsWrong gives the checker sets that are wrong in each way.
func TestCompareNamesWhatIsWrong(t *testing.T) {
	good := fleet.Sum{Rows: 10, Times: 10, Memory: 1000, CPU: 50}
	want := map[string]fleet.Sum{"a": good, "b": good}
	require.NoError(t, compare(want, map[string]fleet.Sum{"a": good, "b": good, "unused": {}}))
	for name, test := range map[string]struct {
		have    map[string]fleet.Sum
		message string
	}{
		"a host is missing":   {map[string]fleet.Sum{"a": good}, "lost 10, doubled 0, wrong hosts 0"},
		"rows are missing":    {map[string]fleet.Sum{"a": good, "b": {Rows: 8, Times: 8, Memory: 800, CPU: 40}}, "lost 2, doubled 0"},
		"rows are doubled":    {map[string]fleet.Sum{"a": good, "b": {Rows: 11, Times: 10, Memory: 1100, CPU: 55}}, "lost 0, doubled 1"},
		"one lost, one twice": {map[string]fleet.Sum{"a": good, "b": {Rows: 10, Times: 9, Memory: 1000, CPU: 50}}, "lost 1, doubled 1"},
		"values differ":       {map[string]fleet.Sum{"a": good, "b": {Rows: 10, Times: 10, Memory: 1001, CPU: 50}}, "lost 0, doubled 0, wrong hosts 1"},
		"an unknown host":     {map[string]fleet.Sum{"a": good, "b": good, "c": good}, "unknown host c"},
	} {
		require.ErrorContains(t, compare(want, test.have), test.message, name)
	}
}

// TestCopyPlanHasTheFleetsRows: both sides of the comparison store the same.
func TestCopyPlanHasTheFleetsRows(t *testing.T) {
	options := smallOptions(t, "")
	load := workload{hosts: 7, ticks: 25, samples: 10, shape: fleet.NewShape(0, 0, 0, 0), seed: 3, begin: time.Now().Add(-time.Hour), interval: options.Interval}
	plan := options.newCopyPlan(load)
	agents := fleet.New(fleet.Options{Agents: 7, Ticks: 25, Samples: 10, Seed: 3, Interval: options.Interval, Begin: load.begin})
	require.NoError(t, agents.Prepare(t.Context()))
	rows := 0
	for _, connection := range plan.rows {
		for _, n := range connection {
			rows += n
		}
	}
	require.EqualValues(t, load.rows(), rows)
	var copied, sent []fleet.Sum
	for _, sum := range plan.want {
		copied = append(copied, sum)
	}
	for _, sum := range agents.Sums() {
		sent = append(sent, sum)
	}
	require.ElementsMatch(t, sent, copied)
}

// TestSumSeries adds up what a metric's series tell, whatever their labels hold.
func TestSumSeries(t *testing.T) {
	text := "# HELP depth a help\ndepth{shard=\"0\"} 2\ndepth{shard=\"a b\"} 3\ndepths 100\ngo_goroutines 1.2e+01\n"
	sums, err := sumSeries(strings.NewReader(text), "depth", "go_goroutines")
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"depth": 5, "go_goroutines": 12}, sums)
	_, err = sumSeries(strings.NewReader(text), "missing")
	require.ErrorContains(t, err, "no missing")
}

// TestAgesReadsTheHosts reads REST's answer; a host without a sample has no age.
func TestAgesReadsTheHosts(t *testing.T) {
	taken := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339Nano)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/hosts" {
			http.Error(w, "gone", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"hosts": [{"hostId": 1, "latest": {"time": %q, "values": {"a": 1}}}, {"hostId": 2}]}`, taken)
	}))
	defer server.Close()
	scraper := newScraper(server.Listener.Addr().String())
	defer scraper.close()
	ages, err := scraper.ages(t.Context())
	require.NoError(t, err)
	require.Len(t, ages, 1)
	require.InDelta(t, 60, ages[0], 10)
	_, err = scraper.metrics(t.Context(), "depth")
	require.ErrorContains(t, err, "503")
}

// TestLiveAgain: the dashboard is live with the first of some answers in a row that are within the bound.
func TestLiveAgain(t *testing.T) {
	options := smallOptions(t, "")
	options.Interval = time.Second
	r := &outage{options: &options}
	r.result.Phases = []*outagePhase{
		{Phase: phaseBefore, Seconds: 9, Ages: []ageSecond{{0, 1, 1}, {1, 1, 1}, {2, 1, 1}}},
		{Phase: phaseAway, Seconds: 9, Ages: []ageSecond{{0, 9, 9}}},
		{Phase: phaseBack, Seconds: 2, Ages: []ageSecond{{0, 1, 3}, {1, 9, 9}}},
		{Phase: phaseDraining, Seconds: 3, Ages: []ageSecond{{0, 1, 9}, {1, 1, 4}, {2, 1, 3}}},
		{Phase: phaseAfter, Seconds: 2, Ages: []ageSecond{{0, 1, 4}, {1, 1, 9}}},
	}
	require.InDelta(t, 3, r.liveAgain(), 1e-9)
	r.result.Phases[3].Ages[2].P99 = 4.1
	require.True(t, math.IsNaN(r.liveAgain()))
}

func TestSoakFitsTheSecondHalf(t *testing.T) {
	r := soakResult{}
	for i := range 10 {
		point := soakPoint{Second: float64(15 * i), ResidentBytes: 100, Goroutines: 2000}
		if i >= 5 {
			point.ResidentBytes, point.Goroutines = 200+float64(i-5), 2000+float64(10*(i-5))
		}
		r.Points = append(r.Points, point)
	}
	r.fit(5000)
	require.InDelta(t, 2, r.MemoryGrowthPercent, 1e-9)
	require.Zero(t, r.GoroutineGrowth, "40 of 5000 agents are noise")
	r.fit(500)
	require.InDelta(t, 40, r.GoroutineGrowth, 1e-9)
}

func TestCounterOf(t *testing.T) {
	text := "# HELP a help\na 12\nab 13\nrows{type=\"influx\"} 1.5e+06\n"
	require.EqualValues(t, 12, counterOf(text, "a"))
	require.EqualValues(t, 1_500_000, counterOf(text, `rows{type="influx"}`))
	require.EqualValues(t, -1, counterOf(text, "b"))
}

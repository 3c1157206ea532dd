package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/ingest"
	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/query"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
	"github.com/gohub-io/gohub/storage/timescale"
)

// recentWorld is a store into which this server and another write, and the services of one with and one without a recent
// window.
type recentWorld struct {
	now           time.Time
	store         database
	state         *live.State
	options       live.RecentOptions
	recent        *live.Recent
	mine          recording
	queries       query.Options
	with, without *query.Service
	hosts         []*recentHost
}

type recentHost struct {
	storage.Host
	seqs [2]uint64 // by epoch
	sent *storage.Batch
}

const recentAhead = 2 * time.Minute

func newRecentWorld(t *testing.T, open func(storage.Options) (database, error), bytes int64) *recentWorld {
	w := &recentWorld{now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	store, err := open(storage.Options{Idle: true, Now: clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	w.store = store
	state := live.NewState(clock)
	w.state = state
	for i := range 5 {
		h := &recentHost{}
		facts := &gohubv1.HostFacts{Hostname: fmt.Sprintf("web-%d", i), IntervalMillis: 1000}
		for epoch := range h.seqs {
			h.Host, _ = storagetest.Register(t, store, storage.Registration{AgentID: uuid.NewSHA1(uuid.Nil, []byte{byte(i)}), Epoch: uint64(epoch + 1), Facts: facts, At: w.now})
		}
		state.SetHost(h.Host)
		w.hosts = append(w.hosts, h)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 90 { // half an hour before the server starts
		w.now = w.now.Add(20 * time.Second)
		for _, h := range w.hosts[:3] { // the others are new
			w.append(t, store, w.batch(random, h))
		}
	}
	w.options = live.RecentOptions{Store: store, Window: 20 * time.Minute, Bytes: bytes, Ahead: recentAhead, Now: clock}
	w.queries = query.Options{Store: store, Fleet: state, Now: clock, Logger: slog.New(slog.DiscardHandler)}
	w.without = query.NewService(w.queries)
	w.start(t)
	return w
}

// start starts this server, anew if it runs.
func (w *recentWorld) start(t *testing.T) {
	var err error
	w.recent, err = live.NewRecent(t.Context(), w.options)
	require.NoError(t, err)
	w.mine = recording{w.store, w.recent}
	w.queries.Recent = w.recent
	w.with = query.NewService(w.queries)
}

// interrupted is the store while others do something between two readings.
type interrupted struct {
	database
	between func()
}

func (i interrupted) Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error) {
	i.between()
	return i.database.Positions(ctx, hosts)
}

func (i interrupted) ReadRows(ctx context.Context, table storage.Table, hosts []storage.HostID, span storage.Span, yield func([]storage.Cell) error) error {
	i.between()
	return i.database.ReadRows(ctx, table, hosts, span, yield)
}

// refill refills the window, while this server and another store, and batches are on their way for longer than that takes.
func (w *recentWorld) refill(t *testing.T, random *rand.Rand) {
	var later []func()
	require.NoError(t, w.recent.Refill(t.Context(), interrupted{w.store, func() {
		h := w.hosts[random.IntN(len(w.hosts))]
		switch random.IntN(8) {
		case 0:
			w.append(t, w.store, w.batch(random, h))
		case 1:
			w.append(t, w.mine, w.batch(random, h))
		case 2:
			w.importRows(t, h, w.now.Add(-time.Duration(random.IntN(1800))*time.Second))
		case 3: // it commits at once, and this server learns it later
			batches := []*storage.Batch{w.batch(random, h)}
			w.recent.Begin(batches)
			outcomes, err := w.store.Append(t.Context(), batches)
			require.NoError(t, err)
			later = append(later, func() { w.recent.End(batches, outcomes) })
		}
	}}))
	for _, end := range later {
		end()
	}
}

// append stores batches that are new.
func (w *recentWorld) append(t *testing.T, by ingest.Sink, batches ...*storage.Batch) {
	outcomes, err := by.Append(t.Context(), batches)
	require.NoError(t, err)
	for _, outcome := range outcomes {
		require.Equal(t, storage.Stored, outcome)
	}
}

// batch is the next of a host: most samples are of about now, some late, some from a clock that is ahead.
func (w *recentWorld) batch(random *rand.Rand, h *recentHost) *storage.Batch {
	var samples []*gohubv1.Sample
	for range random.IntN(8) {
		at := w.now.Add(-time.Duration(random.IntN(10_000)) * time.Millisecond)
		switch random.IntN(12) {
		case 0:
			at = w.now.Add(-time.Duration(random.IntN(1800)) * time.Second)
		case 1:
			at = w.now.Add(time.Duration(random.IntN(int(recentAhead/time.Second)+1)) * time.Second)
		}
		sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{}}
		if random.IntN(8) > 0 {
			sample.Host.CpuUsagePercent = proto.Float32(float32(random.NormFloat64() * 100))
		}
		if random.IntN(8) > 0 {
			sample.Host.MemoryUsedBytes = proto.Uint64(random.Uint64N(1 << 45))
		}
		sample.Networks = append(sample.Networks, &gohubv1.NetworkMetrics{Interface: "eth0", ReceiveBytesTotal: proto.Uint64(random.Uint64N(1 << 45))})
		samples = append(samples, sample)
	}
	epoch := random.IntN(len(h.seqs))
	batch := &storage.Batch{Host: h.ID, Epoch: uint64(epoch + 1), Prev: h.seqs[epoch], Seq: h.seqs[epoch] + 1 + random.Uint64N(3), ReceivedAt: w.now, Rows: storagetest.Rows(h.ID, w.now, samples...)}
	h.seqs[epoch], h.sent = batch.Seq, batch
	return batch
}

// importRows imports samples of a host, as one that runs beside the server.
func (w *recentWorld) importRows(t *testing.T, h *recentHost, times ...time.Time) {
	table := storage.Table{Family: catalogue.Host(), Resolution: storage.Raw}
	part := storage.ImportPart{Digest: uuid.NewString(), Name: "host_samples", Table: table, To: int64(len(times)), Whole: true}
	for _, at := range times {
		row := make([]storage.Cell, len(table.Columns()))
		row[storage.TimeColumn] = storage.Cell{Valid: true, Int: at.UnixMicro()}
		row[storage.HostColumn] = storage.Cell{Valid: true, Int: int64(h.ID)}
		row[2] = row[storage.TimeColumn] // received_at
		row[slices.Index(table.ColumnNames(), "cpu_usage_percent")] = storage.Cell{Valid: true, Float: 1000}
		part.Rows = append(part.Rows, row)
	}
	counts, err := w.store.ImportRows(t.Context(), part)
	require.NoError(t, err)
	require.Zero(t, counts.Expired)
}

func (w *recentWorld) request(random *rand.Rand) *gohubv1.QueryRangeRequest {
	from := w.now.Add(-time.Duration(random.IntN(40*60)) * time.Second)
	request := &gohubv1.QueryRangeRequest{
		Metrics: [][]string{{"cpu_usage_percent"}, {"memory_used_bytes"}, {"memory_used_bytes", "cpu_usage_percent"}, {"network_receive_bytes_total", "cpu_usage_percent"}}[random.IntN(4)],
		From:    float64(from.UnixMilli()) / 1000, To: float64(from.UnixMilli())/1000 + float64(1+random.IntN(45*60)),
		Step: []float64{1, 7, 10, 10, 30, 60, 90, 300, 0}[random.IntN(9)],
	}
	switch random.IntN(3) {
	case 0:
		request.HostId = uint32(w.hosts[random.IntN(len(w.hosts))].ID)
	case 1:
		request.Selector = `hostname=~"web-[1-3]"`
	default:
		request.Selector = "*"
	}
	if random.IntN(3) == 0 {
		request.Aggregate = []string{"avg", "min", "max", "sum", "quantile"}[random.IntN(5)]
		if request.Aggregate == "quantile" {
			request.Quantile = []float64{0.01, 0.5, 0.9, 1}[random.IntN(4)]
		}
		if request.HostId == 0 && random.IntN(2) == 0 {
			request.GroupBy = [][]string{{"hostname"}, {"os"}}[random.IntN(2)]
		}
	}
	if random.IntN(8) == 0 {
		request.Fill = "null"
	}
	return request
}

// TestRecentWindowChangesNoAnswer holds the answers of a server with a recent window against those of one without, while
// samples come in time, late, twice, by another server and by imports, and it starts anew and refills the window. GOHUB_TEST_CASES sets the number of queries on each database.
func TestRecentWindowChangesNoAnswer(t *testing.T) {
	cases := 60
	if text := os.Getenv("GOHUB_TEST_CASES"); text != "" {
		var err error
		cases, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	drivers := map[string]func(storage.Options) (database, error){
		"sqlite": func(o storage.Options) (database, error) { return sqlite.Open(t.TempDir(), o) },
		"timescaledb": func(o storage.Options) (database, error) {
			return timescale.Open(t.Context(), storagetest.DatabaseURL(t), o)
		},
	}
	for name, open := range drivers {
		for memory, bytes := range map[string]int64{"enough": 64 << 20, "short": 150 << 10} {
			t.Run(name+"/"+memory, func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				random := rand.New(rand.NewPCG(seed, 0))
				w := newRecentWorld(t, open, bytes)
				sources := map[string]int{}
				for range cases {
					for range 1 + random.IntN(4) {
						w.step(t, random)
					}
					switch random.IntN(20) {
					case 0:
						w.start(t)
					case 1, 2:
						w.refill(t, random)
					}
					request := w.request(random)
					if request.GetAggregate() != "" { // or else minutes lack what came late, which memory has
						require.NoError(t, w.store.RollUp(t.Context()))
					}
					got, err := w.with.QueryRange(t.Context(), request)
					require.NoError(t, err, "%v", request)
					want, err := w.without.QueryRange(t.Context(), request)
					require.NoError(t, err, "%v", request)
					sources[got.GetSource()]++
					if combined := request.GetAggregate() != ""; combined && strings.HasSuffix(got.GetSource(), "memory") {
						sources["combined"]++
					} else if !combined {
						require.Equal(t, want.GetResolution(), got.GetResolution())
					}
					require.Empty(t, differences(want, got, request.GetAggregate() != ""), "%v", request)
				}
				t.Logf("sources: %v", sources)
				require.Positive(t, sources["memory"])
				require.Positive(t, sources["raw"])
				require.Positive(t, sources["raw+memory"])
				require.Positive(t, sources["combined"])
			})
		}
	}
}

// TestRefilledWindowAnswersAtOnce: of all that was stored before the start, to the beginning of the window and no further.
func TestRefilledWindowAnswersAtOnce(t *testing.T) {
	w := newRecentWorld(t, func(o storage.Options) (database, error) { return sqlite.Open(t.TempDir(), o) }, 64<<20)
	ask := func(back time.Duration) *gohubv1.QueryRangeResponse {
		request := &gohubv1.QueryRangeRequest{
			Selector: "*", Metrics: []string{"cpu_usage_percent", "memory_used_bytes"}, Step: 10,
			From: float64(w.now.Add(-back).Unix()), To: float64(w.now.Unix()),
		}
		got, err := w.with.QueryRange(t.Context(), request)
		require.NoError(t, err)
		want, err := w.without.QueryRange(t.Context(), request)
		require.NoError(t, err)
		source := got.GetSource()
		require.Empty(t, differences(want, got, false))
		require.NotEmpty(t, got.GetSeries())
		got.Source = source
		return got
	}
	require.Equal(t, "raw", ask(15*time.Minute).GetSource())
	require.NoError(t, w.recent.Refill(t.Context(), w.store))
	require.Equal(t, "memory", ask(15*time.Minute).GetSource())
	require.Equal(t, "raw+memory", ask(25*time.Minute).GetSource())

	w.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.recent.Refill(ctx, w.store), context.Canceled)
	require.Equal(t, "raw", ask(15*time.Minute).GetSource())
}

// TestServerRefillsItsWindowAfterAStart: what was stored before it is answered from memory soon.
func TestServerRefillsItsWindowAfterAStart(t *testing.T) {
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	fillForExamples(t, config.DataDir)
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	app.refillAfter = 0
	begin(t, app.Run)
	require.Eventually(t, func() bool {
		status, _, text := ask(t, "GET", fmt.Sprintf("http://%s/api/v1/range?hostId=1&metrics=load1&step=10&from=%d", app.HTTPAddr(), time.Now().Add(-10*time.Minute).Unix()))
		require.Equal(t, 200, status)
		require.Contains(t, text, `"avg":[1,1]`)
		return strings.Contains(text, `"source":"memory"`)
	}, time.Minute, 50*time.Millisecond)
}

// TestRecentWindowDoesNotAnswerForWhatWasLongBeforeIt: of a host that had nothing when it came, older samples may be imported.
func TestRecentWindowDoesNotAnswerForWhatWasLongBeforeIt(t *testing.T) {
	w := newRecentWorld(t, func(o storage.Options) (database, error) { return sqlite.Open(t.TempDir(), o) }, 64<<20)
	h := &recentHost{}
	facts := &gohubv1.HostFacts{Hostname: "web-new", IntervalMillis: 1000}
	h.Host, _ = storagetest.Register(t, w.store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: w.now})
	w.state.SetHost(h.Host)
	sample := &gohubv1.Sample{TimeUnixMillis: w.now.Add(-time.Second).UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(1)}}
	w.append(t, w.mine, &storage.Batch{Host: h.ID, Epoch: 1, Seq: 1, ReceivedAt: w.now, Rows: storagetest.Rows(h.ID, w.now, sample)})
	for _, age := range []time.Duration{storage.ImportsTold + time.Minute, storage.ImportsTold - time.Minute, time.Minute} {
		request := &gohubv1.QueryRangeRequest{
			HostId: uint32(h.ID), Metrics: []string{"cpu_usage_percent"}, Step: 10,
			From: float64(w.now.Add(-27 * time.Hour).Unix()), To: float64(w.now.Unix()),
		}
		got, err := w.with.QueryRange(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, "raw+memory", got.GetSource(), "before those of an age of %s", age)
		w.importRows(t, h, w.now.Add(-age))
		got, err = w.with.QueryRange(t.Context(), request)
		require.NoError(t, err)
		want, err := w.without.QueryRange(t.Context(), request)
		require.NoError(t, err)
		require.EqualValues(t, 1000, slices.Max(want.GetSeries()[0].GetMax()))
		if age > storage.ImportsTold {
			require.Equal(t, "raw+memory", got.GetSource())
		} else {
			require.Equal(t, "raw", got.GetSource())
		}
		require.Empty(t, differences(want, got, false))
		require.NoError(t, w.recent.Refill(t.Context(), w.store))
	}
}

// TestImportBesideARunningServer: what is imported while a server runs is in its answers at once, and the window goes on for hosts
// that were not in the import.
func TestImportBesideARunningServer(t *testing.T) {
	agents := []uuid.UUID{uuid.New(), uuid.New()}
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":      func(*testing.T) string { return "" },
		"timescaledb": func(t *testing.T) string { return storagetest.DatabaseURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			config := defaultConfig()
			config.HTTPListen, config.GRPCListen, config.DataDir, config.DatabaseURL = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), url(t)
			environ := []string{"GOHUB_DATA_DIR=" + config.DataDir, "GOHUB_DATABASE_URL=" + config.DatabaseURL}
			store, err := openDatabase(t.Context(), config, storage.Options{Idle: true})
			require.NoError(t, err)
			for _, agent := range agents {
				storeLoads(t, store, agent, map[time.Duration]float32{3 * time.Minute: 3, 2 * time.Minute: 2})
			}
			require.NoError(t, store.Close())
			app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			app.refillAfter = 0
			begin(t, app.Run)
			answers := func(host int, source, loads string) bool {
				status, _, text := ask(t, "GET", fmt.Sprintf("http://%s/api/v1/range?hostId=%d&metrics=load1&step=10&from=%d", app.HTTPAddr(), host, time.Now().Add(-10*time.Minute).Unix()))
				require.Equal(t, 200, status)
				return strings.Contains(text, `"source":"`+source+`"`) && strings.Contains(text, `"avg":`+loads)
			}
			for host := 1; host <= 2; host++ {
				require.Eventually(t, func() bool { return answers(host, "memory", "[3,2]") }, time.Minute, 50*time.Millisecond)
			}
			bring := func(loads map[time.Duration]float32) {
				lost, directory := t.TempDir(), t.TempDir()
				store, err := sqlite.Open(lost, storage.Options{Idle: true})
				require.NoError(t, err)
				storeLoads(t, store, agents[0], loads)
				require.NoError(t, store.Close())
				var output strings.Builder
				require.NoError(t, exportData(t.Context(), []string{"--dir", directory, "--resolution", "raw"}, []string{"GOHUB_DATA_DIR=" + lost}, &output, &output))
				require.NoError(t, importData(t.Context(), []string{directory}, environ, &output, &output))
				require.Contains(t, output.String(), "imported 1 rows")
			}

			bring(map[time.Duration]float32{48 * time.Hour: 9})
			require.True(t, answers(1, "memory", "[3,2]"), "the window needs nothing of so long ago")

			bring(map[time.Duration]float32{4 * time.Minute: 4})
			require.True(t, answers(1, "raw", "[4,3,2]"))
			require.True(t, answers(2, "memory", "[3,2]"))

			require.NoError(t, app.recent.Refill(t.Context(), app.store))
			require.True(t, answers(1, "memory", "[4,3,2]"))
		})
	}
}

// storeLoads stores samples of a host by their ages.
func storeLoads(t *testing.T, store storage.Store, agent uuid.UUID, loads map[time.Duration]float32) {
	facts := &gohubv1.HostFacts{Hostname: "web", IntervalMillis: 10_000}
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: agent, Epoch: 1, Facts: facts, At: time.Now()})
	var samples []*gohubv1.Sample
	for age, load := range loads {
		samples = append(samples, &gohubv1.Sample{TimeUnixMillis: time.Now().Add(-age).UnixMilli(), Host: &gohubv1.HostMetrics{Load1: proto.Float32(load)}})
	}
	outcomes, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: time.Now(), Rows: storagetest.Rows(host.ID, time.Now(), samples...)}})
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Stored}, outcomes)
}

// step lets time pass, and hosts send.
func (w *recentWorld) step(t *testing.T, random *rand.Rand) {
	w.now = w.now.Add(time.Duration(random.IntN(20_000)) * time.Millisecond)
	var mine []*storage.Batch
	for i, h := range w.hosts {
		// Two of them go back and forth between the servers, the others seldom do.
		switch random.IntN([]int{800, 800, 800, 80, 80}[i]) {
		case 0: // by another server
			w.append(t, w.store, w.batch(random, h))
		case 1, 2, 3:
			if h.sent != nil { // again
				outcomes, err := w.mine.Append(t.Context(), []*storage.Batch{h.sent})
				require.NoError(t, err)
				require.NotContains(t, outcomes, storage.Stored)
			}
		default:
			mine = append(mine, w.batch(random, h))
		}
	}
	if len(mine) > 0 {
		w.append(t, w.mine, mine...)
	}
	if random.IntN(50) == 0 {
		w.importRows(t, w.hosts[random.IntN(len(w.hosts))], w.now.Add(-time.Duration(random.IntN(1800))*time.Second))
	}
	if random.IntN(100) == 0 {
		require.NoError(t, w.store.RollUp(t.Context()))
	}
}

// differences tells where two answers differ, as texts, in which NaN is NaN. What is read from where is not compared, but for its
// step. Where hosts are combined, memory stands for rollups too, whose averages have seven digits.
func differences(want, got *gohubv1.QueryRangeResponse, combined bool) string {
	got.Source, got.Parts, got.Resolution = want.GetSource(), want.GetParts(), want.GetResolution()
	if combined && len(want.GetSeries()) == len(got.GetSeries()) {
		for i, one := range want.GetSeries() {
			if other := got.GetSeries()[i]; near(one, other) {
				other.Avg, other.Min, other.Max = one.GetAvg(), one.GetMin(), one.GetMax()
			}
		}
	}
	if proto.Equal(want, got) {
		return ""
	}
	for i, series := range want.GetSeries() {
		if i >= len(got.GetSeries()) || !proto.Equal(series, got.GetSeries()[i]) {
			return fmt.Sprintf("series %d of %d, %d:\n%v", i, len(want.GetSeries()), len(got.GetSeries()), series)
		}
	}
	return "beside the series"
}

// near compares the values of two series by the size of what is in their buckets.
func near(a, b *gohubv1.Series) bool {
	if !slices.Equal(a.GetTimes(), b.GetTimes()) {
		return false
	}
	for i := range a.GetTimes() {
		size := 0.0
		for _, one := range []*gohubv1.Series{a, b} {
			size = max(size, math.Abs(one.GetMin()[i]), math.Abs(one.GetMax()[i]))
		}
		for _, pair := range [][2]float64{{a.GetAvg()[i], b.GetAvg()[i]}, {a.GetMin()[i], b.GetMin()[i]}, {a.GetMax()[i], b.GetMax()[i]}} {
			if !(math.Abs(pair[0]-pair[1]) <= 1e-6*size) && !(math.IsNaN(pair[0]) && math.IsNaN(pair[1])) {
				return false
			}
		}
	}
	return true
}

package live

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// recentRig is a recent window beside a real store.
type recentRig struct {
	t      testing.TB
	clock  *clock
	store  storage.Store
	recent *Recent
	hosts  []storage.HostID
	seqs   map[storage.HostID]uint64
}

func newRecentRig(t testing.TB, hosts int, options RecentOptions) *recentRig {
	store, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	r := &recentRig{t: t, clock: &clock{epoch}, store: store, seqs: map[storage.HostID]uint64{}}
	options.Store, options.Now = store, r.clock.now
	r.recent, err = NewRecent(t.Context(), options)
	require.NoError(t, err)
	for i := range hosts {
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.NewSHA1(uuid.Nil, []byte{byte(i)}), Epoch: 1, Facts: &gohubv1.HostFacts{}, At: epoch})
		r.hosts = append(r.hosts, host.ID)
	}
	return r
}

// batch is the next one of a host, with a sample of now.
func (r *recentRig) batch(host storage.HostID) *storage.Batch {
	prev := r.seqs[host]
	r.seqs[host]++
	return &storage.Batch{
		Host: host, Epoch: 1, Prev: prev, Seq: prev + 1, ReceivedAt: r.clock.time,
		Rows: storagetest.Rows(host, r.clock.time, hostSample(r.clock.time, float32(prev))),
	}
}

// send lets each host store a sample.
func (r *recentRig) send() {
	var batches []*storage.Batch
	for _, host := range r.hosts {
		batches = append(batches, r.batch(host))
	}
	r.recent.Begin(batches)
	outcomes, err := r.store.Append(r.t.Context(), batches)
	require.NoError(r.t, err)
	r.recent.End(batches, outcomes)
}

// points returns how many points of a host's last hour are answered from memory, and from when.
func (r *recentRig) points(hosts ...storage.HostID) (int, time.Time) {
	metric, _ := catalogue.MetricByName("cpu_usage_percent")
	to := r.clock.time.Truncate(10 * time.Second).Add(10 * time.Second)
	series, border, rows, err := r.recent.Range(r.t.Context(), storage.RangeQuery{
		Hosts: hosts, Metrics: []*catalogue.Metric{metric}, From: to.Add(-time.Hour), To: to, Step: 10 * time.Second, MaxRows: 1000,
	})
	require.NoError(r.t, err)
	count := 0
	for _, one := range series {
		count += len(one.Times)
	}
	require.Equal(r.t, rows, count)
	if border.Equal(to) {
		require.Zero(r.t, count)
		return 0, time.Time{}
	}
	return count, border
}

func TestRecentWindowDropsTheOldestOverItsBudget(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := newRecentRig(t, 2, RecentOptions{Window: time.Hour, Bytes: 6 * pageBytes, Registerer: registry})
	for range 4 * pageRows {
		r.send()
		r.clock.time = r.clock.time.Add(10 * time.Second)
	}
	count, border := r.points(r.hosts...)
	require.Equal(t, 2*3*pageRows, count, "three pages a host have room")
	require.Equal(t, epoch.Add(pageRows*10*time.Second), border)
	require.LessOrEqual(t, r.recent.age(), 3*pageRows*10*time.Second)
	gathered, err := testutil.GatherAndCount(registry, "gohub_recent_window_seconds", "gohub_recent_memory_bytes")
	require.NoError(t, err)
	require.Equal(t, 2, gathered)
	require.Equal(t, int64(6), r.recent.pages)
}

func TestRecentWindowForgetsWhatIsOlderThanIt(t *testing.T) {
	r := newRecentRig(t, 1, RecentOptions{Window: 10 * time.Minute, Bytes: 1 << 20})
	for range 360 {
		r.send()
		r.clock.time = r.clock.time.Add(10 * time.Second)
	}
	count, _ := r.points(r.hosts[0])
	require.GreaterOrEqual(t, count, 60)
	require.Less(t, count, 60+2*pageRows)
	require.LessOrEqual(t, r.recent.pages, int64(60/15+3), "pages are used again")
}

func TestRecentWindowWaitsForBatchesOnTheirWay(t *testing.T) {
	r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	r.send()
	batches := []*storage.Batch{r.batch(r.hosts[0])}
	r.recent.Begin(batches)
	outcomes, err := r.store.Append(t.Context(), batches)
	require.NoError(t, err)
	count, _ := r.points(r.hosts[0])
	require.Zero(t, count, "what is stored is not here yet, so storage has to answer")
	r.recent.End(batches, outcomes)
	count, _ = r.points(r.hosts[0])
	require.Equal(t, 1, count, "both samples are in one bucket")
}

func TestRecentWindowBeginsAnewWhereAnOutcomeWasNotTold(t *testing.T) {
	r := newRecentRig(t, 2, RecentOptions{Window: time.Hour, Bytes: 1 << 20, Ahead: time.Minute})
	r.send()
	batches := []*storage.Batch{r.batch(r.hosts[0])}
	r.recent.Begin(batches)
	_, err := r.store.Append(t.Context(), batches) // the commit went through, and the connection was lost
	require.NoError(t, err)
	r.recent.End(batches, nil)
	count, _ := r.points(r.hosts[0])
	require.Zero(t, count)
	count, _ = r.points(r.hosts[1])
	require.Equal(t, 1, count, "the other host has nothing to do with it")
	lost := r.clock.time
	for range 60 {
		r.clock.time = r.clock.time.Add(10 * time.Second)
		r.send()
	}
	_, border := r.points(r.hosts[0])
	require.True(t, border.After(lost.Add(time.Minute)), "%v", border)
}

func TestRecentWindowFailsWithTheDatabase(t *testing.T) {
	r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	r.send()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	metric, _ := catalogue.MetricByName("cpu_usage_percent")
	_, _, _, err := r.recent.Range(ctx, storage.RangeQuery{
		Hosts: r.hosts, Metrics: []*catalogue.Metric{metric}, From: epoch.Add(-time.Minute), To: epoch.Add(time.Minute), Step: time.Second, MaxRows: 1,
	})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCombinedHostsAreHeldWithinTheLimitsOfTheQuery(t *testing.T) {
	r := newRecentRig(t, 20, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	for range 6 {
		r.send()
		r.clock.time = r.clock.time.Add(10 * time.Second)
	}
	metrics := recentLayout.family.Metrics
	across := &storage.Across{}
	for i := range r.hosts {
		across.Groups = append(across.Groups, int32(i))
	}
	query := storage.RangeQuery{
		Hosts: r.hosts, Metrics: metrics, Across: across, From: epoch, To: epoch.Add(10_000 * time.Second), Step: time.Second,
		MaxRows: 120, MaxSeries: 20 * len(metrics),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	series, border, rows, err := r.recent.Range(t.Context(), query)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.True(t, border.Before(query.To))
	require.Equal(t, 120, rows)
	require.NotEmpty(t, series)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "a cell for each row and metric, and none for the future")

	query.MaxRows--
	_, _, _, err = r.recent.Range(t.Context(), query)
	require.ErrorIs(t, err, storage.ErrTooManyRows)
	query.MaxRows, query.MaxSeries = 1e6, query.MaxSeries-1
	_, _, _, err = r.recent.Range(t.Context(), query)
	require.ErrorIs(t, err, storage.ErrTooManySeries)
}

func TestQuantilesOfTooManyAveragesAreLeftToStorage(t *testing.T) {
	metric, _ := catalogue.MetricByName("cpu_usage_percent")
	query := storage.RangeQuery{Metrics: []*catalogue.Metric{metric}, Across: &storage.Across{Function: storage.Quantile, Quantile: 0.5}, MaxRows: 1}
	c := newCombiner(query, &grid{count: 1})
	buckets := []bucket{{sum: 1, count: 1}}
	require.NoError(t, c.fill(0, buckets))
	c.gathered = maxGathered - 1
	require.NoError(t, c.add(0, 0, buckets))
	require.ErrorIs(t, c.add(0, 0, buckets), errTooMuch)
}

// BenchmarkRecentTake is what a row of all metrics costs on top of its append, ten in a batch, when every host's turn comes
// once its memory is out of the caches.
func BenchmarkRecentTake(b *testing.B) {
	const hosts, samples = 1000, 10
	r := newRecentRig(b, 0, RecentOptions{Window: time.Hour, Bytes: 128 << 20})
	sample := &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli()}
	storagetest.Fill(sample)
	sample = &gohubv1.Sample{TimeUnixMillis: sample.TimeUnixMillis, Host: sample.Host}
	var batches []*storage.Batch
	for host := range hosts {
		rows := storagetest.Rows(storage.HostID(host), epoch, slices.Repeat([]*gohubv1.Sample{sample}, samples)...)
		batches = append(batches, &storage.Batch{Host: storage.HostID(host), Rows: rows})
	}
	outcomes := slices.Repeat([]storage.Outcome{storage.Stored}, hosts)
	b.ReportAllocs()
	for b.Loop() {
		r.recent.Begin(batches)
		r.recent.End(batches, outcomes)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*hosts*samples), "ns/row")
}

// BenchmarkRecentFleet is an hour of 1,000 hosts at 10 s in 20 groups, one metric by minutes, with the check of their positions.
func BenchmarkRecentFleet(b *testing.B) {
	const hosts, groups = 1000, 20
	r := newRecentRig(b, 0, RecentOptions{Window: time.Hour, Bytes: 128 << 20})
	across := &storage.Across{}
	var ids []storage.HostID
	for host := range storage.HostID(hosts) {
		var samples []*gohubv1.Sample
		for i := range 360 {
			samples = append(samples, hostSample(epoch.Add(time.Duration(i)*10*time.Second), float32(i)))
		}
		batches := []*storage.Batch{{Host: host, Rows: storagetest.Rows(host, epoch, samples...)}}
		r.recent.Begin(batches)
		r.recent.End(batches, []storage.Outcome{storage.Stored})
		ids, across.Groups = append(ids, host), append(across.Groups, int32(host%groups))
	}
	metric, _ := catalogue.MetricByName("cpu_usage_percent")
	query := storage.RangeQuery{Hosts: ids, Metrics: []*catalogue.Metric{metric}, Across: across, From: epoch, To: epoch.Add(time.Hour), Step: time.Minute, MaxRows: 1e6}
	b.ReportAllocs()
	for b.Loop() {
		series, _, _, err := r.recent.Range(b.Context(), query)
		require.NoError(b, err)
		require.Len(b, series, groups)
	}
}

// BenchmarkRecentRange is an hour of one host at 10 s: one metric, with the check of the position in SQLite.
func BenchmarkRecentRange(b *testing.B) {
	r := newRecentRig(b, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	for range 360 {
		r.send()
		r.clock.time = r.clock.time.Add(10 * time.Second)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.points(r.hosts[0])
	}
}

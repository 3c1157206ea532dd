// Package storagetest holds the conformance suite that every storage driver passes, and gives tests a real database.
package storagetest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// base is a whole number of days since the Unix epoch, so that buckets of every step begin at it.
var base = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// Run runs the suite. open returns an empty store, which the suite closes.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	cases := []struct {
		name string
		run  func(t *testing.T, s storage.Store)
	}{
		{"RegisterKeepsHostAndCursorOfSameEpoch", registerKeepsCursor},
		{"RegisterWithNewEpochStartsAtZero", registerNewEpoch},
		{"EpochThatComesBackStoresNothingTwice", registerOldEpoch},
		{"RegisterTakesManyTogether", registerTogether},
		{"RegisterTellsTheChecksum", checksums},
		{"RegisterUsesUpNoIDs", registerKeepsIDs},
		{"AppendAdvancesCursor", appendAdvances},
		{"AppendTwiceStoresOnce", appendTwice},
		{"AppendFencesGapOtherEpochAndUnknownHost", appendFences},
		{"AppendTellsBatchesOfOneNumberApart", appendTellsApart},
		{"AppendAcceptsSkippedSequenceWhenItFollowsCursor", appendSkipped},
		{"AppendStoresChainOfBatchesInOneCall", appendChain},
		{"PositionsSumTheCursorsOfAHost", positions},
		{"AppendKeepsBatchOfOtherHostWhenOneIsFenced", appendKeepsNeighbour},
		{"AppendOfBadDataStoresNothing", appendBadData},
		{"AppendQuarantinesWithCursor", appendQuarantines},
		{"GapsAreStoredOnce", gaps},
		{"EveryMetricRoundTrips", everyMetric},
		{"CustomSeriesAreFoundByNameAndLabels", custom},
		{"MissingReadingIsNotZero", missingReading},
		{"RangeBucketsAvgMinMax", rangeBuckets},
		{"RangeExcludesEndAndOtherHosts", rangeBorders},
		{"RangeSplitsInstances", rangeInstances},
		{"RangeOverLimitIsRefused", rangeLimit},
		{"RangeOfNothingIsEmpty", rangeEmpty},
		{"HostileNamesComeBackUnchanged", hostileNames},
		{"LatestSamples", latestSamples},
		{"HostLabelsAreReplaced", hostLabels},
		{"AlertsAreReplacedAndRemoved", alerts},
		{"SessionsExpire", sessions},
		{"ConcurrentAppendsOfTheSameBatchesStoreOnce", concurrentAppends},
		{"DescribeAndPing", describe},
		{"UsageTellsWhatSamplesTake", usage},
		{"CancelledContextIsReturned", cancelled},
	}
	var count tally
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() { count.add(t) })
			s := open(t)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			count.name(t, s)
			c.run(t, s)
		})
	}
	count.tell(t)
}

// register makes a host with epoch 7.
func register(t *testing.T, s storage.Store) storage.Host {
	t.Helper()
	host, seq := Register(t, s, registration(uuid.New(), 7))
	require.Zero(t, seq)
	return host
}

func registration(agent uuid.UUID, epoch uint64) storage.Registration {
	return storage.Registration{AgentID: agent, Epoch: epoch, At: base, Facts: &gohubv1.HostFacts{Hostname: "web-1", Os: "linux", CpuCores: 4}}
}

// batch is one batch of epoch 7 with one sample, a second after base for every number of its sequence.
func batch(host storage.HostID, prev, seq uint64, cpu float32, change ...func(*gohubv1.Sample)) *storage.Batch {
	at := base.Add(time.Duration(seq) * time.Second)
	sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(cpu)}}
	for _, apply := range change {
		apply(sample)
	}
	return &storage.Batch{
		Host: host, Epoch: 7, Prev: prev, Seq: seq, ReceivedAt: at.Add(time.Millisecond), Rows: Rows(host, at.Add(time.Millisecond), sample),
	}
}

// Rows makes the rows of samples, which must be such that can be sent.
func Rows(host storage.HostID, receivedAt time.Time, samples ...*gohubv1.Sample) storage.Rows {
	var encoder storage.RowEncoder
	for _, sample := range samples {
		encoder.Add(host, receivedAt, Flat(sample))
	}
	rows, _ := encoder.Rows()
	return rows
}

// Register registers one agent.
func Register(t testing.TB, s storage.Store, r storage.Registration) (storage.Host, uint64) {
	t.Helper()
	answers, err := s.Register(t.Context(), []storage.Registration{r})
	require.NoError(t, err)
	require.Len(t, answers, 1)
	return answers[0].Host, answers[0].Cursor.Seq
}

// Flat makes a flat sample of a generated one, which must be one that can be sent.
func Flat(sample *gohubv1.Sample) *catalogue.Sample {
	flat, err := catalogue.FromProto(sample)
	if err != nil {
		panic(err)
	}
	return flat
}

func appendAll(t *testing.T, s storage.Store, batches ...*storage.Batch) []storage.Outcome {
	t.Helper()
	outcomes, err := s.Append(t.Context(), batches)
	require.NoError(t, err)
	return outcomes
}

func metric(t *testing.T, name string) *catalogue.Metric {
	t.Helper()
	m, ok := catalogue.MetricByName(name)
	require.True(t, ok, "metric %s", name)
	return m
}

func queryCPU(t *testing.T, host storage.HostID, step time.Duration) storage.RangeQuery {
	t.Helper()
	return storage.RangeQuery{
		Hosts: []storage.HostID{host}, Metrics: []*catalogue.Metric{metric(t, "cpu_usage_percent")},
		From: base, To: base.Add(time.Hour), Step: step, MaxRows: 1000,
	}
}

// storedCPU returns the stored CPU values of a host, a second a bucket.
func storedCPU(t *testing.T, s storage.Store, host storage.HostID) []float64 {
	t.Helper()
	series, err := s.Range(t.Context(), queryCPU(t, host, time.Second))
	require.NoError(t, err)
	if len(series) == 0 {
		return nil
	}
	require.Len(t, series, 1)
	return series[0].Avg
}

func everyMetric(t *testing.T, s storage.Store) {
	host := register(t, s)
	sample := &gohubv1.Sample{TimeUnixMillis: base.UnixMilli()}
	want := Fill(sample)
	b := batch(host.ID, 0, 1, 0)
	b.Rows = Rows(host.ID, b.ReceivedAt, sample)
	appendAll(t, s, b)

	for _, family := range catalogue.Families() {
		series, err := s.Range(t.Context(), storage.RangeQuery{
			Hosts: []storage.HostID{host.ID}, Metrics: family.Metrics, From: base, To: base.Add(time.Minute), Step: time.Minute, MaxRows: 10,
		})
		require.NoError(t, err)
		require.Len(t, series, len(family.Metrics), family.Name)
		for i, one := range series {
			require.Equal(t, family.Metrics[i], one.Metric)
			require.Len(t, one.Labels, len(family.Labels))
			for j, label := range one.Labels {
				require.Equal(t, LabelText(family.Labels[j]), label)
			}
			require.Equal(t, []time.Time{base}, one.Times)
			require.Equal(t, []float64{want[one.Metric.Name]}, one.Avg, one.Metric.Name)
		}
	}
}

func missingReading(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 0, func(sample *gohubv1.Sample) {
		sample.Host.CpuUsagePercent = nil
		sample.Host.Load1 = proto.Float32(0)
	}))
	query := queryCPU(t, host.ID, time.Minute)
	query.Metrics = append(query.Metrics, metric(t, "load1"))
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, series, 1)
	require.Equal(t, "load1", series[0].Metric.Name)
	require.Equal(t, []float64{0}, series[0].Avg)
}

func hostileNames(t *testing.T, s storage.Store) {
	host := register(t, s)
	names := []string{`'; DROP TABLE hosts; --`, `"quoted"`, "new\nline\ttab\\", "\u202eright to left", "<b>markup</b>", "ünïcode 🔥", ""}
	appendAll(t, s, batch(host.ID, 0, 1, 1, func(sample *gohubv1.Sample) {
		for i, name := range names {
			sample.Sensors = append(sample.Sensors, &gohubv1.SensorMetrics{Sensor: name, TemperatureCelsius: proto.Float32(float32(i))})
		}
	}))
	query := queryCPU(t, host.ID, time.Minute)
	query.Metrics = []*catalogue.Metric{metric(t, "sensor_temperature_celsius")}
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	got := map[string]float64{}
	for _, one := range series {
		got[one.Labels[0]] = one.Avg[0]
	}
	want := map[string]float64{}
	for i, name := range names {
		want[name] = float64(i)
	}
	require.Equal(t, want, got)
}

func latestSamples(t *testing.T, s storage.Store) {
	one, two, silent := register(t, s), register(t, s), register(t, s)
	appendAll(t, s, batch(one.ID, 0, 1, 10), batch(one.ID, 1, 9, 20), batch(two.ID, 0, 5, 30))
	latest, err := s.LatestSamples(t.Context(), base)
	require.NoError(t, err)
	require.Len(t, latest, 2, "host %d has no sample", silent.ID)
	cpu := metric(t, "cpu_usage_percent").Index
	require.Equal(t, one.ID, latest[0].Host)
	require.Equal(t, base.Add(9*time.Second), latest[0].Time)
	require.InDelta(t, 20, latest[0].Values[cpu], 0)
	require.True(t, math.IsNaN(latest[0].Values[metric(t, "load1").Index]))
	require.Equal(t, two.ID, latest[1].Host)

	latest, err = s.LatestSamples(t.Context(), base.Add(6*time.Second))
	require.NoError(t, err)
	require.Len(t, latest, 1)
}

func hostLabels(t *testing.T, s storage.Store) {
	one, two := register(t, s), register(t, s)
	hostile := map[string]string{"site": "ams", "note": `'; DROP TABLE hosts; -- "\`, "city": "\u202eZürich", "hidden": ""}
	require.NoError(t, s.SetHostLabels(t.Context(), one.ID, map[string]string{"old": "x", "site": "fra"}))
	require.NoError(t, s.SetHostLabels(t.Context(), one.ID, hostile))
	require.ErrorIs(t, s.SetHostLabels(t.Context(), two.ID+1, hostile), storage.ErrNotFound)
	Register(t, s, registration(one.AgentID, 8)) // facts come anew, the server's labels stay
	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 2)
	require.Equal(t, hostile, hosts[0].Labels)
	require.Empty(t, hosts[1].Labels)
	require.NoError(t, s.SetHostLabels(t.Context(), one.ID, nil))
	hosts, err = s.Hosts(t.Context())
	require.NoError(t, err)
	require.Empty(t, hosts[0].Labels)
}

func alerts(t *testing.T, s storage.Store) {
	ctx := t.Context()
	alert := &gohubv1.Alert{Id: "cpu|1", Rule: "cpu", HostId: 1, State: gohubv1.AlertState_ALERT_STATE_PENDING, ActiveSince: timestamppb.New(base), Labels: map[string]string{"mountpoint": `/"'`}}
	other := &gohubv1.Alert{Id: "disk|1", Rule: "disk", HostId: 1}
	require.NoError(t, s.SaveAlerts(ctx, []*gohubv1.Alert{alert, other}, nil))
	alert.State = gohubv1.AlertState_ALERT_STATE_FIRING
	require.NoError(t, s.SaveAlerts(ctx, []*gohubv1.Alert{alert}, []string{"disk|1", "never there"}))
	saved, err := s.Alerts(ctx)
	require.NoError(t, err)
	require.Len(t, saved, 1)
	require.True(t, proto.Equal(alert, saved[0]), "%v", saved[0])
}

func sessions(t *testing.T, s storage.Store) {
	ctx := t.Context()
	session := storage.Session{TokenHash: [32]byte{1, 0, 255}, User: "admin", ExpiresAt: base.Add(time.Hour)}
	require.NoError(t, s.SaveSession(ctx, session))
	found, err := s.FindSession(ctx, session.TokenHash, base)
	require.NoError(t, err)
	require.Equal(t, session, found)
	other := storage.Session{TokenHash: [32]byte{3}, User: "admin", ExpiresAt: base.Add(time.Minute)}
	require.NoError(t, s.SaveSession(ctx, other))
	for at, want := range map[time.Time][][32]byte{base: {session.TokenHash, other.TokenHash}, base.Add(time.Minute): {session.TokenHash}, base.Add(time.Hour): nil} {
		living, err := s.LivingSessions(ctx, [][32]byte{{2}, session.TokenHash, other.TokenHash}, at)
		require.NoError(t, err)
		require.ElementsMatch(t, want, living)
	}
	_, err = s.FindSession(ctx, [32]byte{2}, base)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.FindSession(ctx, session.TokenHash, base.Add(time.Hour))
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, s.DeleteSession(ctx, session.TokenHash, base))
	_, err = s.FindSession(ctx, session.TokenHash, base)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func describe(t *testing.T, s storage.Store) {
	require.NoError(t, s.Ping(t.Context()))
	description, err := s.Describe(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, description.Driver)
	require.NotEmpty(t, description.Version)
}

func cancelled(t *testing.T, s storage.Store) {
	host := register(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Append(ctx, []*storage.Batch{batch(host.ID, 0, 1, 1)})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, storedCPU(t, s, host.ID))
}

func usage(t *testing.T, s storage.Store) {
	host := register(t, s)
	now := time.Now().UTC().Truncate(time.Second)
	var samples []*gohubv1.Sample
	for i := range 500 {
		sample := &gohubv1.Sample{TimeUnixMillis: now.Add(time.Duration(i-500) * 10 * time.Second).UnixMilli()}
		Fill(sample)
		samples = append(samples, sample)
	}
	outcomes, err := s.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 7, Seq: 1, ReceivedAt: now, Rows: Rows(host.ID, now, samples...)}})
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Stored}, outcomes)
	found, err := s.Usage(t.Context())
	require.NoError(t, err)
	sum, raw := int64(0), 0
	for _, one := range found.Relations {
		sum += one.Bytes
		require.Equal(t, storage.DefaultRetention.Of(one.Resolution), one.Keep)
		if one.Resolution == storage.Raw {
			raw++
			require.Greater(t, one.Bytes, int64(500*30), one.Family.Name)
			require.False(t, one.Newest.Before(now.Add(-time.Minute)), one.Family.Name)
			require.True(t, one.Oldest.Before(now), one.Family.Name)
			require.False(t, one.Newest.After(now.Add(time.Minute)), one.Family.Name)
		}
	}
	require.Len(t, catalogue.Families(), raw)
	require.Less(t, sum, found.TotalBytes)
	if found.Disk != nil {
		require.Greater(t, found.Disk.Size, found.Disk.Free)
		require.Positive(t, found.Disk.Free)
	}
}

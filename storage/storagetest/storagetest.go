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

func registerKeepsCursor(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 10))

	again := registration(host.AgentID, 7)
	again.Facts.Hostname = "renamed"
	again.At = base.Add(time.Hour)
	same, seq := Register(t, s, again)
	require.Equal(t, host.ID, same.ID)
	require.Equal(t, base, same.FirstSeen)
	require.EqualValues(t, 1, seq)

	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, "renamed", hosts[0].Facts.GetHostname())
	require.EqualValues(t, 4, hosts[0].Facts.GetCpuCores())
	require.Equal(t, host.AgentID, hosts[0].AgentID)
	require.Equal(t, base, hosts[0].FirstSeen)
}

func registerNewEpoch(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 5, 10))
	_, seq := Register(t, s, registration(host.AgentID, 8))
	require.Zero(t, seq)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(host.ID, 5, 6, 20)), "what is on its way in the old epoch is kept")
}

func registerOldEpoch(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 10))
	Register(t, s, registration(host.AgentID, 8))
	_, seq := Register(t, s, registration(host.AgentID, 7))
	require.EqualValues(t, 1, seq, "an epoch that comes back goes on where it was")
	require.Equal(t, []storage.Outcome{storage.Duplicate}, appendAll(t, s, batch(host.ID, 0, 1, 10)))
}

// registerTogether registers a mixed crowd in one call: an old agent, a new one, and one that comes twice.
func registerTogether(t *testing.T, s storage.Store) {
	old := register(t, s)
	appendAll(t, s, batch(old.ID, 0, 3, 10))
	fresh, twice := uuid.New(), uuid.New()
	again := registration(twice, 8)
	again.Facts.Hostname = "web-2"
	answers, err := s.Register(t.Context(), []storage.Registration{
		registration(fresh, 7), registration(old.AgentID, 7), registration(twice, 7), again, registration(twice, 8),
	})
	require.NoError(t, err)
	require.Len(t, answers, 5)
	for i, want := range []uuid.UUID{fresh, old.AgentID, twice, twice, twice} {
		require.Equal(t, want, answers[i].Host.AgentID)
		require.Equal(t, base, answers[i].Host.FirstSeen)
	}
	require.Equal(t, old.ID, answers[1].Host.ID)
	require.Equal(t, answers[2].Host.ID, answers[3].Host.ID)
	for i, want := range []uint64{0, 3, 0, 0, 0} {
		require.Equal(t, want, answers[i].Cursor.Seq)
	}
	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(answers[0].Host.ID, 0, 1, 10)))
}

// checksums: the cursor tells the checksum of the newest stored batch, and of no other.
func checksums(t *testing.T, s storage.Store) {
	host := register(t, s)
	cursor := func() storage.Cursor {
		answers, err := s.Register(t.Context(), []storage.Registration{registration(host.AgentID, 7)})
		require.NoError(t, err)
		return answers[0].Cursor
	}
	numbered := func(prev, seq uint64, checksum uint32) *storage.Batch {
		b := batch(host.ID, prev, seq, 10)
		b.Checksum = checksum
		return b
	}
	appendAll(t, s, numbered(0, 1, 11), numbered(1, 2, math.MaxUint32))
	require.Equal(t, storage.Cursor{Seq: 2, Checksum: math.MaxUint32}, cursor())
	require.Equal(t, []storage.Outcome{storage.Fenced}, appendAll(t, s, numbered(1, 2, 33)))
	require.Equal(t, storage.Cursor{Seq: 2, Checksum: math.MaxUint32}, cursor())
	appendAll(t, s, numbered(2, 3, 0))
	require.Equal(t, storage.Cursor{Seq: 3}, cursor())
}

func registerKeepsIDs(t *testing.T, s storage.Store) {
	one := register(t, s)
	for epoch := range uint64(5) {
		Register(t, s, registration(one.AgentID, epoch+1))
	}
	require.Equal(t, one.ID+1, register(t, s).ID, "reconnecting uses up no ids")
}

func appendAdvances(t *testing.T, s storage.Store) {
	host := register(t, s)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(host.ID, 0, 1, 10)))
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(host.ID, 1, 2, 20)))
	require.Equal(t, []float64{10, 20}, storedCPU(t, s, host.ID))
}

func appendTwice(t *testing.T, s storage.Store) {
	host := register(t, s)
	first := batch(host.ID, 0, 1, 10)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, first))
	require.Equal(t, []storage.Outcome{storage.Duplicate}, appendAll(t, s, first))
	require.Equal(t, []storage.Outcome{storage.Duplicate, storage.Stored}, appendAll(t, s, first, batch(host.ID, 1, 2, 20)))

	query := queryCPU(t, host.ID, time.Hour)
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Equal(t, []float64{15}, series[0].Avg, "a doubled row would pull the average")
}

func appendFences(t *testing.T, s storage.Store) {
	host := register(t, s)
	otherEpoch := batch(host.ID, 0, 1, 30)
	otherEpoch.Epoch = 6
	outcomes := appendAll(t, s, batch(host.ID, 4, 5, 10), otherEpoch, batch(host.ID+1000, 0, 1, 20))
	require.Equal(t, []storage.Outcome{storage.Fenced, storage.Fenced, storage.Fenced}, outcomes)
	require.Empty(t, storedCPU(t, s, host.ID))
}

// appendTellsApart has two machines number their batches alike.
func appendTellsApart(t *testing.T, s storage.Store) {
	host := register(t, s)
	numbered := func(prev, seq uint64, prevChecksum, checksum uint32) *storage.Batch {
		b := batch(host.ID, prev, seq, float32(checksum))
		b.PrevChecksum, b.Checksum = prevChecksum, checksum
		return b
	}
	require.Equal(t, []storage.Outcome{storage.Stored, storage.Stored}, appendAll(t, s, numbered(0, 1, 0, 11), numbered(1, 2, 11, 12)))
	for _, c := range []struct {
		batch *storage.Batch
		want  storage.Outcome
	}{
		{numbered(1, 2, 11, 12), storage.Duplicate},
		{numbered(1, 2, 11, 22), storage.Fenced},
		{numbered(2, 3, 22, 23), storage.Fenced},
		{numbered(0, 1, 0, 11), storage.Passed},
		{numbered(0, 1, 0, 21), storage.Passed},
		{numbered(2, 3, 12, 13), storage.Stored},
		{numbered(3, 4, 0, 0), storage.Stored},   // it tells nothing
		{numbered(4, 5, 99, 15), storage.Stored}, // nothing is known of what it follows
	} {
		require.Equal(t, []storage.Outcome{c.want}, appendAll(t, s, c.batch), "%d after %d", c.batch.Checksum, c.batch.PrevChecksum)
	}
	require.Equal(t, []float64{11, 12, 13, 0, 15}, storedCPU(t, s, host.ID))
}

func appendSkipped(t *testing.T, s storage.Store) {
	host := register(t, s)
	require.Equal(t, []storage.Outcome{storage.Stored, storage.Stored}, appendAll(t, s, batch(host.ID, 0, 3, 10), batch(host.ID, 3, 9, 20)))
	_, seq := Register(t, s, registration(host.AgentID, 7))
	require.EqualValues(t, 9, seq)
}

func appendChain(t *testing.T, s storage.Store) {
	host := register(t, s)
	var batches []*storage.Batch
	var want []storage.Outcome
	for seq := uint64(1); seq <= 50; seq++ {
		batches = append(batches, batch(host.ID, seq-1, seq, float32(seq)))
		want = append(want, storage.Stored)
	}
	require.Equal(t, want, appendAll(t, s, batches...))
	require.Len(t, storedCPU(t, s, host.ID), 50)
}

func positions(t *testing.T, s storage.Store) {
	agent := uuid.New()
	one, _ := Register(t, s, registration(agent, 7))
	two := register(t, s)
	appendAll(t, s, batch(one.ID, 0, 3, 1), batch(two.ID, 0, 1, 1))
	Register(t, s, registration(agent, 8)) // another spool of the same host
	second := batch(one.ID, 0, 5, 2)
	second.Epoch = 8
	appendAll(t, s, second, batch(one.ID, 0, 3, 1)) // and a batch that is there
	all, err := s.Positions(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []storage.Position{{Host: one.ID, Seqs: 8}, {Host: two.ID, Seqs: 1}}, all)
	some, err := s.Positions(t.Context(), []storage.HostID{two.ID, 1 << 20})
	require.NoError(t, err)
	require.Equal(t, []storage.Position{{Host: two.ID, Seqs: 1}}, some)
}

func appendKeepsNeighbour(t *testing.T, s storage.Store) {
	one, two := register(t, s), register(t, s)
	outcomes := appendAll(t, s, batch(one.ID, 3, 4, 10), batch(two.ID, 0, 1, 20))
	require.Equal(t, []storage.Outcome{storage.Fenced, storage.Stored}, outcomes)
	require.Empty(t, storedCPU(t, s, one.ID))
	require.Equal(t, []float64{20}, storedCPU(t, s, two.ID))
}

// appendBadData uses a text that PostgreSQL does not allow. SQLite stores any, so there the row may pass; what counts is
// that a refusal stores nothing and is named.
func appendBadData(t *testing.T, s storage.Store) {
	host := register(t, s)
	bad := batch(host.ID, 0, 1, 10, func(sample *gohubv1.Sample) {
		sample.Sensors = []*gohubv1.SensorMetrics{{Sensor: "a\x00b", TemperatureCelsius: proto.Float32(1)}}
	})
	if _, err := s.Append(t.Context(), []*storage.Batch{bad}); err != nil {
		require.ErrorIs(t, err, storage.ErrBadData)
		require.Empty(t, storedCPU(t, s, host.ID))
		require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(host.ID, 0, 1, 11)), "the cursor has not moved")
	}
}

func appendQuarantines(t *testing.T, s storage.Store) {
	host := register(t, s)
	b := batch(host.ID, 0, 1, 10)
	b.Rejected = []storage.Rejected{{Wire: "\x08\x01", Reason: "older than retention"}}
	b.Rows = storage.Rows{}
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, b))
	require.Equal(t, []storage.Outcome{storage.Duplicate}, appendAll(t, s, b))
	require.Empty(t, storedCPU(t, s, host.ID))

	later := batch(host.ID, 1, 2, 10)
	later.Rejected = []storage.Rejected{{Wire: "\x08\x02", Reason: "NaN"}}
	appendAll(t, s, later)
	all, err := s.Quarantine(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Equal(t, []storage.Quarantined{
		{Rejected: later.Rejected[0], Host: host.ID, Epoch: 7, Seq: 2, ReceivedAt: later.ReceivedAt},
		{Rejected: b.Rejected[0], Host: host.ID, Epoch: 7, Seq: 1, ReceivedAt: b.ReceivedAt},
	}, all)
	newest, err := s.Quarantine(t.Context(), host.ID, 1)
	require.NoError(t, err)
	require.Equal(t, all[:1], newest)
	none, err := s.Quarantine(t.Context(), host.ID+1, 10)
	require.NoError(t, err)
	require.Empty(t, none)
}

func gaps(t *testing.T, s storage.Store) {
	host := register(t, s)
	b := batch(host.ID, 0, 1, 10)
	b.Gaps = []*gohubv1.Gap{
		{FromUnixMillis: base.UnixMilli() + 5, ToUnixMillis: base.Add(time.Minute).UnixMilli(), Reason: gohubv1.GapReason_GAP_REASON_SPOOL_FULL, Samples: 7},
		{FromUnixMillis: base.Add(time.Hour).UnixMilli(), ToUnixMillis: base.Add(2 * time.Hour).UnixMilli(), Reason: gohubv1.GapReason_GAP_REASON_SPOOL_DAMAGED},
	}
	appendAll(t, s, b)
	appendAll(t, s, b)
	for _, c := range []struct {
		from, to time.Duration
		want     []*gohubv1.Gap
	}{
		{0, 3 * time.Hour, b.Gaps},
		{30 * time.Second, 40 * time.Second, b.Gaps[:1]},
		{2 * time.Minute, time.Hour, nil},
		{time.Hour, 90 * time.Minute, b.Gaps[1:]},
	} {
		found, err := s.Gaps(t.Context(), host.ID, base.Add(c.from), base.Add(c.to), 10)
		require.NoError(t, err)
		require.Len(t, found, len(c.want))
		for i := range found {
			require.True(t, proto.Equal(c.want[i], found[i]), "%v", found[i])
		}
	}
	found, err := s.Gaps(t.Context(), host.ID, base, base.Add(3*time.Hour), 1)
	require.NoError(t, err)
	require.Len(t, found, 1)
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

func rangeBuckets(t *testing.T, s storage.Store) {
	host := register(t, s)
	var batches []*storage.Batch
	for seq := uint64(1); seq < 120; seq++ { // seconds 1 … 119: two minutes
		batches = append(batches, batch(host.ID, seq-1, seq, float32(seq)))
	}
	appendAll(t, s, batches...)
	series, err := s.Range(t.Context(), queryCPU(t, host.ID, time.Minute))
	require.NoError(t, err)
	require.Len(t, series, 1)
	require.Equal(t, []time.Time{base, base.Add(time.Minute)}, series[0].Times)
	require.Equal(t, []float64{30, 89.5}, series[0].Avg)
	require.Equal(t, []float64{1, 60}, series[0].Min)
	require.Equal(t, []float64{59, 119}, series[0].Max)
}

func rangeBorders(t *testing.T, s storage.Store) {
	one, two := register(t, s), register(t, s)
	appendAll(t, s, batch(one.ID, 0, 10, 1), batch(one.ID, 10, 20, 2), batch(one.ID, 20, 30, 3), batch(two.ID, 0, 15, 99))
	query := queryCPU(t, one.ID, time.Second)
	query.From, query.To = base.Add(10*time.Second), base.Add(30*time.Second)
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 2}, series[0].Avg)
}

func rangeInstances(t *testing.T, s storage.Store) {
	host := register(t, s)
	var batches []*storage.Batch
	for seq := uint64(1); seq <= 3; seq++ {
		batches = append(batches, batch(host.ID, seq-1, seq, 1, func(sample *gohubv1.Sample) {
			for i, mount := range []string{"/", "/home"} {
				sample.Filesystems = append(sample.Filesystems, &gohubv1.FilesystemMetrics{
					Mountpoint: mount, Device: "/dev/sda1", Fstype: "ext4", UsedPercent: proto.Float32(float32(10*i) + float32(seq)),
				})
			}
		}))
	}
	appendAll(t, s, batches...)
	query := queryCPU(t, host.ID, time.Second)
	query.Metrics = []*catalogue.Metric{metric(t, "filesystem_used_percent"), metric(t, "cpu_usage_percent")}
	series, err := s.Range(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, series, 3)
	require.Equal(t, []string{"/", "/dev/sda1", "ext4"}, series[0].Labels)
	require.Equal(t, []float64{1, 2, 3}, series[0].Avg)
	require.Equal(t, []string{"/home", "/dev/sda1", "ext4"}, series[1].Labels)
	require.Equal(t, []float64{11, 12, 13}, series[1].Avg)
	require.Equal(t, "cpu_usage_percent", series[2].Metric.Name)
}

func rangeLimit(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 1), batch(host.ID, 1, 2, 1), batch(host.ID, 2, 3, 1))
	query := queryCPU(t, host.ID, time.Second)
	query.MaxRows = 2
	_, err := s.Range(t.Context(), query)
	require.ErrorIs(t, err, storage.ErrTooManyRows)
	query.MaxRows = 3
	_, err = s.Range(t.Context(), query)
	require.NoError(t, err)
}

func rangeEmpty(t *testing.T, s storage.Store) {
	series, err := s.Range(t.Context(), queryCPU(t, 12345, time.Minute))
	require.NoError(t, err)
	require.Empty(t, series)
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
	_, err = s.FindSession(ctx, [32]byte{2}, base)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.FindSession(ctx, session.TokenHash, base.Add(time.Hour))
	require.ErrorIs(t, err, storage.ErrNotFound)
	require.NoError(t, s.DeleteSession(ctx, session.TokenHash, base))
	_, err = s.FindSession(ctx, session.TokenHash, base)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func concurrentAppends(t *testing.T, s storage.Store) {
	host := register(t, s)
	const writers, batches = 4, 20
	stored := make(chan int, writers)
	for range writers {
		go func() {
			count := 0
			for seq := uint64(1); seq <= batches; seq++ {
				outcomes, err := s.Append(context.WithoutCancel(t.Context()), []*storage.Batch{batch(host.ID, seq-1, seq, 1)})
				if err != nil {
					t.Errorf("append: %v", err)
				} else if outcomes[0] == storage.Stored {
					count++
				}
			}
			stored <- count
		}()
	}
	total := 0
	for range writers {
		total += <-stored
	}
	require.Equal(t, batches, total, "each batch has one winner")
	require.Len(t, storedCPU(t, s, host.ID), batches)
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

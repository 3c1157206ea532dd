package storagetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

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
		{Rejected: later.Rejected[0], Host: host.ID, Epoch: 7, Seq: 2, ReceivedAt: later.ReceivedAt, Bytes: 2},
		{Rejected: b.Rejected[0], Host: host.ID, Epoch: 7, Seq: 1, ReceivedAt: b.ReceivedAt, Bytes: 2},
	}, all)
	newest, err := s.Quarantine(t.Context(), host.ID, 1)
	require.NoError(t, err)
	require.Equal(t, all[:1], newest)

	long := batch(host.ID, 2, 3, 10)
	long.Rejected = []storage.Rejected{{Wire: strings.Repeat("x", storage.MaxListed+1), Reason: "in the future"}}
	appendAll(t, s, long)
	newest, err = s.Quarantine(t.Context(), host.ID, 1)
	require.NoError(t, err)
	require.Equal(t, []storage.Quarantined{
		{Rejected: storage.Rejected{Reason: "in the future"}, Host: host.ID, Epoch: 7, Seq: 3, ReceivedAt: long.ReceivedAt, Bytes: storage.MaxListed + 1},
	}, newest, "told, but not read")
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

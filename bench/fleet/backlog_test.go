package fleet

import (
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// decompress reads a Backlog as a server does.
func decompress(backlog *gohubv1.Backlog) ([]*gohubv1.Batch, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	content, err := decoder.DecodeAll(backlog.GetZstd(), nil)
	if err != nil {
		return nil, err
	}
	batches := &gohubv1.Batches{}
	err = proto.Unmarshal(content, batches)
	return batches.GetBatches(), err
}

// unpack reads a Backlog, and looks at what its frame tells.
func unpack(t *testing.T, backlog *gohubv1.Backlog) []*gohubv1.Batch {
	t.Helper()
	var header zstd.Header
	require.NoError(t, header.Decode(backlog.GetZstd()))
	require.True(t, header.SingleSegment)
	require.True(t, header.HasFCS, "the frame tells its size")
	require.LessOrEqual(t, header.FrameContentSize, uint64(backlogBytes))
	batches, err := decompress(backlog)
	require.NoError(t, err)
	return batches
}

// request encodes what an agent sends next; nil is nothing.
func request(t *testing.T, a *agent) *gohubv1.StreamRequest {
	t.Helper()
	out, over := a.next()
	require.False(t, over)
	wire := a.fleet.encode(out)
	if wire == nil {
		return nil
	}
	message := &gohubv1.StreamRequest{}
	require.NoError(t, proto.Unmarshal(wire, message))
	return message
}

// TestBacklogGoesTogether lets batches wait in a live agent, and looks at what it sends without a server.
func TestBacklogGoesTogether(t *testing.T) {
	f := New(Options{Agents: 1, Interval: time.Second, Window: 4, Shape: NewShape(0, 40, 10, 10)})
	a := f.agents[0]
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	take := func(samples int) {
		for range samples {
			at = at.Add(time.Second)
			a.take(at)
		}
	}
	take(backlogFrom)
	for seq := uint64(1); seq <= 4; seq++ {
		require.Equal(t, seq, request(t, a).GetBatch().GetSeq(), "few that wait go singly")
	}
	require.Nil(t, request(t, a), "up to a window")

	const many = 900
	take(many)
	newest := &gohubv1.Sample{}
	require.NoError(t, proto.Unmarshal(<-a.fresh, newest))
	require.Equal(t, at.UnixMilli(), newest.GetTimeUnixMillis(), "the newest is shown, and none of those before it")
	require.NotEmpty(t, newest.GetCores())
	seq := uint64(4)
	var ends []uint64
	for {
		message := request(t, a)
		if message == nil {
			break
		}
		batches := unpack(t, message.GetBacklog())
		require.Greater(t, len(batches), backlogFrom)
		for _, batch := range batches {
			seq++
			require.Equal(t, seq, batch.GetSeq())
			require.Equal(t, a.host.ID().String(), batch.GetAgentId())
			require.Len(t, batch.GetSamples(), 1)
		}
		ends = append(ends, seq)
	}
	require.Len(t, ends, mostBacklogs)
	require.Less(t, seq, uint64(backlogFrom+many), "the test has too little to fill the backlogs")

	a.trim(ends[0] - 1)
	require.Nil(t, request(t, a), "a part of a backlog is acknowledged")
	a.trim(ends[0])
	require.NotNil(t, request(t, a).GetBacklog(), "another one may go")
	take(1)
	shown := &gohubv1.Sample{}
	require.NoError(t, proto.Unmarshal(<-a.fresh, shown))
	require.Equal(t, at.UnixMilli(), shown.GetTimeUnixMillis())
	require.Nil(t, request(t, a))

	require.NoError(t, a.begin(ends[1]), "a new stream")
	require.Equal(t, ends[1]+1, unpack(t, request(t, a).GetBacklog())[0].GetSeq(), "it goes on after what is stored")
	for {
		message := request(t, a)
		if message == nil {
			a.trim(a.highest)
			if message = request(t, a); message == nil {
				break
			}
		}
	}
	require.Empty(t, a.queue, "all of it has gone")
	take(1)
	require.NotNil(t, request(t, a).GetBatch())
	require.Empty(t, a.fresh, "no preview is needed any more")
	stats := f.Stats()
	require.Positive(t, stats.Backlogs)
	require.Positive(t, stats.Resent)
}

// TestFlatOutFleetSendsNoBacklogs: it measures what single messages cost.
func TestFlatOutFleetSendsNoBacklogs(t *testing.T) {
	fake := &fakeServer{}
	f := New(Options{Server: serve(t, fake), Agents: 2, Ticks: 100, Window: 64, Begin: time.Now().Add(-time.Hour)})
	f.Start()
	require.NoError(t, f.Run(t.Context()))
	require.Zero(t, f.Stats().Backlogs)
}

// TestLiveFleetCatchesUp has a server hold every agent back for a while, and cut streams when it goes on.
func TestLiveFleetCatchesUp(t *testing.T) {
	fake := &fakeServer{hold: make(chan struct{}), breakAfter: 30}
	f := New(Options{
		Server: serve(t, fake), Agents: 4, Interval: 2 * time.Millisecond, Window: 4, FirstPause: time.Millisecond, LongestPause: 5 * time.Millisecond,
	})
	finished := make(chan error, 1)
	go func() { finished <- f.Run(t.Context()) }()
	f.Start()
	require.Eventually(t, func() bool { return f.Stats().Taken >= 4*100 }, 30*time.Second, time.Millisecond)
	require.False(t, f.Oldest().IsZero())
	close(fake.hold)
	require.Eventually(t, func() bool { return f.Stats().Acked >= 4*200 }, 30*time.Second, time.Millisecond)
	f.Stop()
	require.NoError(t, <-finished)
	for id, sum := range f.Sums() {
		require.EqualValues(t, sum.Rows, fake.rows[id])
	}
	stats := f.Stats()
	require.Equal(t, stats.Taken, stats.Acked)
	require.Positive(t, stats.Backlogs)
	require.Positive(t, stats.Previews)
	require.Positive(t, stats.Breaks)
	require.True(t, f.Oldest().IsZero())
	require.Positive(t, fake.previews)
}

func BenchmarkBacklog(b *testing.B) {
	host := NewHost(NewShape(0, 0, 0, 0), 1, 1, 10_000)
	at := time.Now().UnixMilli()
	var out outgoing
	size := 0
	for seq := uint64(1); size < backlogBytes; seq++ {
		at += 10_000
		wire := host.AppendBatch(nil, 1, seq, at)
		out.backlog, size = append(out.backlog, wire), size+len(wire)
	}
	f := New(Options{})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	compressed := 0
	for b.Loop() {
		compressed = len(f.encode(out))
	}
	b.ReportMetric(float64(size)/float64(compressed), "ratio")
}

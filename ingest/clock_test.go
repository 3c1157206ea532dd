package ingest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func TestClockIsTheSuspectWhereItIsContradicted(t *testing.T) {
	const onTime, ahead = 0, time.Hour
	for name, c := range map[string]struct {
		age     time.Duration // of the server
		slow    time.Duration // the server's clock at the start
		step    time.Duration // of the server's clock since
		stored  bool          // whether there were samples up to the start
		agents  []time.Duration
		suspect bool
	}{
		"one of many is ahead":                {age: time.Hour, agents: []time.Duration{ahead, onTime, onTime, onTime}},
		"half are ahead":                      {age: time.Hour, agents: []time.Duration{ahead, ahead, onTime, onTime}},
		"most are ahead":                      {age: time.Hour, agents: []time.Duration{ahead, ahead, onTime}, suspect: true},
		"slow from the start":                 {age: time.Hour, slow: time.Hour, agents: []time.Duration{onTime, onTime, onTime}, suspect: true},
		"it went back":                        {age: time.Hour, step: -time.Hour, agents: []time.Duration{onTime, onTime, onTime}, suspect: true},
		"it was fast, and was set":            {age: time.Hour, slow: -time.Hour, step: -time.Hour, agents: []time.Duration{onTime, onTime, onTime, ahead}},
		"a lone agent is ahead":               {age: time.Hour, agents: []time.Duration{ahead}},
		"a lone agent, at the start":          {age: time.Second, agents: []time.Duration{ahead}, suspect: true},
		"one of two, at the start":            {age: time.Second, agents: []time.Duration{ahead, onTime}},
		"a lone agent, it went back":          {age: time.Hour, step: -time.Hour, agents: []time.Duration{onTime}, suspect: true},
		"a lone agent, slow from the start":   {age: time.Hour, slow: time.Hour, agents: []time.Duration{onTime}},
		"a lone agent, slow since a restart":  {age: time.Hour, slow: time.Hour, stored: true, agents: []time.Duration{onTime}, suspect: true},
		"a lone agent is ahead after restart": {age: time.Hour, stored: true, agents: []time.Duration{ahead}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			options := &Options{MaxFuture: 10 * time.Minute, Now: func() time.Time { return now.Add(-c.age - c.slow) }}
			if c.stored {
				options.Newest = now.Add(-c.age)
			}
			clock := newClock(options)
			clock.start = now.Add(-c.age)
			for i, lead := range c.agents {
				clock.hear(storage.HostID(i+1), now.Add(lead))
			}
			reason := clock.suspect(now.Add(-c.slow + c.step))
			require.Equal(t, c.suspect, reason != "", reason)
		})
	}
}

func TestWordsOfAgentsThatAreGoneDoNotCount(t *testing.T) {
	clock := newClock(&Options{MaxFuture: 10 * time.Minute, Now: time.Now})
	for host := range storage.HostID(3) {
		clock.hear(host+1, time.Now().Add(time.Hour))
	}
	clock.start = clock.start.Add(-2 * lately)
	clock.begun = clock.begun.Add(-2 * lately)
	require.Empty(t, clock.suspect(time.Now()))
	require.Empty(t, clock.leads)
}

func TestSamplesAreKeptByTheirAgentsWhileTheServersClockIsSlow(t *testing.T) {
	var slow atomic.Int64
	h := start(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(-time.Duration(slow.Load())) } })
	sample := func(p *peer, seq uint64) *gohubv1.Batch {
		batch := p.batch(seq)
		batch.Samples[0].TimeUnixMillis = time.Now().UnixMilli()
		return batch
	}
	ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	peers := make([]*peer, len(ids))
	for i, id := range ids {
		peers[i], _ = h.connect(t, id)
		require.NoError(t, peers[i].send(sample(peers[i], 1)))
		peers[i].waitAck(1)
	}

	slow.Store(int64(time.Hour))
	for _, p := range peers {
		require.NoError(t, p.send(sample(p, 2)))
		end := p.waitEnd()
		require.Equal(t, codes.Unavailable, end.Code(), end.Message())
		require.Contains(t, end.Message(), "clock")
	}
	require.ErrorContains(t, h.server.Ready(t.Context()), "the server's clock")
	require.InDelta(t, 3, testutil.ToFloat64(h.server.metrics.held), 0)

	slow.Store(0)
	require.NoError(t, h.server.Ready(t.Context()))
	for i, id := range ids {
		p, welcome := h.connect(t, id)
		require.EqualValues(t, 1, welcome.GetCommittedSeq())
		require.NoError(t, p.send(sample(p, 2)))
		p.waitAck(2)
		peers[i] = p
	}
	require.Zero(t, testutil.ToFloat64(h.server.metrics.quarantined))

	outlier, _ := h.connect(t, uuid.New())
	batch := sample(outlier, 1)
	batch.Samples[0].TimeUnixMillis += time.Hour.Milliseconds()
	require.NoError(t, outlier.send(batch))
	outlier.waitAck(1)
	require.InDelta(t, 1, testutil.ToFloat64(h.server.metrics.quarantined), 0)
	require.NoError(t, h.server.Ready(t.Context()))
	require.Eventually(t, func() bool { return h.server.budget.used.Load() == 0 }, 10*time.Second, time.Millisecond, "what was not taken is in no budget")
}

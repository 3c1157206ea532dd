package ingest

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// agedClock is the clock of a server that started an age ago, by a clock that was slow then and has been set by step since.
func agedClock(age, slow, step time.Duration, stored bool) *clock {
	now := time.Now()
	reading := now.Add(-age - slow)
	options := &Options{MaxFuture: 10 * time.Minute, MaxAge: 7 * 24 * time.Hour, Now: func() time.Time { return reading }}
	if stored {
		options.Newest = now.Add(-age)
	}
	c := newClock(options)
	c.start = now.Add(-age)
	reading = now.Add(-slow + step)
	return c
}

func (c *clock) hearAt(host storage.HostID, now time.Time) { c.hear(host, c.lead(now.UnixMilli())) }

func TestClockIsTheSuspectWhereItIsContradicted(t *testing.T) {
	const onTime, ahead = 0, time.Hour
	for name, test := range map[string]struct {
		age     time.Duration // of the server
		slow    time.Duration // the server's clock at the start
		step    time.Duration // of the server's clock since
		stored  bool          // whether there were samples up to the start
		agents  []time.Duration
		ahead   bool // the first agent's clock
		suspect bool
	}{
		"one of many is ahead":                   {age: time.Hour, agents: []time.Duration{ahead, onTime, onTime, onTime}, ahead: true},
		"half are ahead":                         {age: time.Hour, agents: []time.Duration{ahead, ahead, onTime, onTime}, ahead: true},
		"most are ahead":                         {age: time.Hour, agents: []time.Duration{ahead, ahead, onTime}, ahead: true, suspect: true},
		"most are ahead, but not this one":       {age: time.Hour, agents: []time.Duration{onTime, ahead, ahead}},
		"slow from the start":                    {age: time.Hour, slow: time.Hour, agents: []time.Duration{onTime, onTime, onTime}, ahead: true, suspect: true},
		"it went back":                           {age: time.Hour, step: -time.Hour, agents: []time.Duration{onTime, onTime, onTime}, ahead: true, suspect: true},
		"it was fast, and was set":               {age: time.Hour, slow: -time.Hour, step: -time.Hour, agents: []time.Duration{ahead, onTime, onTime}, ahead: true},
		"it was fast, and was set; a lone agent": {age: time.Hour, slow: -time.Hour, step: -time.Hour, agents: []time.Duration{onTime}},
		"it was slow, and was set":               {age: time.Hour, slow: time.Hour, step: time.Hour, agents: []time.Duration{onTime, onTime, onTime}},
		"a lone agent is ahead":                  {age: time.Hour, agents: []time.Duration{ahead}, ahead: true},
		"a lone agent is ahead, at the start":    {age: time.Second, agents: []time.Duration{ahead}, ahead: true, suspect: true},
		"a lone agent is on time, at the start":  {age: time.Second, agents: []time.Duration{onTime}},
		"one of two is ahead, at the start":      {age: time.Second, agents: []time.Duration{ahead, onTime}, ahead: true, suspect: true}, // the other may be the server's machine
		"one of two is ahead":                    {age: time.Hour, agents: []time.Duration{ahead, onTime}, ahead: true},
		"a lone agent, it went back":             {age: time.Hour, step: -time.Hour, agents: []time.Duration{onTime}, ahead: true, suspect: true},
		"a lone agent, slow from the start":      {age: time.Hour, slow: time.Hour, agents: []time.Duration{onTime}, ahead: true},
		"a lone agent, slow since a restart":     {age: time.Hour, slow: time.Hour, stored: true, agents: []time.Duration{onTime}, ahead: true, suspect: true},
		"a lone agent is ahead after a restart":  {age: time.Hour, stored: true, agents: []time.Duration{ahead}, ahead: true},
		"a lone agent is ahead, it was set":      {age: time.Hour, slow: time.Hour, step: time.Hour, stored: true, agents: []time.Duration{ahead}, ahead: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := agedClock(test.age, test.slow, test.step, test.stored)
			for i, lead := range test.agents {
				c.hearAt(storage.HostID(i+1), time.Now().Add(lead))
			}
			ahead, reason := c.judgeNew(1)
			require.Equal(t, test.ahead, ahead)
			require.Equal(t, test.suspect, reason != "", reason)
		})
	}
}

func TestFastClockIsTheSuspectWhereItIsContradicted(t *testing.T) {
	const day, onTime, behind = 24 * time.Hour, 0, -10 * 24 * time.Hour
	for name, test := range map[string]struct {
		age     time.Duration // of the server
		fast    time.Duration // the server's clock at the start
		step    time.Duration // of the server's clock since
		agents  []time.Duration
		sample  time.Duration // its age by the first agent's clock
		young   bool
		suspect bool
	}{
		"one of many is behind":                {age: time.Hour, agents: []time.Duration{behind, onTime, onTime, onTime}, young: true},
		"half are behind":                      {age: time.Hour, agents: []time.Duration{behind, behind, onTime, onTime}, young: true},
		"most are behind":                      {age: time.Hour, agents: []time.Duration{behind, behind, onTime}, young: true, suspect: true},
		"the sample is too old all the same":   {age: time.Hour, agents: []time.Duration{behind, behind, onTime}, sample: 8 * day},
		"the sample waited, and is not":        {age: time.Hour, agents: []time.Duration{behind, behind, onTime}, sample: 6 * day, young: true, suspect: true},
		"fast by less than samples are kept":   {age: time.Hour, fast: day, agents: []time.Duration{onTime, onTime, onTime}, sample: 13 * day / 2, young: true, suspect: true},
		"it is right, the sample is too old":   {age: time.Hour, agents: []time.Duration{onTime, onTime, onTime}, sample: 8 * day},
		"most are behind, but not this one":    {age: time.Hour, agents: []time.Duration{onTime, behind, behind}, sample: 8 * day},
		"fast from the start":                  {age: time.Hour, fast: 10 * day, agents: []time.Duration{onTime, onTime, onTime}, young: true, suspect: true},
		"it went forward":                      {age: time.Hour, step: 10 * day, agents: []time.Duration{onTime, onTime, onTime}, young: true, suspect: true},
		"it was fast, and was set":             {age: time.Hour, fast: 10 * day, step: -10 * day, agents: []time.Duration{onTime, onTime, onTime}, sample: 8 * day},
		"a lone agent is behind":               {age: time.Hour, agents: []time.Duration{behind}, young: true},
		"a lone agent is behind, at the start": {age: time.Second, agents: []time.Duration{behind}, young: true, suspect: true},
		"a lone agent, it went forward":        {age: time.Hour, step: 10 * day, agents: []time.Duration{onTime}, young: true, suspect: true},
		"one of two is behind, at the start":   {age: time.Second, agents: []time.Duration{behind, onTime}, young: true, suspect: true}, // the other may be the server's machine
		"one of two is behind":                 {age: time.Hour, agents: []time.Duration{behind, onTime}, young: true},
		"a lone agent, fast from the start":    {age: time.Hour, fast: 10 * day, agents: []time.Duration{onTime}, young: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := agedClock(test.age, -test.fast, test.step, false)
			for i, lead := range test.agents {
				c.hearAt(storage.HostID(i+1), time.Now().Add(lead))
			}
			taken := time.Now().Add(test.agents[0] - test.sample)
			young, known, reason := c.judgeOld(1, c.leads[1], taken)
			require.True(t, known)
			require.Equal(t, test.young, young)
			require.Equal(t, test.suspect, reason != "", reason)
		})
	}
}

func TestWhatIsNotKnownOfTooOldSamplesIsAskedFor(t *testing.T) {
	c := agedClock(time.Hour, -10*24*time.Hour, 0, false)
	for host := range storage.HostID(3) {
		c.hearAt(host+1, time.Now())
	}
	one := c.leads[1]
	_, known, _ := c.judgeOld(1, one, c.now().Add(-c.maxAge+time.Minute))
	require.False(t, known, "the clock was set since the sample was found too old")
	_, known, reason := c.judgeOld(1, one, time.Now())
	require.True(t, known)
	require.NotEmpty(t, reason)
	one.at -= lately + time.Second
	_, known, _ = c.judgeOld(1, one, time.Now())
	require.False(t, known, "it said what time it is long ago")
}

func TestAgentThatJumpsAheadOfAFastClockHasNobodyForgotten(t *testing.T) {
	c := agedClock(time.Hour, -10*24*time.Hour, 0, false)
	for host := range storage.HostID(5) {
		c.hearAt(host+1, time.Now())
	}
	one := c.leads[1]
	c.hearAt(5, c.now().Add(time.Hour))
	require.Positive(t, c.forgot.Load())
	require.Len(t, c.leads, 5)
	delete(c.leads, 1) // as one that is on time would be
	young, _, reason := c.judgeOld(1, one, time.Now())
	require.True(t, young)
	require.Equal(t, "the clocks of 4 of 5 agents are behind it by 9m0s or more", reason)
}

// TestVerdictStandsUntilSomethingIsHeard: it is not found anew for each sample.
func TestVerdictStandsUntilSomethingIsHeard(t *testing.T) {
	c := agedClock(time.Hour, 0, 0, false)
	c.hearAt(1, time.Now().Add(time.Hour))
	c.slow.unsettled = 2 * time.Hour
	_, reason := c.judgeNew(1)
	require.NotEmpty(t, reason)
	c.slow.verdict = "it stands"
	_, reason = c.judgeNew(1)
	require.Equal(t, "it stands", reason)
	c.hearAt(2, time.Now())
	c.hearAt(3, time.Now())
	_, reason = c.judgeNew(1)
	require.Empty(t, reason)
}

func TestStepOfTheClockIsForgottenInTime(t *testing.T) {
	c := agedClock(time.Hour, 0, -time.Hour, false)
	c.hearAt(1, time.Now())
	_, reason := c.judgeNew(1)
	require.NotEmpty(t, reason)
	c.start, c.begun = c.start.Add(-settling), c.begun.Add(-settling)
	c.hearAt(1, time.Now())
	ahead, reason := c.judgeNew(1)
	require.True(t, ahead)
	require.Empty(t, reason, "a lone agent is not right for ever")
}

func TestWordsOfAgentsThatAreGoneDoNotCount(t *testing.T) {
	c := agedClock(time.Minute, 0, 0, false)
	for host := range storage.HostID(3) {
		c.hearAt(host+1, time.Now().Add(time.Hour))
	}
	c.start, c.begun = c.start.Add(-2*lately), c.begun.Add(-2*lately)
	ahead, reason := c.judgeNew(1)
	require.False(t, ahead)
	require.Empty(t, reason)
	require.Empty(t, c.reason(&c.slow, c.since()))
	require.Empty(t, c.leads, "nor take memory")
}

func TestClockOfAMachineThatStoodStillIsTheSuspect(t *testing.T) {
	c := agedClock(time.Hour, 0, 0, false)
	for host := range storage.HostID(5) {
		c.hearAt(host+1, time.Now())
	}
	for host := range storage.HostID(5) { // they come back one after the other
		c.hearAt(host+1, time.Now().Add(2*time.Hour))
		ahead, reason := c.judgeNew(host + 1)
		require.True(t, ahead)
		require.NotEmpty(t, reason, "host %d", host+1)
	}
}

func TestOneAgentThatJumpedAheadIsSoonAlone(t *testing.T) {
	c := agedClock(time.Hour, 0, 0, false)
	for host := range storage.HostID(5) {
		c.hearAt(host+1, time.Now())
	}
	c.hearAt(1, time.Now().Add(time.Hour))
	_, reason := c.judgeNew(1)
	require.NotEmpty(t, reason)
	require.Positive(t, c.forgot.Load(), "the others are to tell their time again")
	for host := storage.HostID(2); host <= 5; host++ {
		c.hearAt(host, time.Now())
	}
	ahead, reason := c.judgeNew(1)
	require.True(t, ahead)
	require.Empty(t, reason)
}

func TestTimesThatCanNotBeAreNotHeard(t *testing.T) {
	c := agedClock(time.Hour, 0, 0, false)
	for _, now := range []int64{-1 << 63, -1, 0, endOfTime, 1<<63 - 1} {
		require.Zero(t, c.greet(now))
	}
	for _, now := range []int64{1, endOfTime - 1} {
		word := c.greet(now)
		require.Equal(t, now, word.newest)
		c.hear(1, word.lead)
		ahead, _ := c.judgeNew(1)
		require.Equal(t, now > 1, ahead)
	}
}

// streaming is a stream without a server's loops, of an agent whose clock is ahead, and said so a while ago.
func (f *bare) streaming(ahead, ago time.Duration) *session {
	s := f.session(uuid.New())
	c := f.server.clock
	c.start, c.begun = c.start.Add(-time.Hour), c.begun.Add(-time.Hour) // so that there is a while ago
	one := c.lead(time.Now().Add(ahead).UnixMilli())
	one.at -= ago
	s.word = word{newest: time.Now().Add(ahead - ago).UnixMilli(), lead: one}
	s.greeted = uint32(one.at / time.Second)
	c.hear(s.host, one)
	return s
}

// sampled is a batch with a sample of each time.
func sampled(s *session, seq uint64, times ...time.Time) *gohubv1.Batch {
	batch := &gohubv1.Batch{AgentId: s.agentID, Epoch: s.epoch, Seq: seq}
	for _, taken := range times {
		batch.Samples = append(batch.Samples, &gohubv1.Sample{TimeUnixMillis: taken.UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(1)}})
	}
	return batch
}

func alone(tb testing.TB, batch *gohubv1.Batch) []byte {
	tb.Helper()
	wire, err := proto.Marshal(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
	require.NoError(tb, err)
	return wire
}

func inBacklog(tb testing.TB, batch *gohubv1.Batch) []byte {
	tb.Helper()
	encoder, err := zstd.NewWriter(nil)
	require.NoError(tb, err)
	wire, err := proto.Marshal(&gohubv1.Batches{Batches: []*gohubv1.Batch{batch}})
	require.NoError(tb, err)
	wire, err = proto.Marshal(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Backlog{Backlog: &gohubv1.Backlog{Zstd: encoder.EncodeAll(wire, nil)}}})
	require.NoError(tb, err)
	return wire
}

func wrapped(tb testing.TB, backlog bool, batch *gohubv1.Batch) []byte {
	tb.Helper()
	if backlog {
		return inBacklog(tb, batch)
	}
	return alone(tb, batch)
}

// queued is the batch that waits, until the test ends.
func (f *bare) queued(t *testing.T, s *session) *entry {
	t.Helper()
	e, ok := s.shard.ring.at(0)
	require.True(t, ok)
	t.Cleanup(func() {
		s.shard.free(1)
		f.flusher.release([]*entry{e})
	})
	return e
}

func TestOnlySamplesThatWereJustTakenTellTheTime(t *testing.T) {
	for name, test := range map[string]struct {
		taken   time.Duration // from now
		backlog bool
		silent  bool // the agent does not tell its time
		heard   bool
	}{
		"just now":                                      {heard: true},
		"on the way for a while":                        {taken: -30 * time.Second, heard: true},
		"before the hello":                              {taken: -3 * time.Minute},
		"long after the hello, but not of now":          {taken: -90 * time.Second},
		"by a clock that was ahead":                     {taken: time.Hour},
		"in a backlog":                                  {backlog: true},
		"by an agent that has not said what time it is": {silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := startBare(t)
			s := f.streaming(0, 2*time.Minute)
			if test.silent {
				s.word = word{}
			}
			before := s.word.lead
			_ = s.take(memory(wrapped(t, test.backlog, sampled(s, 1, time.Now().Add(test.taken)))))
			require.Equal(t, test.heard, s.word.lead != before)
			require.Equal(t, test.heard, f.server.clock.leads[s.host].at > f.server.clock.since()-time.Minute)
		})
	}
}

func TestSampleThatWaitedOrCameBeforeTellsNoTime(t *testing.T) {
	f := startBare(t)
	s := f.streaming(0, 30*time.Second)
	c := f.server.clock
	now := time.Now()
	for seq, test := range []struct {
		taken time.Duration
		heard bool
	}{{-40 * time.Second, false}, {-10 * time.Second, true}, {-10 * time.Second, false}, {-20 * time.Second, false}, {0, true}} {
		c.forgot.Store(int64(c.since())) // each that may be is heard
		before := s.word.lead
		require.NoError(t, s.take(memory(alone(t, sampled(s, uint64(seq+1), now.Add(test.taken))))))
		require.Equal(t, test.heard, s.word.lead != before, "sample %d", seq+1)
	}
}

func TestAgentThatIsAheadOfItsWordIsAskedForTheTime(t *testing.T) {
	for name, test := range map[string]struct {
		hello   time.Duration // ago
		ahead   time.Duration // what it said then
		backlog bool
		silent  bool
		asked   bool
	}{
		"it said its time long ago":   {hello: 2 * time.Minute, asked: true},
		"it has just said its time":   {hello: time.Second},
		"it said that it is ahead":    {hello: 2 * time.Minute, ahead: time.Hour},
		"the samples waited":          {hello: 2 * time.Minute, backlog: true},
		"it has never said its time":  {hello: 2 * time.Minute, silent: true},
		"it has said nothing lately":  {hello: 2 * lately, asked: true},
		"its word that it is is gone": {hello: 2 * lately, ahead: time.Hour, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := startBare(t)
			s := f.streaming(test.ahead, test.hello)
			f.server.clock.slow.unsettled = 0
			if test.silent {
				s.word = word{}
			}
			now := time.Now()
			err := s.take(memory(wrapped(t, test.backlog, sampled(s, 1, now, now.Add(2*time.Hour), now.Add(2*time.Hour+time.Second)))))
			if test.asked {
				require.ErrorIs(t, err, errTime)
				require.Equal(t, codes.Unavailable, statusOf(err))
				require.Zero(t, s.last)
				require.Zero(t, f.server.budget.used.Load())
				return
			}
			require.NoError(t, err)
			e := f.queued(t, s)
			require.Len(t, e.batch.Rejected, 2)
			require.Equal(t, 1, e.samples)
		})
	}
}

func TestHeldSamplesAreSaidOnceAndNotToBeQuarantined(t *testing.T) {
	f := startBare(t)
	var log bytes.Buffer
	f.server.log = slog.New(slog.NewTextHandler(&log, nil))
	s := f.streaming(time.Hour, 0)
	f.server.clock.slow.unsettled = 2 * time.Hour
	for range 2 {
		err := s.take(memory(alone(t, sampled(s, 1, time.Now(), time.Now().Add(time.Hour)))))
		require.ErrorIs(t, err, errSlow)
		require.Equal(t, codes.OutOfRange, statusOf(err))
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("the server's clock seems to be slow")))
	require.NotContains(t, log.String(), "quarantine")
	require.InDelta(t, 2, testutil.ToFloat64(f.server.metrics.held), 0)
	require.Zero(t, f.server.budget.used.Load())
}

// TestAgentOfAStaleWordIsAskedForTheTimeWhereItsSamplesAreTooOld: an agent is not taken for one on time because its clock was set after its
// hello, or because it has been sending what waited for long.
func TestAgentOfAStaleWordIsAskedForTheTimeWhereItsSamplesAreTooOld(t *testing.T) {
	for name, test := range map[string]struct {
		hello   time.Duration // ago
		backlog bool
		silent  bool // the agent does not tell its time
		asked   bool
	}{
		"it has said nothing lately":        {hello: 2 * lately, asked: true},
		"what waited goes on for long":      {hello: 2 * lately, backlog: true, asked: true},
		"it has just said its time":         {hello: time.Second},
		"it said its time lately":           {hello: lately / 2, backlog: true},
		"it has never said what time it is": {hello: 2 * lately, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := startBare(t)
			s := f.streaming(0, test.hello)
			if test.silent {
				s.word = word{}
			}
			batch := sampled(s, 1, time.Now(), time.Now().Add(-8*24*time.Hour))
			batch.Samples[1].TimeUnixMillis = min(batch.Samples[1].TimeUnixMillis, 1)
			err := s.take(memory(wrapped(t, test.backlog, batch)))
			if test.asked {
				require.ErrorIs(t, err, errTime)
				require.Zero(t, s.last)
				require.Zero(t, f.server.budget.used.Load())
				return
			}
			require.NoError(t, err)
			e := f.queued(t, s)
			require.Len(t, e.batch.Rejected, 1)
		})
	}
}

func TestBatchThatIsHeldPutsNothingIntoQuarantineNorSaysSo(t *testing.T) {
	const behind = 9 * 24 * time.Hour
	f := startBare(t)
	var log bytes.Buffer
	f.server.log = slog.New(slog.NewTextHandler(&log, nil))
	called := 0
	f.server.options.FastClock = func() { called++ }
	s := f.streaming(-behind, 0)
	f.server.clock.fast.unsettled = 2 * time.Hour
	now := time.Now()
	err := s.take(memory(alone(t, sampled(s, 1, now.Add(-17*24*time.Hour), now.Add(-behind), now))))
	require.ErrorIs(t, err, errFast)
	require.Contains(t, log.String(), "seems to be fast")
	require.NotContains(t, log.String(), "quarantine")
	require.Equal(t, 1, called)
	require.Zero(t, f.server.budget.used.Load())
}

// greet connects an agent whose clock is ahead, and waits until the server's has heard it.
func (h *harness) greet(t *testing.T, id uuid.UUID, ahead time.Duration) *peer {
	t.Helper()
	p := h.dial(t, id)
	said := hello(id)
	said.TimeUnixMillis = time.Now().Add(ahead).UnixMilli()
	p.sendHello(said)
	response, err := p.stream.Recv()
	require.NoError(t, err)
	require.NotNil(t, response.GetWelcome())
	p.hostID = storage.HostID(response.GetWelcome().GetHostId())
	h.session(t, p)
	return p
}

// sample is a batch with a sample that was taken now by a clock that is ahead.
func (p *peer) sample(seq uint64, ahead time.Duration) *gohubv1.Batch {
	batch := p.batch(seq)
	batch.Samples[0].TimeUnixMillis = time.Now().Add(ahead).UnixMilli()
	return batch
}

func (p *peer) store(seq uint64, ahead time.Duration) {
	p.t.Helper()
	require.NoError(p.t, p.send(p.sample(seq, ahead)))
	p.waitAck(seq)
}

func (p *peer) requireHeld(seq uint64, ahead time.Duration) {
	p.t.Helper()
	require.NoError(p.t, p.send(p.sample(seq, ahead)))
	end := p.waitEnd()
	require.Equal(p.t, codes.OutOfRange, end.Code(), end.Message())
	require.Contains(p.t, end.Message(), "clock")
}

// settle has the server be up for long.
func (h *harness) settle() {
	h.server.clock.mu.Lock()
	defer h.server.clock.mu.Unlock()
	h.server.clock.slow.unsettled, h.server.clock.fast.unsettled = 0, 0
}

func (h *harness) requireClock(t *testing.T, held, quarantined, samples int) {
	t.Helper()
	require.InDelta(t, held, testutil.ToFloat64(h.server.metrics.held), 0)
	require.InDelta(t, quarantined, testutil.ToFloat64(h.server.metrics.quarantined), 0)
	require.InDelta(t, samples, testutil.ToFloat64(h.server.metrics.samples), 0)
	require.NoError(t, h.server.Ready(t.Context()), "what can be stored is")
}

func newIDs(n int) []uuid.UUID {
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.New()
	}
	return ids
}

func TestSamplesAreKeptByTheirAgentsWhileTheServersClockIsSlow(t *testing.T) {
	for _, agents := range []int{1, 5} {
		t.Run(fmt.Sprint(agents, " agents"), func(t *testing.T) {
			var slow atomic.Int64
			h := start(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(-time.Duration(slow.Load())) } })
			ids := newIDs(agents)
			peers := make([]*peer, agents)
			for i, id := range ids {
				peers[i] = h.greet(t, id, 0)
				peers[i].store(1, 0)
			}
			h.settle()

			slow.Store(int64(time.Hour))
			for _, p := range peers {
				p.requireHeld(2, 0)
			}
			for _, id := range ids { // they try again
				h.greet(t, id, 0).requireHeld(2, 0)
			}
			require.InDelta(t, 1, h.server.clock.suspect(), 0)
			h.requireClock(t, 2*agents, 0, agents)

			slow.Store(0)
			require.Zero(t, h.server.clock.suspect())
			for _, id := range ids {
				h.greet(t, id, 0).store(2, 0)
			}
			h.requireClock(t, 2*agents, 0, 2*agents)
			require.Eventually(t, func() bool { return h.server.budget.used.Load() == 0 }, 10*time.Second, time.Millisecond, "what was not taken is in no budget")
		})
	}
}

func TestSamplesAreKeptByTheirAgentsWhileTheServersClockIsFast(t *testing.T) {
	const tooOld, fast = 8 * 24 * time.Hour, 8 * 24 * time.Hour
	for _, agents := range []int{1, 5} {
		t.Run(fmt.Sprint(agents, " agents"), func(t *testing.T) {
			var off atomic.Int64
			h := start(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) } })
			ids := newIDs(agents)
			peers := make([]*peer, agents)
			for i, id := range ids {
				peers[i] = h.greet(t, id, 0)
				peers[i].store(1, 0)
			}
			h.settle()

			off.Store(int64(fast))
			for _, p := range peers {
				p.requireHeld(2, 0)
			}
			waited := h.greet(t, ids[0], 0) // what is too old by any clock is refused, and what comes with it is held all the same
			batch := waited.sample(2, -tooOld)
			batch.Samples = append(batch.Samples, waited.sample(2, -time.Hour).GetSamples()...)
			require.NoError(t, waited.send(batch))
			require.Equal(t, codes.OutOfRange, waited.waitEnd().Code())
			require.InDelta(t, 1, h.server.clock.suspect(), 0)
			h.requireClock(t, agents+1, 0, agents)

			off.Store(0)
			require.Zero(t, h.server.clock.suspect())
			for i, id := range ids {
				p := h.greet(t, id, 0)
				p.store(2, 0)
				if i == 0 {
					p.store(3, -tooOld)
				}
			}
			h.requireClock(t, agents+1, 1, 2*agents)
		})
	}
}

func TestOneAgentThatIsBehindIsNotWaitedFor(t *testing.T) {
	const behind = -8 * 24 * time.Hour
	h := start(t)
	for range 4 {
		h.greet(t, uuid.New(), 0).store(1, 0)
	}
	outlier := h.greet(t, uuid.New(), behind)
	for seq := uint64(1); seq <= 3; seq++ {
		outlier.store(seq, behind)
	}
	require.Zero(t, h.server.clock.suspect())
	h.requireClock(t, 0, 3, 4)
}

// TestSamplesOfAWrongClockAreQuarantinedOnceItIsSet: and nothing else is, and nobody waits.
func TestSamplesOfAWrongClockAreQuarantinedOnceItIsSet(t *testing.T) {
	const wrong = 2 * time.Hour
	t.Run("set before the hello", func(t *testing.T) {
		h := start(t)
		for _, id := range newIDs(5) {
			p := h.greet(t, id, 0)
			for seq := uint64(1); seq <= 3; seq++ {
				p.store(seq, wrong)
			}
			p.store(4, 0)
		}
		h.requireClock(t, 0, 15, 5)
	})
	t.Run("set while most are held", func(t *testing.T) {
		h := start(t)
		h.settle()
		right := []*peer{h.greet(t, uuid.New(), 0), h.greet(t, uuid.New(), 0)}
		ids := newIDs(3)
		for _, p := range right {
			p.store(1, 0)
		}
		peers := make([]*peer, len(ids))
		for i, id := range ids {
			peers[i] = h.greet(t, id, wrong)
		}
		for _, p := range peers {
			p.requireHeld(1, wrong)
		}
		for _, p := range right {
			p.store(2, 0)
		}
		for _, id := range ids {
			p := h.greet(t, id, 0)
			p.store(1, wrong)
			p.store(2, 0)
		}
		for _, p := range right {
			p.store(3, 0)
		}
		require.Zero(t, h.server.clock.suspect())
		h.requireClock(t, 3, 3, 9)
	})
}

func TestOneAgentThatIsAheadIsNotWaitedFor(t *testing.T) {
	h := start(t)
	peers := make([]*peer, 4)
	for i := range peers {
		peers[i] = h.greet(t, uuid.New(), 0)
		peers[i].store(1, 0)
	}
	outlier := h.greet(t, uuid.New(), time.Hour)
	for seq := uint64(1); seq <= 3; seq++ {
		outlier.store(seq, time.Hour)
		for _, p := range peers {
			p.store(seq+1, 0)
		}
	}
	require.Zero(t, h.server.clock.suspect())
	h.requireClock(t, 0, 3, 16)
}

func TestSamplesOfAgentsThatDoNotTellTheirTimeAreQuarantined(t *testing.T) {
	h := start(t)
	for _, id := range newIDs(3) {
		p, _ := h.connect(t, id)
		p.store(1, time.Hour)
		p.store(2, 0)
	}
	h.requireClock(t, 0, 3, 3)
	require.Empty(t, h.server.clock.leads)
}

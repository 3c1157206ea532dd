package relay

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/live/relay/relaytest"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHostsOfOneServerAreShownByTheOther(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.server(nil), w.server(nil)
	a.waitForPeers(1)
	b.waitForPeers(1)
	a.SetHost(w.hosts[0])
	a.send(w.hosts[0], 12.5)
	b.waitFor(w.hosts[0], seen{up, 12.5})
	h, _ := b.state.Host(w.hosts[0].ID)
	require.Equal(t, "web-1", h.GetFacts().GetHostname())
	require.Equal(t, w.hosts[0].AgentID.String(), h.GetAgentId())
	b.send(w.hosts[1], 50)
	a.waitFor(w.hosts[1], seen{up, 50})
	a.send(w.hosts[0], 13)
	b.waitFor(w.hosts[0], seen{up, 13})
	require.Equal(t, 1.0, testutil.ToFloat64(b.metrics.resyncs), "one server that is new, and nothing missed")
	require.Zero(t, testutil.ToFloat64(b.metrics.gaps))
}

// TestAllServersTellOfTwoMachines: those that are there, one that comes later, and after the host has registered again.
func TestAllServersTellOfTwoMachines(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.server(nil), w.server(nil)
	a.waitForPeers(1)
	b.waitForPeers(1)
	a.SetHost(w.hosts[0])
	a.send(w.hosts[0], 12.5)
	b.waitFor(w.hosts[0], seen{up, 12.5})
	h, _ := b.state.Host(w.hosts[0].ID)
	require.Nil(t, h.GetClonedAt())
	twice := w.hosts[0]
	twice.ClonedAt = time.Now().Truncate(time.Second)
	a.SetHost(twice)
	a.SetHost(w.hosts[0]) // it registers again
	a.send(w.hosts[0], 12.75)
	b.waitFor(w.hosts[0], seen{up, 12.75})
	for i, server := range []*server{a, b, w.server(nil)} {
		server.waitFor(w.hosts[0], seen{up, 12.75})
		h, _ := server.state.Host(w.hosts[0].ID)
		require.WithinDuration(t, twice.ClonedAt, h.GetClonedAt().AsTime(), time.Second, "server %d", i)
	}
}

// TestServerThatComesLaterHasAllHosts reads more hosts than a page has, each with every metric.
func TestServerThatComesLaterHasAllHosts(t *testing.T) {
	w := newWorld(t, 300)
	a := w.server(nil)
	for _, host := range w.hosts {
		a.SetHost(host)
		sample := &gohubv1.Sample{}
		storagetest.Fill(sample)
		for i := range 100 {
			sample.Cores = append(sample.Cores, &gohubv1.CoreMetrics{Core: fmt.Sprint(1000 + i), UsagePercent: proto.Float32(float32(i))})
		}
		a.sendSample(host, sample)
	}
	b := w.server(nil)
	b.waitForPeers(1)
	for _, host := range w.hosts {
		require.Equal(t, up, b.sees(host).status)
	}
	for _, host := range w.hosts {
		want, _ := a.state.Host(host.ID)
		got, known := b.state.Host(host.ID)
		require.True(t, known)
		require.True(t, proto.Equal(want.GetLatest(), got.GetLatest()), "%v\n%v", want.GetLatest(), got.GetLatest())
		require.True(t, proto.Equal(want.GetFacts(), got.GetFacts()))
		require.Equal(t, want.GetFirstSeen().AsTime(), got.GetFirstSeen().AsTime())
		require.Equal(t, want.GetAgentId(), got.GetAgentId())
	}
	require.Greater(t, testutil.ToFloat64(b.metrics.received.messages), 3.0, "in pages")
}

// TestCutServersHostsAreUnknownThenFresh: nothing that is old may be shown as new, and nothing that can not be known as down.
func TestCutServersHostsAreUnknownThenFresh(t *testing.T) {
	for name, part := range map[string]func(*relaytest.Line){
		"cut": (*relaytest.Line).Cut, "frozen, as a line that is dead without a word": (*relaytest.Line).Freeze,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			a, b := w.server(nil), w.server(nil)
			for _, host := range w.hosts {
				a.SetHost(host)
				a.send(host, 1)
				b.waitFor(host, seen{up, 1})
			}
			a.waitForPeers(1)
			b.waitForPeers(1)
			part(b.line)
			for _, host := range w.hosts {
				b.waitFor(host, seen{unknown, 1}, seen{down, 1})
			}
			// One goes on meanwhile. What it sent first is on the dead line when it lives again.
			for cpu := range 5 {
				a.send(w.hosts[0], float32(2+cpu))
			}
			a.send(w.hosts[0], 99)
			require.Equal(t, seen{unknown, 1}, b.sees(w.hosts[0]))
			require.Equal(t, seen{up, 99}, a.sees(w.hosts[0]), "its own server does not care")
			b.line.Heal()
			b.waitFor(w.hosts[0], seen{up, 99}, seen{up, 1}, seen{down, 1}, seen{down, 99})
			b.waitForPeers(1)
			require.Contains(t, []seen{{up, 1}, {late, 1}}, b.sees(w.hosts[1]), "nothing was missed of the other")
			a.send(w.hosts[1], 5)
			b.waitFor(w.hosts[1], seen{up, 5}, seen{down, 1})
		})
	}
}

// TestHostThatIsSilentHereWhileAnotherServerIsCutOff: its agent may have gone there, which storage tells.
func TestHostThatIsSilentHereWhileAnotherServerIsCutOff(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.server(nil), w.server(nil)
	for _, host := range w.hosts {
		a.SetHost(host)
		a.send(host, 1)
		b.waitFor(host, seen{up, 1})
	}
	a.waitForPeers(1)
	b.line.Cut()
	b.waitFor(w.hosts[0], seen{unknown, 1})
	require.Eventually(t, func() bool { return a.heardPeers() == 0 }, 20*time.Second, time.Millisecond)
	// The first goes to b, which a does not hear. The second dies.
	b.send(w.hosts[0], 2)
	require.Equal(t, seen{up, 2}, b.sees(w.hosts[0]), "b hears it itself")
	w.ahead.Add(int64(20 * time.Second)) // longer than hosts may be silent, not than agents may take to come back
	a.waitFor(w.hosts[0], seen{unknown, 1}, seen{down, 1})
	a.waitFor(w.hosts[1], seen{unknown, 1}, seen{down, 1})
	w.ahead.Add(int64(30 * time.Second))
	seq := uint64(0)
	store := func() {
		batch := &storage.Batch{Host: w.hosts[0].ID, Epoch: 1, Prev: seq, Seq: seq + 1, ReceivedAt: w.now()}
		batch.Rows = storagetest.Rows(batch.Host, batch.ReceivedAt, &gohubv1.Sample{TimeUnixMillis: w.now().UnixMilli(), Host: &gohubv1.HostMetrics{}})
		outcomes, err := w.store.Append(t.Context(), []*storage.Batch{batch})
		require.NoError(t, err)
		require.Equal(t, []storage.Outcome{storage.Stored}, outcomes)
		seq++
	}
	require.Eventually(t, func() bool {
		store()
		return a.sees(w.hosts[0]).status == unknown && a.sees(w.hosts[1]).status == down
	}, 20*time.Second, 60*time.Millisecond, "what stores is unknown, what does not is down")
	b.line.Heal()
	b.send(w.hosts[0], 3)
	a.waitFor(w.hosts[0], seen{up, 3}, seen{up, 1})
	b.waitForPeers(1)
	require.Equal(t, seen{up, 3}, b.sees(w.hosts[0]), "what a had of it is older")
}

// TestAgentThatMovesIsOfTheServerItSendsTo: only that server's silence makes it unknown.
func TestAgentThatMovesIsOfTheServerItSendsTo(t *testing.T) {
	w := newWorld(t, 1)
	a, b, c := w.server(nil), w.server(nil), w.server(nil)
	host := w.hosts[0]
	for i, from := range []*server{a, b, a, b} {
		from.SetHost(host)
		cpu := float64(10 + i)
		from.send(host, float32(cpu))
		for _, s := range []*server{a, b, c} {
			s.waitFor(host, seen{up, cpu})
			require.Equal(t, s == from, s.owns(host), "%d", i)
		}
	}
	// The old stream's end, and what it sent last, come after the new one's beginning.
	sample := &gohubv1.Sample{TimeUnixMillis: w.now().Add(-time.Second).UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(77)}}
	a.Observe(host.ID, storagetest.Flat(sample), w.now())
	a.stop()
	c.waitForPeers(1)
	require.Equal(t, seen{up, 13}, c.sees(host))
	b.send(host, 14)
	c.waitFor(host, seen{up, 14})
	b.stop()
	c.waitFor(host, seen{unknown, 14}, seen{down, 14})
}

func (s *server) owns(host storage.Host) bool {
	owns := false
	s.state.Own(0, func(own *live.Own) bool {
		owns = owns || own.Identity.GetHostId() == uint32(host.ID)
		return true
	})
	return owns
}

// TestFarewellTellsAtOnce: who stops need not be waited for.
func TestFarewellTellsAtOnce(t *testing.T) {
	w := newWorld(t, 1)
	patient := func(o *Options) { o.Silence = time.Hour }
	a, b := w.server(patient), w.server(patient)
	b.waitForPeers(1)
	a.waitForPeers(1)
	a.SetHost(w.hosts[0])
	a.send(w.hosts[0], 1)
	b.waitFor(w.hosts[0], seen{up, 1})
	a.stop()
	b.waitFor(w.hosts[0], seen{unknown, 1})
	w.ahead.Add(int64(2 * time.Minute))
	b.waitFor(w.hosts[0], seen{down, 1})
}

// TestServerWithoutItsDatabaseTellsSo: its agents are held back, and that nothing comes does not say that they are down.
func TestServerWithoutItsDatabaseTellsSo(t *testing.T) {
	w := newWorld(t, 1)
	patient := func(o *Options) { o.Silence = time.Hour }
	a, b := w.server(patient), w.server(patient)
	b.waitForPeers(1)
	a.SetHost(w.hosts[0])
	a.send(w.hosts[0], 1)
	b.waitFor(w.hosts[0], seen{up, 1})
	a.state.SetDeaf(true)
	w.ahead.Add(int64(time.Minute))
	b.waitFor(w.hosts[0], seen{unknown, 1})
	require.NotEqual(t, down, b.sees(w.hosts[0]).status)
	a.state.SetDeaf(false)
	hears := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.peers[a.id].deaf
	}
	require.Eventually(t, func() bool { return !hears() }, 20*time.Second, time.Millisecond)
	require.Equal(t, seen{unknown, 1}, b.sees(w.hosts[0]), "agents need time to come back")
	w.ahead.Add(int64(time.Minute))
	b.waitFor(w.hosts[0], seen{down, 1}, seen{up, 1})
}

// TestSlowServerCatchesUp: what NATS drops of the updates is missed and asked for.
func TestSlowServerCatchesUp(t *testing.T) {
	w := newWorld(t, 20)
	a, b := w.server(nil), w.server(nil)
	a.waitForPeers(1)
	b.waitForPeers(1)
	require.NoError(t, b.updates.SetPendingLimits(2, 1<<20))
	b.mu.Lock() // b takes nothing meanwhile
	for cpu := range 50 {
		for _, host := range w.hosts {
			a.send(host, float32(cpu))
		}
		before := testutil.ToFloat64(a.metrics.sent.messages)
		require.Eventually(t, func() bool { return testutil.ToFloat64(a.metrics.sent.messages) > before }, 20*time.Second, time.Millisecond)
	}
	dropped := func() int {
		n, err := b.updates.Dropped()
		require.NoError(t, err)
		return n
	}
	require.Eventually(t, func() bool { return dropped() > 0 }, 20*time.Second, time.Millisecond)
	b.mu.Unlock()
	for _, host := range w.hosts {
		b.waitFor(host, seen{up, 49})
	}
	require.Eventually(t, func() bool { return testutil.ToFloat64(b.metrics.gaps) > 0 }, 20*time.Second, time.Millisecond)
}

// TestIngestDoesNotWaitForTheBus fills what waits to be sent, while nobody sends it.
func TestIngestDoesNotWaitForTheBus(t *testing.T) {
	o := outgoing{wake: make(chan struct{}, 1), dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped_total", Help: "What was dropped."})}
	wire := string(make([]byte, 10_000))
	for range 2 * waitingMessages * messageBytes / len(wire) {
		o.sample(1, wire, time.Now())
	}
	messages, skipped, _ := o.take(nil)
	require.True(t, skipped)
	require.Positive(t, testutil.ToFloat64(o.dropped))
	require.LessOrEqual(t, len(messages), waitingMessages+1)
	for _, message := range messages {
		require.LessOrEqual(t, len(message), messageBytes+len(wire)+100)
		o.done(message)
	}
	messages, skipped, _ = o.take(messages)
	require.Empty(t, messages)
	require.False(t, skipped)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		o.sample(1, wire, time.Now())
		messages, _, _ = o.take(messages)
		for _, message := range messages {
			o.done(message)
		}
	}), 0.0)
}

// TestLabelsReachTheOthers: storage has the last word where two servers change them at once.
func TestLabelsReachTheOthers(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.server(nil), w.server(nil)
	a.waitForPeers(1)
	b.waitForPeers(1)
	set := func(s *server, site string) {
		labels := map[string]string{"site": site}
		require.NoError(t, w.store.SetHostLabels(t.Context(), w.hosts[0].ID, labels))
		s.SetLabels(w.hosts[0].ID, labels)
	}
	has := func(s *server, site string) func() bool {
		return func() bool {
			h, _ := s.state.Identity(w.hosts[0].ID)
			return h.GetServerLabels()["site"] == site
		}
	}
	set(a, "ams")
	require.Eventually(t, has(b, "ams"), 20*time.Second, time.Millisecond)
	set(b, "fra")
	require.Eventually(t, has(a, "fra"), 20*time.Second, time.Millisecond)
	// Of those that are set during a cut, the others know when it is healed.
	b.line.Cut()
	require.Eventually(t, func() bool { return a.heardPeers() == 0 }, 20*time.Second, time.Millisecond)
	set(b, "lon")
	b.line.Heal()
	require.Eventually(t, has(a, "lon"), 20*time.Second, time.Millisecond)
	require.True(t, has(b, "lon")())
}

// TestOtherDatabasesAreNotHeard: hosts have the same numbers there.
func TestOtherDatabasesAreNotHeard(t *testing.T) {
	w := newWorld(t, 1)
	a, b, other := w.server(nil), w.server(nil), w.server(func(o *Options) { o.Database = "another" })
	b.waitForPeers(1)
	a.send(w.hosts[0], 1)
	b.waitFor(w.hosts[0], seen{up, 1})
	require.Zero(t, other.heardPeers())
	_, known := other.state.Host(w.hosts[0].ID)
	require.False(t, known)
}

// TestForeignMessagesAreRefused: other programs may use the NATS.
func TestForeignMessagesAreRefused(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.server(nil), w.server(nil)
	b.waitForPeers(1)
	stranger, err := nats.Connect(w.bus)
	require.NoError(t, err)
	defer stranger.Close()
	hosts := func(hosts ...*gohubv1.RelayHost) []byte {
		wire, err := proto.Marshal(&gohubv1.RelayUpdate{Server: "stranger", Hosts: hosts})
		require.NoError(t, err)
		return wire
	}
	messages := [][]byte{
		nil, []byte("hello"), hosts(&gohubv1.RelayHost{HostId: 1, Sample: []byte{0xff}}),
		hosts(&gohubv1.RelayHost{HostId: 1, Facts: &gohubv1.HostFacts{}, AgentId: "no uuid"}),
	}
	for _, message := range messages {
		require.NoError(t, stranger.Publish(b.subjects.updates, message))
	}
	require.NoError(t, stranger.Publish(b.subjects.pagesOf(b.id), []byte{0xff}))
	require.Eventually(t, func() bool { return testutil.ToFloat64(b.metrics.refused) == float64(len(messages)+1) }, 20*time.Second, time.Millisecond)
	a.send(w.hosts[0], 1)
	b.waitFor(w.hosts[0], seen{up, 1})
}

// TestServerStartsWithoutNATS: it serves its own hosts, and finds the others when NATS is there.
func TestServerStartsWithoutNATS(t *testing.T) {
	w := newWorld(t, 1)
	a := w.server(nil)
	a.send(w.hosts[0], 1)
	line, url := relaytest.NewLine(t, w.bus)
	line.Cut()
	b := w.server(func(o *Options) { o.URL = url })
	b.SetHost(w.hosts[0])
	require.Zero(t, testutil.ToFloat64(b.metrics.resyncs))
	line.Heal()
	b.waitFor(w.hosts[0], seen{up, 1})
}

// TestTLS has a NATS whose certificate a file vouches for, and not the system.
func TestTLS(t *testing.T) {
	w := newWorld(t, 1)
	url, caFile := relaytest.TLSBus(t)
	trusting := func(o *Options) { o.URL, o.CAFile = url, caFile }
	a, b, stranger := w.server(trusting), w.server(trusting), w.server(func(o *Options) { o.URL = url })
	b.waitForPeers(1)
	a.send(w.hosts[0], 1)
	b.waitFor(w.hosts[0], seen{up, 1})
	require.False(t, stranger.bus.IsConnected())
}

// TestMistakesInTheURLAreTold: with the mistake, and without the password.
func TestMistakesInTheURLAreTold(t *testing.T) {
	_, err := Open(Options{State: live.NewState(nil), URL: "nats://user:" + relaytest.Password + "@[::1:4222", Database: "x"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), relaytest.Password)
	_, err = Open(Options{State: live.NewState(nil), URL: "nats://127.0.0.1:1", CAFile: "/nowhere.pem", Database: "x"})
	require.ErrorContains(t, err, "/nowhere.pem")
}

// TestOldUpdatesAreNotNew: a clock that is an hour wrong, and one that is set, make no host look older or newer than it is.
func TestOldUpdatesAreNotNew(t *testing.T) {
	base := time.Now()
	p := &peer{}
	sent := func(second float64) int64 {
		return base.Add(-time.Hour + time.Duration(second*float64(time.Second))).UnixMicro()
	}
	at := func(second float64) time.Time {
		return base.Add(time.Duration(second * float64(time.Second)))
	}
	require.Zero(t, p.delay(at(0), sent(0)), "an hour is how far the clock is behind")
	require.InDelta(t, 0.25, p.delay(at(1.25), sent(1)).Seconds(), 0.01)
	require.Zero(t, p.delay(at(2), sent(2)))
	require.InDelta(t, 20, p.delay(at(23), sent(3)).Seconds(), 0.1, "it stood in a dead line")
	require.InDelta(t, 0, p.delay(at(23), sent(23)).Seconds(), 0.1)
	// The other clock is set back by half an hour: all seems late, until that server is asked.
	require.Greater(t, p.delay(at(30), sent(30-1800)), tooLate)
	p.answered(at(31.2), at(31), sent(31.1-1800))
	require.Less(t, p.delay(at(32), sent(32-1800)), tooLate)
	// And forward: it is the shortest way from then on.
	require.Zero(t, p.delay(at(33), sent(33+1800)))
}

func TestTrimKeepsWholeFields(t *testing.T) {
	sample := &gohubv1.Sample{TimeUnixMillis: 5, Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(7)}}
	for i := range 100 {
		sample.Cores = append(sample.Cores, &gohubv1.CoreMetrics{Core: fmt.Sprint(i), UsagePercent: proto.Float32(1)})
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(sample)
	require.NoError(t, err)
	require.Equal(t, string(wire), trim(string(wire), len(wire)))
	cut := trim(string(wire), len(wire)/2)
	require.InDelta(t, len(wire)/2, len(cut), 20)
	got := &gohubv1.Sample{}
	require.NoError(t, proto.Unmarshal([]byte(cut), got))
	require.Equal(t, float32(7), got.GetHost().GetCpuUsagePercent())
	require.Less(t, len(got.GetCores()), 60)
}

func TestRedact(t *testing.T) {
	urls := "nats://user:p%40ss@one:4222, tls://token@two:4222"
	text := "dial nats://user:p%40ss@one:4222: p@ss refused, and tls://token@two:4222"
	require.Equal(t, "dial nats://…@one:4222: … refused, and nats://…@two:4222", redact(text, urls))
}

// FuzzReceive: nothing that comes over the bus may end the server.
func FuzzReceive(f *testing.F) {
	wire, err := proto.Marshal(&gohubv1.RelayUpdate{Server: "other", Seq: 3, Hosts: []*gohubv1.RelayHost{{HostId: 1, Sample: []byte{8, 1}, Facts: &gohubv1.HostFacts{}}}})
	require.NoError(f, err)
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := &Relay{
			options: Options{Now: time.Now}, state: live.NewState(nil), log: slog.New(slog.DiscardHandler), peers: map[string]*peer{}, labels: make(chan struct{}, 1),
		}
		r.metrics = newMetrics(r, nil)
		r.receive(&nats.Msg{Data: wire})
	})
}

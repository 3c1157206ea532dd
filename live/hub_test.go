package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func TestSnapshotThenDeltas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		r.observe(1, 1)
		r.tick()
		c := r.connect()
		c.idle() // nothing before a subscription
		c.send(`{"fleet":{}}`)
		hosts := c.snapshot(0, 1, 2, 3)
		require.Equal(t, 1.0, cpu(hosts[0]))
		r.tick()
		c.idle() // nothing has changed

		r.observe(1, 2)
		r.observe(1, 3)
		r.observe(3, 4)
		r.tick()
		hosts = c.delta(1, 1, 3)
		require.Equal(t, 3.0, cpu(hosts[0]), "the newest of a tick")
		require.Equal(t, "host-3", hosts[1].Facts.Hostname, "a host travels whole")

		r.state.SetHost(testHost(9, "new"))
		r.tick()
		c.delta(2, 9)
		r.state.SetHost(testHost(2, "renamed"))
		r.tick()
		require.Equal(t, "renamed", c.delta(3, 2)[0].Facts.Hostname)
	})
}

func TestHostTopicHasEverythingOfOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"host":{"hostId":2}}`)
		c.snapshot(0, 2)
		r.observe(1, 1)
		r.tick()
		c.idle()
		r.state.Observe(2, flat(fullSample(time.Now())), time.Now())
		r.tick()
		require.Len(t, c.delta(1, 2)[0].Latest.Instances, 12)
	})
}

func TestNewSubscriptionReplacesTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"host":{"hostId":2}}`)
		c.snapshot(0, 2)
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3)
		synctest.Wait()
		require.Len(t, r.topics(), 1)
		r.observe(2, 1)
		r.tick()
		c.delta(1, 2)
		c.idle()
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3) // the same topic again, within a second: the snapshot that is there, and what came since
		c.delta(1, 2)
		time.Sleep(snapshotServes)
		c.send(`{"fleet":{}}`)
		c.snapshot(1, 1, 2, 3)
	})
}

func TestBadRequestsAreAnsweredAndChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3)
		for request, want := range map[string]string{
			`{"host":{"hostId":7}}`:           "no host with id 7",
			`{"host":{}}`:                     "no host with id 0",
			`{`:                               "the request is not a LiveRequest in JSON",
			`{}`:                              "the request names no topic",
			`{"set":{}}`:                      "the set names neither labels nor hosts",
			`{"set":{"labels":{"rack":"7"}}}`: `hosts have no label "rack"; they have agent_version, arch, cpu_model, hostname, kernel_version, os, platform, platform_version`,
			`{"fleet":{"metrics":["core_usage_percent"]}}`: `no metric "core_usage_percent" of hosts`,
		} {
			c.send(request)
			m := c.message()
			require.Equal(t, want, m.GetError())
			require.Zero(t, m.Seq)
		}
		r.observe(1, 1)
		r.tick()
		c.delta(1, 1)
	})
}

func TestSubscribersGetIdenticalBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		a, b := r.connect(), r.connect()
		a.send(`{"fleet":{}}`)
		b.send(`{"fleet":{}}`)
		require.Equal(t, string(a.raw()), string(b.raw()))
		r.observe(1, 1)
		r.tick()
		require.Equal(t, string(a.raw()), string(b.raw()))
	})
}

func TestOneFrameIsSharedByAllSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		a, b := r.connect(), r.connect()
		for _, c := range r.clients {
			c.send(`{"fleet":{}}`)
			c.snapshot(0, 1, 2, 3)
		}
		for cpu := range 2 { // the first delta is with the writers, which no one lets finish
			r.observe(1, float32(cpu+1))
			r.tick()
		}
		fleet := r.topics()[topicKey{fleet: true}]
		require.Len(t, fleet.backlog.kept, 2)
		require.EqualValues(t, 3, fleet.backlog.kept[0].holds.Load(), "the backlog and two writers")
		require.EqualValues(t, 1, fleet.backlog.kept[1].holds.Load())
		a.delta(1, 1)
		b.delta(1, 1)
		synctest.Wait()
		require.EqualValues(t, 1, fleet.backlog.kept[0].holds.Load())
	})
}

func TestStatusChangeByTimeReachesViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{PingInterval: time.Hour})
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.hub.Run(ctx) }()
		r.observe(2, 1)
		fleet, one := r.connect(), r.connect()
		fleet.send(`{"fleet":{}}`)
		one.send(`{"host":{"hostId":2}}`)
		require.Equal(t, up, fleet.snapshot(0, 1, 2, 3)[1].Status)
		require.Equal(t, up, one.snapshot(0, 2)[0].Status)

		start := time.Now()
		require.Equal(t, late, one.delta(1, 2)[0].Status)
		require.Equal(t, late, fleet.delta(1, 2)[0].Status)
		require.InDelta(t, 20, time.Since(start).Seconds(), 0.5)
		require.Equal(t, down, one.delta(2, 2)[0].Status)
		require.Equal(t, down, fleet.delta(2, 2)[0].Status)
		require.InDelta(t, 30, time.Since(start).Seconds(), 0.5)
		for _, h := range fleet.delta(3, 1, 3) {
			require.Equal(t, down, h.Status, "hosts that did not come back after the start")
		}
		stop()
		require.Equal(t, ws.StatusGoingAway, fleet.closed())
		require.Equal(t, ws.StatusGoingAway, one.closed())
		require.NoError(t, <-ran)
	})
}

func TestAlertsReachEveryViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		early := r.connect()
		early.idle() // there is no list yet
		r.hub.PublishAlerts(goldenAlerts())
		m := early.message()
		require.Len(t, m.GetAlerts().Alerts, 1)
		require.Zero(t, m.Seq)
		r.hub.PublishAlerts(goldenAlerts())
		early.idle() // no news

		late := r.connect()
		require.Len(t, late.message().GetAlerts().Alerts, 1)
		late.send(`{"fleet":{}}`)
		late.snapshot(0, 1, 2, 3)
		r.hub.PublishAlerts(nil)
		require.NotNil(t, late.message().GetAlerts())
		require.Empty(t, early.message().GetAlerts().Alerts)
		r.observe(1, 1)
		r.tick()
		late.delta(1, 1) // alerts have not used up a seq
	})
}

func TestMessageAndByteCountsAreTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		c := r.connect()
		c.send(`{"fleet":{}}`)
		body := c.raw()
		require.True(t, json.Valid(body))
		synctest.Wait()
		require.Equal(t, 1.0, value(r.hub.metrics.messages))
		require.Equal(t, float64(4+len(body)), value(r.hub.metrics.bytes))
		require.Equal(t, 1.0, value(r.hub.metrics.viewers))
		r.close()
		require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonClient]))
	})
}

// Whatever viewers and samples do at the same time, each viewer sees an unbroken sequence that ends at the truth.
func TestEveryViewerEndsAtTheTruth(t *testing.T) {
	const hosts, viewers, rounds = 5, 8, 300
	state := NewState(nil)
	for id := range storage.HostID(hosts) {
		state.SetHost(testHost(id+1, "host"))
	}
	hub := NewHub(state, HubOptions{PushInterval: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- hub.Run(ctx) }()

	var all sync.WaitGroup
	for range viewers {
		near, far := net.Pipe()
		require.NoError(t, hub.reserve(noAddress))
		all.Go(func() {
			defer hub.release(noAddress)
			hub.serve(ctx, far, far, formJSON)
		})
		all.Go(func() {
			defer func() { _ = near.Close() }()
			c := &client{t: t, conn: near}
			c.send(`{"fleet":{}}`)
			newest := map[uint32]float64{}
			var seq uint32
			for n := 0; ; n++ {
				m := c.message()
				list := m.GetSnapshot()
				if list == nil {
					list = m.GetDelta()
					if n == 0 || m.Seq != seq+1 {
						t.Errorf("delta %d after %d", m.Seq, seq)
						return
					}
				}
				seq = m.Seq
				finished := true
				for _, h := range list.Hosts {
					if cpu(h) < newest[h.HostId] {
						t.Errorf("host %d went back", h.HostId)
					}
					newest[h.HostId] = cpu(h)
				}
				for id := range uint32(hosts) {
					finished = finished && newest[id+1] == rounds
				}
				if finished {
					return
				}
			}
		})
	}
	for round := range rounds {
		for id := range storage.HostID(hosts) {
			at := epoch.Add(time.Duration(round) * time.Second)
			state.Observe(id+1, flat(hostSample(at, float32(round+1))), time.Now())
		}
	}
	all.Wait()
	stop()
	require.NoError(t, <-ran)
}

// TestBroadcastAllocatesNothing: neither for a delta nor for a viewer that gets it.
func TestBroadcastAllocatesNothing(t *testing.T) {
	const viewers = 20
	state := benchState(10, fullSample(epoch))
	hub := NewHub(state, HubOptions{})
	var group sync.WaitGroup
	conns := make([]*discard, viewers)
	for i := range conns {
		conns[i] = newDiscard()
		require.NoError(t, hub.reserve(noAddress))
		group.Go(func() {
			defer hub.release(noAddress)
			hub.serve(t.Context(), conns[i], conns[i], formJSON)
		})
	}
	require.Eventually(t, func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return len(hub.viewers) == viewers
	}, patience, time.Millisecond)
	for v := range hub.viewers {
		require.NoError(t, hub.subscribe(v, &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{}}))
	}
	written := viewers // snapshots
	await := func() {
		for total := 0; total < written; runtime.Gosched() {
			total = 0
			for _, c := range conns {
				total += int(c.writes.Load())
			}
		}
	}
	await()
	next := flat(fullSample(epoch))
	push := func() {
		next.TimeUnixMillis++
		state.Observe(3, next, time.Now())
		hub.push()
		written += viewers
		await()
	}
	for range 2 * maxPending { // the backlog fills
		push()
	}
	// The race detector has pools lose one thing in four.
	require.Less(t, testing.AllocsPerRun(200, push), 4.0, "for %d viewers together", viewers)
	for _, c := range conns {
		_ = c.Close()
	}
	group.Wait()
}

// TestChangesAreSentAtOnce: the first after a while at once, those that follow it together when a pause is over.
func TestChangesAreSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.hub.Run(ctx) }()
		fleet, one := r.connect(), r.connect()
		fleet.send(`{"fleet":{}}`)
		one.send(`{"host":{"hostId":2}}`)
		fleet.snapshot(0, 1, 2, 3)
		one.snapshot(0, 2)
		time.Sleep(20*time.Millisecond + 1) // not in step with the sweeps

		start := time.Now()
		r.observe(2, 1)
		fleet.delta(1, 2)
		one.delta(1, 2)
		require.Zero(t, time.Since(start))
		r.observe(3, 1)
		r.observe(1, 1)
		r.observe(3, 2)
		require.Equal(t, 2.0, cpu(fleet.delta(2, 3, 1)[0]))
		require.Equal(t, r.hub.options.PushInterval, time.Since(start))
		one.idle()
		stop()
		require.Equal(t, ws.StatusGoingAway, fleet.closed())
		require.Equal(t, ws.StatusGoingAway, one.closed())
		require.NoError(t, <-ran)
	})
}

func TestSetFollowsItsHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"set":{"labels":{"hostname":"host-1","os":"linux"},"metrics":["load1"]}}`)
		c.snapshot(0, 1)
		r.observe(2, 1)
		r.tick()
		c.idle()
		r.observe(1, 1)
		r.tick()
		require.Empty(t, c.delta(1, 1)[0].Latest.Values, "only load1 is asked for")
		r.state.SetHost(testHost(1, "renamed"))
		r.state.SetHost(testHost(2, "host-1"))
		r.tick()
		delta := c.message()
		require.EqualValues(t, 2, delta.Seq)
		require.Equal(t, []uint32{1}, delta.GetDelta().Gone)
		require.Equal(t, []uint32{2}, ids(delta.GetDelta()))
		c.send(`{"set":{"hostIds":[3,1,3]}}`)
		c.snapshot(0, 1, 3)
	})
}

func TestAlertsTopicHasNoHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3)
		r.hub.PublishAlerts([]*gohubv1.Alert{{Id: "1"}})
		require.Len(t, c.message().GetAlerts().Alerts, 1)
		c.send(`{"alerts":{}}`)
		require.Len(t, c.message().GetAlerts().Alerts, 1)
		r.observe(1, 1)
		r.tick()
		c.idle()
		require.Empty(t, r.topics())
	})
}

func TestPartsOfTheFleetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		for i := range maxParts + 1 {
			c := r.connect()
			c.send(fmt.Sprintf(`{"set":{"hostIds":[%d]}}`, i))
			if i < maxParts {
				require.NotNil(t, c.message().GetSnapshot())
			} else {
				require.Contains(t, c.message().GetError(), "64 different parts")
			}
		}
	})
}

// TestBusyMachineConflates: while many viewers have not written the newest delta, the next waits for them, up to a bound.
func TestBusyMachineConflates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{WriteTimeout: time.Hour, PingInterval: time.Hour, SweepInterval: time.Hour})
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.hub.Run(ctx) }()
		for range fewSlow + 2 {
			r.connect().send(`{"fleet":{}}`)
		}
		for _, c := range r.clients {
			c.snapshot(0, 1, 2, 3)
		}
		quick := r.clients[0]
		r.observe(1, 1)
		quick.delta(1, 1) // nobody else reads
		r.observe(1, 2)
		start := time.Now()
		quick.delta(2, 1)
		require.Equal(t, maxConflation, time.Since(start))
		for _, c := range r.clients[1:] {
			c.delta(1, 1)
			c.delta(2, 1)
		}
		time.Sleep(maxConflation)
		r.observe(1, 3)
		quick.delta(3, 1)
		for _, c := range r.clients[1:] {
			c.delta(3, 1)
		}
		r.observe(1, 4)
		start = time.Now()
		quick.delta(4, 1)
		require.Equal(t, r.hub.options.PushInterval, time.Since(start), "all have written")
		synctest.Wait() // until all are at it: what was not begun is not sent any more
		stop()
		for _, c := range r.clients[1:] {
			c.delta(4, 1)
			require.Equal(t, ws.StatusGoingAway, c.closed())
		}
		require.Equal(t, ws.StatusGoingAway, quick.closed())
		require.NoError(t, <-ran)
	})
}

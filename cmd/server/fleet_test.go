package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert"
	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
)

// watchedFleet is an alert engine with the default rules over a state of hosts.
type watchedFleet struct {
	state  *live.State
	engine *alert.Engine
	hosts  int
	sample *catalogue.Sample
	clock  atomic.Int64 // Unix seconds
	ticks  chan time.Time
}

// now is the clock of all parts.
func (w *watchedFleet) now() time.Time { return time.Unix(w.clock.Load(), 0) }

func newWatchedFleet(tb testing.TB, hosts int) *watchedFleet {
	tb.Helper()
	w := &watchedFleet{hosts: hosts, ticks: make(chan time.Time)}
	w.clock.Store(1e9)
	w.state = live.NewState(w.now)
	for id := range storage.HostID(hosts) {
		w.state.SetHost(storage.Host{ID: id + 1, AgentID: uuid.New(), Facts: &gohubv1.HostFacts{Hostname: fmt.Sprint("web-", id), IntervalMillis: 5000}})
	}
	w.use(tb, 50)
	store, err := sqlite.Open(tb.TempDir(), storage.Options{Idle: true})
	require.NoError(tb, err)
	w.engine, err = alert.NewEngine(alert.Options{Source: &fleet{state: w.state}, Store: store, Ticks: w.ticks, Now: w.now})
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.engine.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, <-done)
		require.NoError(tb, store.Close())
	})
	return w
}

// use makes the samples to come say that everything is used to so many percent.
func (w *watchedFleet) use(tb testing.TB, percent float32) {
	tb.Helper()
	message := &gohubv1.Sample{Host: &gohubv1.HostMetrics{CpuUsagePercent: &percent, MemoryUsedPercent: &percent}}
	for i := range 16 {
		message.Cores = append(message.Cores, &gohubv1.CoreMetrics{Core: fmt.Sprint(i), UsagePercent: &percent})
		message.Filesystems = append(message.Filesystems, &gohubv1.FilesystemMetrics{
			Mountpoint: fmt.Sprint("/srv/", i), Device: fmt.Sprint("/dev/sd", i), Fstype: "ext4", UsedPercent: &percent,
		})
	}
	var err error
	w.sample, err = catalogue.FromProto(message)
	require.NoError(tb, err)
}

// step gives every host a new sample and has the engine evaluate, which it does until the next step.
func (w *watchedFleet) step() {
	now := time.Unix(w.clock.Add(5), 0)
	w.sample.TimeUnixMillis = now.UnixMilli()
	for id := range storage.HostID(w.hosts) {
		w.state.Observe(id+1, w.sample, now)
	}
	w.ticks <- now
}

// TestAlertsAllocateNothingForHostsThatAreWell: the state is read every few seconds for as long as the server runs, and with
// thousands of hosts a message for each would be most of the server's garbage.
func TestAlertsAllocateNothingForHostsThatAreWell(t *testing.T) {
	w := newWatchedFleet(t, 1000)
	w.step()
	w.step()
	require.Less(t, testing.AllocsPerRun(10, w.step), 25.0, "for 1,000 hosts together")

	w.use(t, 99)
	w.step()
	w.step()
	list, err := w.engine.ListAlerts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list.GetAlerts(), 1000*(1+1+16+16), "and it did look at them")
}

// TestHostsAreUnknownWhileSamplesCanNotBeStored: the agents' streams are held back then.
func TestHostsAreUnknownWhileSamplesCanNotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := live.NewState(time.Now)
		var intake atomic.Pointer[error]
		intake.Store(new(error))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			watchIntake(ctx, state, func(context.Context) error { return *intake.Load() })
		}()
		sample := &catalogue.Sample{}
		require.NoError(t, sample.Decode(""))
		state.Observe(1, sample, time.Now())
		status := func() gohubv1.HostStatus {
			synctest.Wait()
			h, _ := state.Host(1)
			return h.Status
		}
		time.Sleep(time.Minute)
		require.Equal(t, gohubv1.HostStatus_HOST_STATUS_DOWN, status())
		away := storage.ErrUnavailable
		intake.Store(&away)
		time.Sleep(intakeEvery)
		require.Equal(t, gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED, status())
		intake.Store(new(error))
		time.Sleep(30 * time.Second)
		require.Equal(t, gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED, status(), "agents need time to come back")
		time.Sleep(time.Minute)
		require.Equal(t, gohubv1.HostStatus_HOST_STATUS_DOWN, status())
		stop()
		<-done
	})
}

// BenchmarkAlerts is one evaluation of the default rules on 5,000 hosts that are well and have new samples, with the storing
// of the samples.
func BenchmarkAlerts(b *testing.B) {
	w := newWatchedFleet(b, 5000)
	w.step()
	w.step()
	b.ReportAllocs()
	for b.Loop() {
		w.step()
	}
}

package alert

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/alert/notify"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// one is one of several engines on a store.
type one struct {
	*Engine
	leads     atomic.Bool
	told      []notify.Kind
	published [][]*gohubv1.Alert
	stop      func()
}

func startOne(t *testing.T, source Source, store Store) *one {
	o := &one{}
	engine, err := NewEngine(Options{
		Config: Config{Rules: []Rule{busy}}, Source: source, Store: store, Leads: o.leads.Load, Logger: discard(),
		Publish: func(alerts []*gohubv1.Alert) { o.published = append(o.published, alerts) },
	})
	require.NoError(t, err)
	o.Engine = engine
	engine.tellAll = func(events []notify.Event) {
		for _, event := range events {
			o.told = append(o.told, event.Kind)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	o.stop = func() {
		cancel()
		require.NoError(t, <-done)
	}
	return o
}

func (o *one) state() gohubv1.AlertState {
	list := o.list()
	if len(list) == 0 {
		return inactive
	}
	return list[0].GetState()
}

// TestEnginesTakeTurns: one leads and the others show the same; who takes over tells nothing twice, and forgets nothing.
func TestEnginesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, store := &liveSource{value: 95}, &memoryStore{rows: map[string][]byte{}}
		a, b := startOne(t, source, store), startOne(t, source, store)
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		wait(time.Minute)
		require.Equal(t, inactive, a.state(), "nobody leads")
		require.Empty(t, store.ids())
		a.leads.Store(true)
		wait(time.Minute)
		require.Equal(t, firing, a.state())
		require.Equal(t, firing, b.state(), "as it is saved")
		require.Equal(t, firing, b.published[len(b.published)-1][0].GetState())
		require.Len(t, b.published, 3, "none, pending, firing: nothing is published twice")
		require.Equal(t, []notify.Kind{notify.Firing}, a.told)
		require.Empty(t, b.told)

		// The one that leads is gone, and while nobody leads nothing changes.
		a.leads.Store(false)
		source.set(10)
		wait(30 * time.Second)
		require.Equal(t, firing, a.state())
		require.Equal(t, firing, b.state())
		b.leads.Store(true)
		wait(30 * time.Second)
		require.Equal(t, resolved, a.state())
		require.Equal(t, resolved, b.state())
		require.Equal(t, []notify.Kind{notify.Resolved}, b.told, "that it fired was told")

		// It fires again under the second, and goes on firing under the first.
		source.set(99)
		wait(time.Minute)
		b.leads.Store(false)
		a.leads.Store(true)
		wait(time.Minute)
		require.Equal(t, firing, a.state())
		require.Equal(t, []notify.Kind{notify.Resolved, notify.Firing}, b.told)
		require.Equal(t, []notify.Kind{notify.Firing}, a.told)
		a.stop()
		b.stop()
	})
}

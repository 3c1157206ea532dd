package storagetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// reopen is a start of the server.
func (r *rollups) reopen(t *testing.T) {
	t.Helper()
	require.NoError(t, r.store.Close())
	r.store = r.Open(t, r.options())
}

func (r *rollups) until(t *testing.T, resolution storage.Resolution) time.Time {
	t.Helper()
	coverage, err := r.store.Coverage(t.Context())
	require.NoError(t, err)
	return coverage[resolution].Until
}

// count is how many rows the host family has at a resolution.
func (r *rollups) count(t *testing.T, resolution storage.Resolution) int {
	t.Helper()
	return len(r.Select(t, "SELECT host_id FROM "+resolution.Relation(catalogue.Host())))
}

// startsAhead has a server start with a clock that is a month ahead, and samples come at the right time.
func startsAhead(t *testing.T, r *rollups) {
	h := r.addHost(t)
	r.sendUntilNow(t, h)
	r.rollUp(t)
	right, samples := r.clock, r.count(t, storage.Raw)
	minutes, until := r.count(t, storage.Minute), r.until(t, storage.Minute)
	r.clock = right.Add(30 * 24 * time.Hour)
	r.reopen(t)
	for range 2 {
		r.rollUp(t)
	}
	require.Equal(t, []int{samples, minutes}, []int{r.count(t, storage.Raw), r.count(t, storage.Minute)}, "nothing is dropped")
	require.Equal(t, until, r.until(t, storage.Minute), "nothing is claimed")

	for n := range 3 * 60 {
		r.send(t, h, sampleAt(right.Add(time.Duration(n)*time.Minute+time.Second), n))
	}
	r.send(t, h, sampleAt(right.Add(time.Hour), 8))
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base), "rollups go on with the samples")
	require.Equal(t, right.Add(179*time.Minute-storage.RollupLag), r.until(t, storage.Minute))

	r.clock = right.Add(4 * time.Hour)
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	require.Equal(t, samples+181, r.count(t, storage.Raw))
}

// startsAfterSilence has a server start after a month in which no agent sent anything.
func startsAfterSilence(t *testing.T, r *rollups) {
	h := r.addHost(t)
	r.sendUntilNow(t, h)
	r.rollUp(t)
	samples := r.count(t, storage.Raw)
	r.clock = r.clock.Add(30 * 24 * time.Hour)
	r.reopen(t)
	for range 7 {
		r.rollUp(t)
		require.Equal(t, samples, r.count(t, storage.Raw))
		r.clock = r.clock.Add(24 * time.Hour)
	}
	r.rollUp(t)
	require.Zero(t, r.count(t, storage.Raw))
	require.Positive(t, r.check(t, h, base))

	// Samples say so at once. Who was silent before the last round has no say.
	for range 2 {
		r.send(t, r.addHost(t), sampleAt(r.clock.Add(-time.Minute), 3))
	}
	r.clock = r.clock.Add(3 * 24 * time.Hour)
	some := []*rollupHost{r.addHost(t), r.addHost(t), r.addHost(t)}
	for _, one := range some {
		r.send(t, one, sampleAt(r.clock.Add(-time.Minute), 3))
	}
	r.rollUp(t)
	r.clock = r.clock.Add(30 * 24 * time.Hour)
	r.reopen(t)
	r.send(t, some[1], sampleAt(r.clock.Add(-time.Minute), 3))
	r.rollUp(t)
	require.Less(t, r.until(t, storage.Minute), r.clock.Add(-29*24*time.Hour), "one of three")
	r.send(t, some[2], sampleAt(r.clock.Add(-time.Minute), 3))
	r.rollUp(t)
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute), "two of three")
	require.Equal(t, 2, r.count(t, storage.Raw))
}

// oneConfirms has a server start a month ahead, and the agent of its machine as well, of which samples are still further ahead.
func oneConfirms(t *testing.T, r *rollups) {
	var wrong *rollupHost
	for range 5 {
		wrong = r.addHost(t)
		r.sendUntilNow(t, wrong)
	}
	r.rollUp(t)
	right, samples, until := r.clock, r.count(t, storage.Raw), r.until(t, storage.Minute)
	r.clock = right.Add(30 * 24 * time.Hour)
	r.send(t, wrong, sampleAt(r.clock.Add(-time.Minute), 3), sampleAt(r.clock.Add(30*24*time.Hour), 4))
	r.reopen(t)
	r.rollUp(t)
	require.Equal(t, until, r.until(t, storage.Minute), "nothing is claimed")
	require.Equal(t, samples+2, r.count(t, storage.Raw), "nothing is dropped")
	for _, one := range r.hosts[:4] {
		r.send(t, one, sampleAt(right.Add(time.Hour), 5))
	}
	r.rollUp(t)
	require.Equal(t, right.Add(time.Hour-storage.RollupLag), r.until(t, storage.Minute), "the four tell the time")
	r.clock = right.Add(2 * time.Hour)
	r.rollUp(t)
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	for _, one := range r.hosts {
		require.Positive(t, r.check(t, one, base))
	}
}

// startsBehind has a server start with a clock that is three hours behind, twice: the first time it is set in time.
func startsBehind(t *testing.T, r *rollups) {
	h, imported := r.addHost(t), r.addHost(t)
	r.sendUntilNow(t, h)
	r.sendUntilNow(t, imported)
	r.rollUp(t)
	right, minutes, until := r.clock, r.count(t, storage.Minute), r.until(t, storage.Minute)
	if !r.Ahead { // a continuous aggregate would see it
		for _, table := range []string{"host_samples", "network_samples"} {
			r.Select(t, fmt.Sprintf("DELETE FROM %s WHERE host_id = %d", table, imported.ID))
		}
		delete(imported.samples, right.Add(-30*time.Second).UnixMilli()) // it was not rolled up yet
	}
	r.Ahead = true // buckets stay until they are made again
	for _, set := range []bool{true, false} {
		r.clock = right.Add(-3 * time.Hour)
		r.reopen(t)
		for range 2 {
			r.rollUp(t)
			require.Equal(t, until, r.until(t, storage.Minute))
			r.clock = r.clock.Add(5 * time.Minute)
		}
		if set {
			r.clock = right
		}
		r.rollUp(t)
	}
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	require.Equal(t, storage.Hour.Floor(r.clock.Add(-storage.RollupLag)), r.until(t, storage.Hour))
	r.clock = right.Add(24 * time.Hour)
	r.send(t, h, sampleAt(right.Add(-time.Hour-time.Second), 6))
	for range 2 {
		r.rollUp(t)
		require.Positive(t, r.check(t, h, base))
		require.Positive(t, r.check(t, imported, base), "what has no samples stays")
		require.GreaterOrEqual(t, r.count(t, storage.Minute), minutes)
	}
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
}

// cutOff ends a context when the log tells that something was taken back.
type cutOff struct {
	slog.Handler
	cut func()
}

// Handle implements slog.Handler.
func (c cutOff) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(one slog.Attr) bool {
		if one.Key == "now_until" {
			c.cut()
		}
		return true
	})
	return nil
}

// Enabled implements slog.Handler.
func (c cutOff) Enabled(context.Context, slog.Level) bool { return true }

// notesTwoHours has a clock be two hours ahead, and samples come for the time that it took for gone.
func notesTwoHours(t *testing.T, r *rollups) {
	h, other := r.addHost(t), r.addHost(t)
	r.sendUntilNow(t, h)
	r.sendUntilNow(t, other)
	r.rollUp(t)
	right := r.clock
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	r.log = slog.New(cutOff{Handler: slog.DiscardHandler, cut: cut})
	r.clock = right.Add(2 * time.Hour)
	r.reopen(t)
	r.rollUp(t)
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	began := right.Add(-storage.DefaultRetention.Raw)
	r.send(t, h, sampleAt(began.Add(15*time.Minute), 7), sampleAt(began.Add(5*time.Hour), 8))
	r.clock = right
	r.rollUp(t)
	require.Empty(t, r.Select(t, "SELECT host_id FROM rollup_late"))
	r.Ahead = true // buckets stay until they are made again
	r.clock = right.Add(10 * time.Minute)
	require.ErrorIs(t, r.store.RollUp(ctx), context.Canceled)
	notes := r.Select(t, "SELECT host_id, CAST(resolution AS integer), "+r.Millis("from_time")+", "+r.Millis("to_time")+" FROM rollup_late ORDER BY from_time")
	require.Len(t, notes, 1, "of the other nothing is there")
	require.Equal(t, []float64{float64(h.ID), 1, float64(began.Add(15 * time.Minute).UnixMilli())}, notes[0][:3])
	require.InDelta(t, began.Add(2*time.Hour).UnixMilli(), notes[0][3], 60_000)
	for range 2 {
		r.reopen(t)
		r.rollUp(t)
		for _, one := range r.hosts {
			require.Positive(t, r.check(t, one, base))
		}
		r.check(t, h, began.Add(11*time.Minute))
		r.clock = right.Add(23 * time.Hour)
	}
}

// takesBack has a clock that is a month ahead be believed, as where an agent of the same machine confirms it, and be right again.
func takesBack(t *testing.T, r *rollups) {
	h, other := r.addHost(t), r.addHost(t)
	r.sendUntilNow(t, h)
	r.sendUntilNow(t, other)
	r.rollUp(t)
	right := r.clock
	r.clock = right.Add(30 * 24 * time.Hour)
	r.rollUp(t)
	require.Zero(t, r.count(t, storage.Raw), "they are gone for good")
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	// What comes at the right time is late. In the minute of the oldest sample that is there others may be missing, so none is before the first.
	for n := range 60 {
		r.send(t, h, sampleAt(right.Add(time.Duration(n)*time.Minute), n))
	}
	r.clock = right.Add(2 * time.Hour)
	for n := range 60 {
		r.send(t, other, sampleAt(right.Add(time.Hour+time.Duration(n)*time.Minute-time.Second), n))
	}
	r.rollUp(t)
	r.clock = r.clock.Add(10 * time.Minute)
	for range 2 {
		r.rollUp(t)
		for _, one := range r.hosts {
			require.Positive(t, r.check(t, one, base))
		}
		require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	}
	require.GreaterOrEqual(t, r.count(t, storage.Minute), 2*72+60+57)
	for n := range 60 {
		r.send(t, h, sampleAt(r.clock.Add(time.Duration(n)*time.Minute), n))
	}
	r.clock = right.Add(27 * time.Hour)
	r.rollUp(t)
	for _, one := range r.hosts {
		require.Positive(t, r.check(t, one, base))
	}
	require.Equal(t, storage.Day.Floor(r.clock), r.until(t, storage.Day))
}

package storagetest

import (
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

	// A sample says so at once.
	r.send(t, h, sampleAt(r.clock.Add(-time.Minute), 3))
	r.clock = r.clock.Add(30 * 24 * time.Hour)
	other := r.addHost(t)
	r.send(t, other, sampleAt(r.clock.Add(-time.Minute), 3))
	r.reopen(t)
	r.rollUp(t)
	require.Equal(t, r.clock.Add(-storage.RollupLag), r.until(t, storage.Minute))
	require.Equal(t, 1, r.count(t, storage.Raw))
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

package live

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// restart begins a new window, as a server that starts.
func (r *recentRig) restart() {
	options := r.recent.options
	options.Registerer = nil
	var err error
	r.recent, err = NewRecent(r.t.Context(), options)
	require.NoError(r.t, err)
}

// pass lets time pass while each host sends.
func (r *recentRig) pass(samples int) {
	for range samples {
		r.send()
		r.clock.time = r.clock.time.Add(10 * time.Second)
	}
}

// elsewhere has another server store the next batch of a host.
func (r *recentRig) elsewhere(host storage.HostID) {
	_, err := r.store.Append(r.t.Context(), []*storage.Batch{r.batch(host)})
	require.NoError(r.t, err)
}

// afterLook is the store while something is done after each look at positions.
type afterLook struct {
	Stored
	do func()
}

func (a afterLook) Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error) {
	positions, err := a.Stored.Positions(ctx, hosts)
	a.do()
	return positions, err
}

func (r *recentRig) stored() Stored { return r.store.(Stored) }

// TestRefillKeepsTheQueueByAge: what goes first over the budget is the oldest, whenever it was read.
func TestRefillKeepsTheQueueByAge(t *testing.T) {
	r := newRecentRig(t, 3, RecentOptions{Window: time.Hour, Bytes: 1 << 20, Ahead: time.Minute})
	later := r.hosts[2]
	r.hosts = r.hosts[:2]
	r.pass(2 * pageRows)
	r.restart()
	r.hosts = append(r.hosts, later) // it is new, so that its window is complete
	r.pass(2 * pageRows)
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	r.pass(2 * pageRows)
	pages, before := int64(0), int64(0)
	for page := r.recent.oldest; page != nil; page = page.younger {
		require.GreaterOrEqual(t, page.opened, before)
		before = page.opened
		pages++
	}
	require.Equal(t, r.recent.pages-int64(len(r.recent.spare)), pages)
	require.GreaterOrEqual(t, pages, int64(2*6+4))
	for _, id := range r.hosts {
		h := r.recent.hosts[id]
		last := h.first
		for last.later != nil {
			last = last.later
		}
		require.Same(t, h.last, last)
	}
	count, _ := r.points(r.hosts...)
	require.Equal(t, (2*6+4)*pageRows, count)
}

func TestRefillReadsTheWholeWindow(t *testing.T) {
	r := newRecentRig(t, 2, RecentOptions{Window: time.Hour, Bytes: 1 << 20, Ahead: 10 * time.Minute, Registerer: prometheus.NewRegistry()})
	r.pass(100)
	r.elsewhere(r.hosts[0])
	r.restart()
	count, _ := r.points(r.hosts...)
	require.Zero(t, count)
	r.elsewhere(r.hosts[1])
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	count, border := r.points(r.hosts...)
	require.Equal(t, 202, count)
	require.Equal(t, r.clock.time.Add(10*time.Second-time.Hour), border)
	r.pass(10)
	count, _ = r.points(r.hosts...)
	require.Equal(t, 220, count, "two of them in one bucket")
	require.NoError(t, r.recent.Refill(t.Context(), afterLook{r.stored(), func() { t.Error("there is nothing to read") }}))
}

func TestRefillHoldsTheBudget(t *testing.T) {
	r := newRecentRig(t, 2, RecentOptions{Window: time.Hour, Bytes: 6 * pageBytes})
	r.pass(4 * pageRows)
	want, from := r.points(r.hosts...)
	require.Equal(t, 2*3*pageRows, want)
	r.restart()
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	require.Equal(t, int64(6), r.recent.pages)
	count, border := r.points(r.hosts...)
	require.Equal(t, want, count, "the newest of both hosts, as if there had been no restart")
	require.Equal(t, from, border)
	r.pass(2 * pageRows)
	count, border = r.points(r.hosts...)
	require.Equal(t, want, count)
	require.Equal(t, from.Add(2*pageRows*10*time.Second), border)

	r.recent.options.Bytes = 0
	r.restart()
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	require.Zero(t, r.recent.pages)
	count, _ = r.points(r.hosts...)
	require.Zero(t, count)
}

func TestRefillOfAHostThatStoresMeanwhileIsTriedAgain(t *testing.T) {
	for look := range 2 {
		r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
		r.pass(10)
		r.restart()
		looks := 0
		require.NoError(t, r.recent.Refill(t.Context(), afterLook{r.stored(), func() {
			if looks++; looks == look+1 {
				r.send()
			}
		}}))
		require.Equal(t, 4, looks)
		count, _ := r.points(r.hosts[0])
		require.Equal(t, 11, count)
	}
	r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	r.pass(10)
	r.restart()
	require.NoError(t, r.recent.Refill(t.Context(), afterLook{r.stored(), r.send}))
	count, _ := r.points(r.hosts[0])
	require.Zero(t, count, "it stores all the time")
}

// TestRefillDoesNotTrustABatchOnItsWay: what is read may have it already, and another server's may hide that.
func TestRefillDoesNotTrustABatchOnItsWay(t *testing.T) {
	r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	r.pass(10)
	r.restart()
	batches := []*storage.Batch{r.batch(r.hosts[0])}
	r.recent.Begin(batches)
	outcomes, err := r.store.Append(t.Context(), batches)
	require.NoError(t, err)
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	r.recent.End(batches, outcomes)
	r.elsewhere(r.hosts[0])
	count, _ := r.points(r.hosts[0])
	require.Zero(t, count)
	require.NoError(t, r.recent.Refill(t.Context(), r.stored()))
	count, _ = r.points(r.hosts[0])
	require.Equal(t, 11, count, "ten, and two in one bucket")
}

func TestRefillFailsWithTheDatabase(t *testing.T) {
	r := newRecentRig(t, 1, RecentOptions{Window: time.Hour, Bytes: 1 << 20})
	r.pass(10)
	r.restart()
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, r.recent.Refill(ctx, afterLook{r.stored(), cancel}), context.Canceled)
	count, _ := r.points(r.hosts[0])
	require.Zero(t, count)
}

// BenchmarkRefill is an hour of 64 hosts at 10 s, in SQLite.
func BenchmarkRefill(b *testing.B) {
	r := newRecentRig(b, refillHosts, RecentOptions{Window: time.Hour, Bytes: 1 << 30})
	r.pass(360)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r.restart()
		hosts := r.recent.incomplete()
		b.StartTimer()
		left, err := r.recent.refill(b.Context(), r.stored(), hosts)
		require.NoError(b, err)
		require.Empty(b, left)
	}
}

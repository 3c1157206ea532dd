package storagetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

func retains(t *testing.T, r *rollups) {
	h := r.addHost(t)
	for n := range 100 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*40*time.Minute), n))
	}
	r.rollUp(t)
	count := func(resolution storage.Resolution) int {
		return len(r.Select(t, "SELECT host_id FROM "+resolution.Relation(catalogue.Host())))
	}
	minutes, days := count(storage.Minute), count(storage.Day)
	require.Equal(t, []int{100, 100, 2}, []int{count(storage.Raw), minutes, days}, "two of three days are over")
	// Nothing is gone before it is rolled up to the next resolution, however late that is.
	r.clock = base.Add(storage.DefaultRetention.Raw + 10*24*time.Hour)
	r.rollUp(t)
	require.Zero(t, count(storage.Raw))
	require.Equal(t, 3, count(storage.Day))
	require.Equal(t, minutes, count(storage.Minute))
	require.Positive(t, r.check(t, h, base))
	// What comes for a time of which the samples are gone changes nothing.
	r.send(t, h, sampleAt(base.Add(time.Minute), 5))
	delete(h.samples, base.Add(time.Minute).UnixMilli())
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
	r.clock = base.Add(storage.DefaultRetention.Minute + 10*24*time.Hour)
	r.rollUp(t)
	require.Zero(t, count(storage.Minute))
	require.Positive(t, count(storage.Hour))
	r.clock = base.Add(storage.DefaultRetention.Hour + 90*24*time.Hour)
	r.rollUp(t)
	require.Zero(t, count(storage.Hour))
	require.Equal(t, 3, count(storage.Day))
}

// retainsLonger drops the samples of a day, keeps them longer then, and has one come for that day: a bucket made of it alone would be wrong.
func retainsLonger(t *testing.T, r *rollups) {
	h := r.addHost(t)
	for n := range 200 {
		r.send(t, h, sampleAt(base.Add(time.Duration(n)*13*time.Minute), n))
	}
	r.clock = base.Add(storage.DefaultRetention.Raw + 3*24*time.Hour)
	r.rollUp(t)
	require.Empty(t, r.Select(t, "SELECT host_id FROM host_samples"))
	require.NoError(t, r.store.Close())
	options := r.options()
	options.Retention = &storage.Retention{Raw: 30 * 24 * time.Hour, Minute: 90 * 24 * time.Hour}
	r.store = r.Open(t, options)
	r.send(t, h, sampleAt(base.Add(13*time.Minute+time.Second), 5))
	delete(h.samples, base.Add(13*time.Minute+time.Second).UnixMilli())
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
	r.send(t, h, sampleAt(r.clock.Add(-time.Hour), 7)) // what is kept is made anew as ever
	r.rollUp(t)
	require.Positive(t, r.check(t, h, base))
}

func ephemeral(t *testing.T, r *rollups) {
	for _, family := range catalogue.Families() {
		if storage.RolledUp(family) {
			require.Empty(t, r.Select(t, "SELECT host_id FROM "+storage.Day.Relation(family)))
		} else {
			require.Equal(t, "process", family.Name)
		}
	}
}

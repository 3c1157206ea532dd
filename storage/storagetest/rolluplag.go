package storagetest

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// lags are what the metrics say: by resolution, in seconds, and how many rounds failed.
type lags struct{ minute, hour, day, failures float64 }

func (r *rollups) lags(t *testing.T) (l lags) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(r.store.RollupWatch()))
	families, err := registry.Gather()
	require.NoError(t, err)
	place := map[string]*float64{"1m": &l.minute, "1h": &l.hour, "1d": &l.day}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "gohub_rollup_failures_total" {
				l.failures = metric.GetCounter().GetValue()
				continue
			}
			require.Equal(t, "gohub_rollup_lag_seconds", family.GetName())
			*place[metric.GetLabel()[0].GetValue()] = metric.GetGauge().GetValue()
		}
	}
	return l
}

// lag has samples of three days up to half a minute ago, then rolled up to the end of the last.
func lag(t *testing.T, r *rollups) {
	r.rollUp(t)
	require.Equal(t, lags{}, r.lags(t), "nothing waits where nothing is")
	h := r.addHost(t)
	r.sendUntilNow(t, h)
	require.Equal(t, lags{}, r.lags(t), "nothing is read for a scrape")
	r.rollUp(t)
	require.Equal(t, lags{minute: 120, hour: 3600, day: 86400}, r.lags(t))
	r.clock = r.clock.Add(5 * time.Minute)
	require.Equal(t, lags{minute: 420, hour: 3900, day: 86700}, r.lags(t))
	r.rollUp(t)
	require.Equal(t, lags{}, r.lags(t), "the minute, hour and day of the last sample are over and rolled up")
	r.send(t, h, sampleAt(r.clock.Add(-4*time.Minute), 9))
	r.rollUp(t)
	require.Equal(t, lags{hour: 300, day: 300}, r.lags(t), "its minute is over, its hour is not")
}

// sendUntilNow sends three days of samples, the last half a minute ago.
func (r *rollups) sendUntilNow(t *testing.T, h *rollupHost) {
	for at := base; at.Before(r.clock); at = at.Add(time.Hour) {
		r.send(t, h, sampleAt(at, 7))
	}
	r.send(t, h, sampleAt(r.clock.Add(-30*time.Second), 8))
}

// RunFailingRollups has the step to hours fail from breaks until mends, and the database be away in the end.
func RunFailingRollups(t *testing.T, database Database, breaks, mends func(storage.Store)) {
	r := &rollups{Database: database, clock: base.Add(72 * time.Hour)}
	r.store = r.Open(t, r.options())
	defer func() { require.NoError(t, r.store.Close()) }()
	h := r.addHost(t)
	r.sendUntilNow(t, h)
	r.rollUp(t)
	breaks(r.store)
	for failures := range 3 {
		r.clock = r.clock.Add(2 * time.Hour)
		r.send(t, h, sampleAt(r.clock.Add(-time.Second), 9))
		require.ErrorContains(t, r.store.RollUp(t.Context()), "1h")
		behind := float64(2 * (failures + 1) * 3600)
		require.Equal(t, lags{120, 3600 + behind, 86400 + behind, float64(failures + 1)}, r.lags(t), "minutes go on, hours fall behind")
	}
	mends(r.store)
	r.rollUp(t)
	require.Equal(t, lags{120, 3600, 6 * 3600, 3}, r.lags(t))
	require.Positive(t, r.check(t, h, base))

	require.NoError(t, r.store.Close())
	r.clock = r.clock.Add(time.Minute)
	require.Error(t, r.store.RollUp(t.Context()))
	require.Equal(t, lags{180, 3660, 6*3600 + 60, 4}, r.lags(t), "what was known last ages")
	r.store = r.Open(t, r.options())
}

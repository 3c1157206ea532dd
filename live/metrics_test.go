package live

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

func TestHubMetricsAreLintClean(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s, _ := newTestState()
	NewHub(s, HubOptions{Registerer: registry})
	gathered, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(gathered).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	var names strings.Builder
	for _, family := range gathered {
		names.WriteString(family.GetName() + " ")
	}
	require.Equal(t, "gohub_live_bytes_total gohub_live_closed_total gohub_live_conflated_total gohub_live_lag_seconds "+
		"gohub_live_messages_total gohub_live_refused_total gohub_live_viewers ", names.String())
}

func TestLagIsFromReceiptToWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		r.observe(1, 1)
		r.tick()
		c := r.connect()
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3)
		time.Sleep(time.Second)
		r.state.SetHost(testHost(2, "renamed")) // tells of no sample
		r.tick()
		c.delta(1, 2)
		r.observe(1, 2)
		time.Sleep(7 * time.Millisecond) // of the bubble's clock
		r.tick()
		c.delta(2, 1)
		synctest.Wait()
		var out dto.Metric
		require.NoError(t, r.hub.metrics.lag.Write(&out))
		require.Equal(t, uint64(1), out.GetHistogram().GetSampleCount())
		require.InDelta(t, 0.007, out.GetHistogram().GetSampleSum(), 1e-9)
	})
}

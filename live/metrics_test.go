package live

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
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
	require.Equal(t, "gohub_live_bytes_total gohub_live_closed_total gohub_live_conflated_total "+
		"gohub_live_messages_total gohub_live_viewers ", names.String())
}

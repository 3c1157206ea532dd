package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestMetricsOfHostsAreTogetherOrApart(t *testing.T) {
	state := live.NewState(time.Now)
	sample, err := catalogue.FromProto(&gohubv1.Sample{TimeUnixMillis: time.Now().UnixMilli(), Host: &gohubv1.HostMetrics{}})
	require.NoError(t, err)
	state.Observe(1, sample, time.Now())
	own := prometheus.NewRegistry()
	own.MustRegister(newBuildInfo())

	for setting, together := range map[string]bool{metricsTogether: true, metricsSeparate: false} {
		app := &App{log: slog.New(slog.DiscardHandler), exposition: live.NewExposition(state, live.ExpositionOptions{})}
		app.config.MetricsHosts = setting
		recorder := httptest.NewRecorder()
		app.metricsHandler(own).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		text, err := io.ReadAll(recorder.Body)
		require.NoError(t, err)
		require.Contains(t, string(text), "gohub_build_info{")
		require.Equal(t, together, strings.Contains(string(text), "gohub_host_up{"), setting)
	}

	config := defaultConfig()
	config.MetricsHosts = "apart"
	require.ErrorContains(t, config.check(), `metrics_hosts is "apart"; allowed are together, separate`)
}

// TestMetricsTellOfRollups asks a running server, which rolls up by itself.
func TestMetricsTellOfRollups(t *testing.T) {
	address := startApp(t)
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + address + "/metrics")
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return strings.Contains(string(text), `gohub_rollup_lag_seconds{resolution="1d"} 0`) && strings.Contains(string(text), "gohub_rollup_failures_total 0")
	}, 10*time.Second, 10*time.Millisecond)
}

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

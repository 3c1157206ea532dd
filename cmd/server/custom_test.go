package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gohub-io/gohub/agent"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestCustomMetricsFromAFileAndASocketToEveryFace runs a real agent, which reads a text file and listens on a socket, and a
// server on each database, and asks everywhere that a custom metric is shown.
func TestCustomMetricsFromAFileAndASocketToEveryFace(t *testing.T) {
	for database, prepare := range map[string]func(*Config){
		"sqlite":      func(*Config) {},
		"timescaledb": func(c *Config) { c.DatabaseURL = storagetest.DatabaseURL(t) },
	} {
		t.Run(database, func(t *testing.T) {
			config := defaultConfig()
			config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
			prepare(&config)
			app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			begin(t, app.Run)
			directory := t.TempDir()
			socket := filepath.Join(directory, "custom.sock")
			require.NoError(t, os.WriteFile(filepath.Join(directory, "backup.prom"), []byte("backup_age_seconds{job=\"db\",level=\"full\"} 86400.0000001\nbackup_ok 1\n"), 0o600))
			a, err := agent.New(agent.Options{
				Server: app.GRPCAddr(), AgentID: uuid.NewString(), Interval: agent.MinInterval, BufferBytes: agent.DefaultBufferBytes, DrainTimeout: time.Minute,
				CustomSocket: socket, Sampling: agent.SamplerOptions{TextfileDir: directory}, Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			begin(t, a.Run)
			const patience, often = time.Minute, 50 * time.Millisecond
			require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, patience, often)
			require.Equal(t, "ok\n", tell(t, socket, "queue_length{queue=\"mail\"} 4\nqueue_length{queue=\"print\"} -2.5\n"))
			require.Equal(t, "error: line 1: it has no value\n", tell(t, socket, "queue_length\n"))

			connection, err := grpc.NewClient(app.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			require.NoError(t, err)
			defer connection.Close()
			client := gohubv1.NewQueryServiceClient(connection)
			rangeOf := func(groupBy string, metrics ...string) map[string]float64 {
				request := &gohubv1.QueryRangeRequest{Metrics: metrics, Selector: "*", From: float64(time.Now().Add(-10 * time.Minute).Unix())}
				if groupBy != "" {
					request.GroupBy, request.Aggregate = []string{groupBy}, "max"
				}
				response, err := client.QueryRange(t.Context(), request)
				require.NoError(t, err)
				values := map[string]float64{}
				for _, series := range response.GetSeries() {
					key := series.GetMetric()
					for _, name := range []string{"job", "queue"} {
						key += " " + series.GetLabels()[name]
					}
					values[key] = series.GetMax()[0]
				}
				return values
			}
			require.Eventually(t, func() bool { return len(rangeOf("", "custom:queue_length")) == 2 }, patience, often)
			require.Equal(t, map[string]float64{
				"custom:backup_age_seconds db ": 86400.0000001, "custom:backup_ok  ": 1, `custom:queue_length{queue!="print"}  mail`: 4,
			}, rangeOf("", "custom:backup_age_seconds", "custom:backup_ok", `custom:queue_length{queue!="print"}`))
			require.Equal(t, map[string]float64{"custom:queue_length  mail": 4, "custom:queue_length  print": -2.5}, rangeOf("queue", "custom:queue_length"))

			hosts, err := client.ListHosts(t.Context(), &gohubv1.ListHostsRequest{})
			require.NoError(t, err)
			host, err := client.GetHost(t.Context(), &gohubv1.GetHostRequest{HostId: hosts.GetHosts()[0].GetHostId()})
			require.NoError(t, err)
			shown := map[string]float64{}
			for _, instance := range host.GetHost().GetLatest().GetInstances() {
				if instance.GetFamily() == "custom" {
					shown[instance.GetLabels()["name"]+instance.GetLabels()["labels"]] = instance.GetValues()["custom_value"]
				}
			}
			require.Equal(t, 86400.0000001, shown[`backup_age_seconds{job="db",level="full"}`])
			require.Equal(t, -2.5, shown[`queue_length{queue="print"}`])
			require.Equal(t, 0.0, shown[`gohub_textfile_error{file="backup.prom"}`])

			info, err := client.GetServerInfo(t.Context(), &gohubv1.GetServerInfoRequest{})
			require.NoError(t, err)
			require.Contains(t, strings.ToLower(info.String()), database)
			base := "http://" + app.HTTPAddr()
			for _, path := range []string{"/metrics", "/metrics/hosts"} {
				status, _, text := ask(t, "GET", base+path)
				require.Equal(t, 200, status)
				require.Contains(t, text, `,job="db",level="full"} 86400.0000001`, path)
			}
			status, _, text := ask(t, "GET", base+"/api/v1/range?format=csv&selector=*&metrics="+url.QueryEscape(`custom:queue_length{queue="print",none=""},load1`))
			require.Equal(t, 200, status)
			require.Contains(t, text, "-2.5")
			_, _, text = ask(t, "GET", base+"/api/v1/metrics")
			var catalogue struct {
				Metrics []struct{ Name, Family string }
			}
			require.NoError(t, json.Unmarshal([]byte(text), &catalogue))
			require.Contains(t, catalogue.Metrics, struct{ Name, Family string }{"custom_value", "custom"})
		})
	}
}

// begin runs until the test ends, or calls what it returns, which waits.
func begin(t *testing.T, run func(context.Context) error) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	end = sync.OnceFunc(func() {
		stop()
		require.NoError(t, <-ended)
	})
	t.Cleanup(end)
	return end
}

// tell sends a text over an agent's socket and returns the answer.
func tell(t *testing.T, socket, text string) string {
	t.Helper()
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	defer connection.Close()
	_, err = io.Copy(connection, strings.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, connection.CloseWrite())
	answer, err := io.ReadAll(connection)
	require.NoError(t, err)
	return string(answer)
}

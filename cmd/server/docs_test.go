package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestExamplesOfTheQueriesPages runs every curl command of docs/queries.md and docs/custom-metrics.md against a server.
func TestExamplesOfTheQueriesPages(t *testing.T) {
	directory := t.TempDir()
	fillForExamples(t, directory)
	address := startAppIn(t, directory)
	var pages string
	for _, name := range []string{"queries", "custom-metrics"} {
		page, err := os.ReadFile("../../docs/" + name + ".md")
		require.NoError(t, err)
		pages += string(page)
	}
	run := 0
	for line := range strings.Lines(pages) {
		command, found := strings.CutPrefix(strings.TrimSpace(line), "curl ")
		if !found {
			continue
		}
		run++
		response, err := http.DefaultClient.Do(curl(t, command, address).WithContext(t.Context()))
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, 200, response.StatusCode, "%s\n%s", command, body)
		for _, empty := range []string{`"series":[]`, `"hosts":[]`} {
			require.NotContains(t, string(body), empty, command)
		}
		require.Greater(t, len(strings.TrimSpace(string(body))), 80, "%s\n%s", command, body)
	}
	require.Greater(t, run, 10)
}

// curl makes the request that a command line of curl's would, of those options that the page uses.
func curl(t *testing.T, command, address string) *http.Request {
	method, target, asQuery, header, data := http.MethodGet, "", false, http.Header{}, url.Values{}
	body := ""
	words := split(command)
	for i := 0; i < len(words); i++ {
		value := func() string { i++; return words[i] }
		switch words[i] {
		case "-G":
			asQuery = true
		case "-X":
			method = value()
		case "-H":
			name, content, _ := strings.Cut(value(), ": ")
			header.Set(name, content)
		case "-d", "--data-urlencode":
			body = value()
			name, content, _ := strings.Cut(body, "=")
			data.Add(name, content)
		default:
			target = words[i]
		}
	}
	target = strings.Replace(target, "localhost:7700", address, 1)
	if asQuery {
		target, body = target+"?"+data.Encode(), ""
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	require.NoError(t, err)
	request.Header = header
	return request
}

// split takes a command line apart as a shell does, with single quotes only.
func split(command string) (words []string) {
	var word strings.Builder
	quoted := false
	for _, letter := range command + " " {
		switch {
		case letter == '\'':
			quoted = !quoted
		case letter == ' ' && !quoted:
			if word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(letter)
		}
	}
	return words
}

// fillForExamples stores what the examples ask for: two hosts, now and on two days of 2026.
func fillForExamples(t *testing.T, directory string) {
	store, err := sqlite.Open(directory, storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	for _, name := range []string{"web-1", "web-2"} {
		facts := &gohubv1.HostFacts{Hostname: name, Os: "linux", IntervalMillis: 10_000, Labels: map[string]string{"site": "ams"}}
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: time.Now()})
		var samples []*gohubv1.Sample
		for _, at := range []time.Time{
			time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC), time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC),
			time.Now().Add(-3 * time.Minute), time.Now().Add(-2 * time.Minute), time.Now().Add(-7*24*time.Hour - time.Minute),
		} {
			samples = append(samples, &gohubv1.Sample{
				TimeUnixMillis: at.UnixMilli(),
				Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(50), MemoryUsedPercent: proto.Float32(20), Load1: proto.Float32(1)},
				Customs: []*gohubv1.CustomMetrics{
					{Name: "backup_last_success_seconds", Labels: `{job="db"}`, Value: proto.Float64(1.7e9)}, {Name: "queue_length", Labels: `{queue="mail"}`, Value: proto.Float64(4)},
				},
				Networks: []*gohubv1.NetworkMetrics{{Interface: "eth0", ReceiveBytesPerSecond: proto.Float32(5)}},
			})
		}
		batch := &storage.Batch{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: time.Now(), Rows: storagetest.Rows(host.ID, time.Now(), samples...)}
		_, err := store.Append(t.Context(), []*storage.Batch{batch})
		require.NoError(t, err)
	}
}

// TestRangesStreamOverGRPC asks as a program would, through the authoriser.
func TestRangesStreamOverGRPC(t *testing.T) {
	directory := t.TempDir()
	fillForExamples(t, directory)
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", directory
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
	}()
	connection, err := grpc.NewClient(app.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer connection.Close()
	stream, err := gohubv1.NewQueryServiceClient(connection).QueryRangeStream(ctx, &gohubv1.QueryRangeStreamRequest{
		Query: &gohubv1.QueryRangeRequest{Metrics: []string{"load1"}, Selector: `site="ams"`},
	})
	require.NoError(t, err)
	head, err := stream.Recv()
	require.NoError(t, err)
	require.Equal(t, "raw", head.GetPart().GetSource())
	var names []string
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		for _, series := range part.GetPart().GetSeries() {
			names = append(names, series.GetHostname())
		}
	}
	require.Equal(t, []string{"web-1", "web-2"}, names)
}

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// fillFleet makes hosts known to a server, each with 20 values and four labels, and returns what lets a number of them send again.
func fillFleet(tb testing.TB, app *App, hosts int) (send func(count int)) {
	var samples []*catalogue.Sample
	for i := range 97 {
		x := float32(i) * 1.37
		n := uint64(i) * 123_456_789
		sample, err := catalogue.FromProto(&gohubv1.Sample{Host: &gohubv1.HostMetrics{
			CpuUsagePercent: proto.Float32(x / 1.4), CpuUserPercent: proto.Float32(x / 2), CpuSystemPercent: proto.Float32(x / 3), CpuIowaitPercent: proto.Float32(x / 7),
			Load1: proto.Float32(x / 11), Load5: proto.Float32(x / 13), Load15: proto.Float32(x / 17),
			MemoryTotalBytes: proto.Uint64(16 << 30), MemoryUsedBytes: proto.Uint64(n), MemoryAvailableBytes: proto.Uint64(16<<30 - n),
			MemoryCachedBytes: proto.Uint64(n / 3), MemoryUsedPercent: proto.Float32(x / 1.5),
			FilesystemFullestPercent: proto.Float32(x / 1.7), DisksReadBytesPerSecond: proto.Float32(x * 1e5), DisksWrittenBytesPerSecond: proto.Float32(x * 2e5),
			NetworksReceiveBytesPerSecond: proto.Float32(x * 3e4), NetworksTransmitBytesPerSecond: proto.Float32(x * 4e4),
			TcpConnections: proto.Uint32(uint32(i)), Processes: proto.Uint32(uint32(200 + i)), UptimeSeconds: proto.Uint64(uint64(86_400 + i)),
		}})
		require.NoError(tb, err)
		samples = append(samples, sample)
	}
	for id := range hosts {
		name := fmt.Sprintf("web-%d", id+1)
		app.state.SetHost(storage.Host{ID: storage.HostID(id + 1), AgentID: uuid.NewSHA1(uuid.Nil, []byte(name)), FirstSeen: time.Now(), Facts: &gohubv1.HostFacts{
			Hostname: name, Os: "linux", Platform: "debian", PlatformVersion: "13", KernelVersion: "6.12.0", Arch: "amd64", CpuModel: "Ruby 3",
			CpuCores: 4, MemoryBytes: 16 << 30, AgentVersion: "1.0.0", IntervalMillis: 10_000, BootTimeUnixSeconds: 1773500000,
			Labels: map[string]string{"site": "ams", "role": "web", "rack": fmt.Sprint(id % 40)},
		}})
		app.state.SetLabels(storage.HostID(id+1), map[string]string{"team": "platform"})
	}
	at, millis := 0, time.Now().UnixMilli()
	send = func(count int) {
		for range count {
			sample := samples[at%len(samples)]
			sample.TimeUnixMillis = millis + int64(at)
			app.state.Observe(storage.HostID(at%hosts+1), sample, time.Now())
			at++
		}
	}
	send(hosts)
	return send
}

// unread is a caller's codec that keeps the size of what it gets.
type unread struct{ size int }

func (*unread) Name() string { return grpcproto.Name }

func (*unread) Marshal(message any) (mem.BufferSlice, error) {
	return encoding.GetCodecV2(grpcproto.Name).Marshal(message)
}

func (u *unread) Unmarshal(data mem.BufferSlice, _ any) error {
	u.size = data.Len()
	return nil
}

// BenchmarkLatest asks for the newest values of 4,000 hosts, of which between two questions a second's worth has sent (at an
// interval of 10 s). Both ends run here; what the caller makes of the bytes is left out, but for "decoded".
func BenchmarkLatest(b *testing.B) {
	const hosts = 4000
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", b.TempDir()
	app, err := NewApp(b.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(b, <-ended)
	}()
	send := fillFleet(b, app, hosts)
	connection, err := grpc.NewClient(app.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(b, err)
	defer connection.Close()
	byGRPC := func(selector string, options ...grpc.CallOption) func() int {
		return func() int {
			size := new(unread)
			answer := new(gohubv1.ListHostsResponse)
			options := append(options, grpc.ForceCodecV2(size))
			require.NoError(b, connection.Invoke(ctx, gohubv1.QueryService_ListHosts_FullMethodName, &gohubv1.ListHostsRequest{Selector: selector}, answer, options...))
			return size.size
		}
	}
	byREST := func(selector, encoding string) func() int {
		return func() int {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+app.HTTPAddr()+"/api/v1/hosts?selector="+url.QueryEscape(selector), nil)
			require.NoError(b, err)
			request.Header.Set("Accept-Encoding", encoding)
			response, err := http.DefaultClient.Do(request)
			require.NoError(b, err)
			defer response.Body.Close()
			size, err := io.Copy(io.Discard, response.Body)
			require.NoError(b, err)
			require.Equal(b, 200, response.StatusCode)
			return int(size)
		}
	}
	for _, bench := range []struct {
		name string
		ask  func() int
	}{
		{"gRPC", byGRPC("")},
		{"gRPC-decoded", func() int {
			answer, err := gohubv1.NewQueryServiceClient(connection).ListHosts(ctx, &gohubv1.ListHostsRequest{})
			require.NoError(b, err)
			require.Len(b, answer.GetHosts(), hosts)
			return 0
		}},
		{"gRPC-some", byGRPC(`rack="7"`)},
		{"REST", byREST("", "identity")},
		{"REST-gzip", byREST("", "gzip")},
		{"REST-some", byREST(`rack="7"`, "identity")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			var took []time.Duration
			for b.Loop() {
				b.StopTimer()
				send(hosts / 10)
				b.StartTimer()
				begin := time.Now()
				size = bench.ask()
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(size), "answer-bytes")
		})
	}
}

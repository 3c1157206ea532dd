package live

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// BenchmarkFleetLatency has 1,000 viewers of the fleet, over TCP, and 2,000 hosts that send every ten seconds, at random, for some
// seconds. It tells how long it took from a sample's receipt until a viewer had read it, at the median and for one in a hundred.
// The viewers run in the same process and share its processors.
func BenchmarkFleetLatency(b *testing.B) {
	const hosts, viewers, interval, lasting = 2000, 1000, 10 * time.Second, 5 * time.Second
	for _, protocol := range []string{protocolJSON, protocolBinary} {
		b.Run(protocol, func(b *testing.B) {
			state := benchState(hosts, &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host})
			hub := NewHub(state, HubOptions{})
			ctx, stop := context.WithCancel(b.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = hub.Run(ctx) })
			server := httptest.NewServer(hub)
			defer server.Close()
			var latencies [][]time.Duration
			var mu sync.Mutex
			var read int64
			for i := range viewers {
				dialer := ws.Dialer{Protocols: []string{protocol}, Header: ws.HandshakeHeaderHTTP(http.Header{})}
				conn, buffered, _, err := dialer.Dial(ctx, "ws"+server.URL[len("http"):])
				require.NoError(b, err)
				require.Nil(b, buffered)
				_, err = conn.Write(text(`{"fleet":{"metrics":["cpu_usage_percent","memory_used_percent","load1"]}}`))
				require.NoError(b, err)
				running.Go(func() {
					defer func() { _ = conn.Close() }()
					source := bufio.NewReader(conn)
					var mine []time.Duration
					var bytesRead int64
					measured := i%50 == 0 && protocol == protocolJSON
					for {
						header, err := ws.ReadHeader(source)
						if err != nil || header.OpCode == ws.OpClose {
							break
						}
						bytesRead += header.Length
						if !measured {
							_, _ = io.CopyN(io.Discard, source, header.Length)
							continue
						}
						payload := make([]byte, header.Length)
						_, _ = io.ReadFull(source, payload)
						if !bytes.Contains(payload, []byte(`"delta"`)) {
							continue
						}
						message := new(gohubv1.LiveMessage)
						if protojson.Unmarshal(payload, message) == nil {
							for _, h := range message.GetDelta().GetHosts() {
								mine = append(mine, time.Since(h.GetLatest().GetTime().AsTime()))
							}
						}
					}
					mu.Lock()
					defer mu.Unlock()
					latencies, read = append(latencies, mine), read+bytesRead
				})
			}
			require.Eventually(b, func() bool { return value(hub.metrics.messages) >= viewers }, time.Minute, time.Millisecond)
			samples := make([]*gohubv1.Sample, 16)
			for i := range samples {
				samples[i] = &gohubv1.Sample{Host: fullSample(epoch).Host}
			}
			before, cpuBefore, begin := value(hub.metrics.messages), cpuTime(), time.Now()
			next := flat(samples[0])
			for i := 0; time.Since(begin) < lasting; i++ {
				now := time.Now()
				next.TimeUnixMillis = now.UnixMilli()
				state.Observe(storage.HostID(i*7%hosts+1), next, now)
				time.Sleep(time.Until(begin.Add(time.Duration(i+1) * interval / hosts)))
			}
			elapsed := time.Since(begin)
			written, cpu := value(hub.metrics.messages)-before, cpuTime()-cpuBefore
			stop()
			running.Wait()
			all := slices.Concat(latencies...)
			slices.Sort(all)
			b.ReportMetric(written/elapsed.Seconds(), "frames/s")
			b.ReportMetric(cpu.Seconds()/elapsed.Seconds(), "cpus")
			b.ReportMetric(float64(read)/viewers, "bytes/viewer")
			if len(all) > 0 {
				b.ReportMetric(all[len(all)/2].Seconds()*1e3, "p50-ms")
				b.ReportMetric(all[len(all)*99/100].Seconds()*1e3, "p99-ms")
			}
			b.ReportMetric(value(hub.metrics.conflated), "conflated")
		})
	}
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

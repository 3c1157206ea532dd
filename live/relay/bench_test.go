package relay

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/live/relay/relaytest"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// usualSample is of a small machine: every metric, and a few instances.
func usualSample(at time.Time) *catalogue.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli()}
	storagetest.Fill(sample)
	for i := range 8 {
		sample.Cores = append(sample.Cores, &gohubv1.CoreMetrics{Core: fmt.Sprint(100 + i), UsagePercent: proto.Float32(float32(i))})
		sample.Processes = append(sample.Processes, &gohubv1.ProcessMetrics{Pid: fmt.Sprint(1000 + i), Name: "postgres", Username: "postgres", CpuPercent: proto.Float32(1)})
	}
	return storagetest.Flat(sample)
}

// BenchmarkObserve is what a sample costs ingest, in a cluster and without one; the goroutine that sends works beside it.
func BenchmarkObserve(b *testing.B) {
	state := live.NewState(nil)
	observe := func(b *testing.B, observe func(storage.HostID, *catalogue.Sample, time.Time)) {
		now := time.Now()
		sample := usualSample(now)
		b.SetBytes(int64(len(sample.Wire())))
		b.ReportAllocs()
		for b.Loop() {
			observe(1, sample, now)
		}
	}
	b.Run("alone", func(b *testing.B) { observe(b, state.Observe) })
	b.Run("cluster", func(b *testing.B) {
		r, err := Open(Options{State: state, URL: relaytest.Bus(b), Database: "benchmark", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		defer r.Close()
		go func() { // what is taken is not sent: the bus is not what is measured
			var messages [][]byte
			for range r.outgoing.wake {
				messages, _, _ = r.outgoing.take(messages)
				for _, message := range messages {
					r.outgoing.done(message)
				}
			}
		}()
		defer close(r.outgoing.wake)
		observe(b, r.Observe)
	})
}

// BenchmarkPages is how long a server takes to have all of 5,000 hosts of another one, over NATS on this machine.
func BenchmarkPages(b *testing.B) {
	bus := relaytest.Bus(b)
	const hosts = 5000
	open := func() *Relay {
		r, err := Open(Options{State: live.NewState(nil), URL: bus, Database: "benchmark", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		b.Cleanup(r.Close)
		return r
	}
	from, to := open(), open()
	now := time.Now()
	sample := usualSample(now)
	for id := range storage.HostID(hosts) {
		from.state.SetHost(storage.Host{ID: id + 1, AgentID: uuid.New(), Facts: &gohubv1.HostFacts{Hostname: fmt.Sprint("web-", id), IntervalMillis: 10_000}})
		from.state.Observe(id+1, sample, now)
	}
	pages, err := from.bus.Subscribe(from.subjects.pagesOf(from.id), from.answer)
	require.NoError(b, err)
	defer func() { require.NoError(b, pages.Unsubscribe()) }()
	require.NoError(b, from.bus.Flush())
	for b.Loop() {
		require.NoError(b, to.readPages(b.Context(), &peer{id: from.id, live: to.state.NewPeer()}))
	}
	require.Len(b, to.state.Identities(), hosts)
}

package ingest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// takeMessages returns a function that has a stream take one message after the other, each with so many samples of a full
// host row, and empties the ring behind it.
func takeMessages(tb testing.TB, samples int) func() {
	f := startBare(tb)
	s := f.session(uuid.New())
	batch := &gohubv1.Batch{AgentId: s.agentID, Epoch: s.epoch, Seq: 1}
	now := f.server.options.Now()
	for i := range samples {
		sample := &gohubv1.Sample{TimeUnixMillis: now.UnixMilli() + int64(i)}
		storagetest.Fill(sample)
		batch.Samples = append(batch.Samples, &gohubv1.Sample{TimeUnixMillis: sample.TimeUnixMillis, Host: sample.Host})
	}
	wire, err := proto.Marshal(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
	require.NoError(tb, err)
	s.word = f.server.clock.greet(now.UnixMilli())
	message, released := memory(wire), make([]*entry, 1)
	return func() {
		s.last, s.word.newest = 0, now.UnixMilli()-1
		if err := s.take(message); err != nil {
			tb.Fatal(err)
		}
		e, _ := s.shard.ring.at(0)
		if e.rows != samples {
			tb.Fatalf("%d rows of %d", e.rows, samples)
		}
		s.shard.free(1)
		released[0] = e
		f.flusher.release(released)
	}
}

func TestTakingAMessageAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	take := takeMessages(t, 10)
	take()
	require.Zero(t, testing.AllocsPerRun(100, take))
}

// BenchmarkTake measures what the server does with a row, from the message as gRPC hands it over to finished tuples in the
// ring and their release.
func BenchmarkTake(b *testing.B) {
	for name, samples := range map[string]int{"single": 1, "batched": 10} {
		b.Run(name, func(b *testing.B) {
			take := takeMessages(b, samples)
			b.ReportAllocs()
			for b.Loop() {
				take()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/row")
		})
	}
}

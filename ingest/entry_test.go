package ingest

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// takeRejected has a stream take a batch whose samples are all empty, and so all rejected.
func takeRejected(t *testing.T, f *bare, samples int) *entry {
	t.Helper()
	s := f.session(uuid.New())
	batch := &gohubv1.Batch{AgentId: s.agentID, Epoch: s.epoch, Seq: 1, Samples: make([]*gohubv1.Sample, samples)}
	fill(batch.Samples)
	batch.Gaps = []*gohubv1.Gap{{FromUnixMillis: 1, ToUnixMillis: 2}}
	wire, err := proto.Marshal(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
	require.NoError(t, err)
	require.NoError(t, s.take(memory(wire)))
	e, _ := s.shard.ring.at(s.shard.ring.depth() - 1)
	require.Len(t, e.batch.Rejected, samples)
	return e
}

func TestRejectedSamplesAndGapsAreInTheBudgets(t *testing.T) {
	f := startBare(t)
	e := takeRejected(t, f, maxSamplesPerBatch)
	reason := e.batch.Rejected[0].Reason
	for _, one := range e.batch.Rejected {
		require.Same(t, unsafe.StringData(reason), unsafe.StringData(one.Reason), "samples with one reason share its text")
	}
	least := int64(maxSamplesPerBatch*(int(unsafe.Sizeof(storage.Rejected{}))+len(reason))) + gapBytes
	require.Greater(t, e.bytes, least)
	require.Equal(t, e.bytes, f.server.budget.used.Load())
	require.Equal(t, e.bytes, e.from.budget.used.Load())
	f.flusher.release([]*entry{e})
	require.Zero(t, f.server.budget.used.Load())
}

func TestFlushIsBoundedByWhatGoesToQuarantine(t *testing.T) {
	f := startBare(t)
	for range 3 {
		takeRejected(t, f, maxSamplesPerBatch)
	}
	gathered := f.server.shards[0].gather(context.Background(), nil, newGathering(maxSamplesPerBatch, 16, time.Hour))
	require.Len(t, gathered, 1)
}

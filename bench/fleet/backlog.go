package fleet

import (
	"context"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// How a live agent catches up, as real ones do.
const (
	// backlogFrom is how many batches may wait to be sent singly; with more they go together.
	backlogFrom = 16
	// backlogBytes is how much goes into a Backlog, before compression: the server decompresses few at a time.
	backlogBytes = 128 << 10
	// mostBacklogs may be unacknowledged at a time.
	mostBacklogs = 4
)

// The numbers of the contract's fields.
const (
	requestBacklog                = 3
	backlogZstd, batchesBatches   = 1, 1
	previewAgentID, previewSample = 1, 2
)

// span is the sequence numbers of the batches in a Backlog that is on the way.
type span struct{ first, last uint64 }

// outgoing is what an agent sends next: a message that is encoded, or the batches of a backlog.
type outgoing struct {
	wire    []byte
	backlog [][]byte
}

// show has a sample shown, in the place of one that waits for it.
func (a *agent) show(sample []byte) {
	select {
	case <-a.fresh:
	default:
	}
	select {
	case a.fresh <- sample:
	default:
	}
}

// previews shows samples before their turn, by calls beside the stream, until ctx ends.
func (a *agent) previews(ctx context.Context, connection grpc.ClientConnInterface) {
	for {
		select {
		case sample := <-a.fresh:
			body := protowire.AppendTag(nil, previewAgentID, protowire.BytesType)
			body = protowire.AppendString(body, a.host.ID().String())
			body = protowire.AppendTag(body, previewSample, protowire.BytesType)
			body = protowire.AppendBytes(body, sample)
			// A failure does not matter: the sample comes again in its batch.
			if connection.Invoke(ctx, gohubv1.IngestService_Preview_FullMethodName, body, &nothing{}, grpc.ForceCodecV2(codec{})) == nil {
				a.fleet.previews.Add(1)
			}
		case <-ctx.Done():
			return
		}
	}
}

// pack takes the next batches for a Backlog, at least one. The caller holds mu.
func (a *agent) pack() [][]byte {
	var batches [][]byte
	first, size := a.queue[a.sent].seq, 0
	for a.sent < len(a.queue) {
		one := &a.queue[a.sent]
		if size += len(one.wire); size > backlogBytes && len(batches) > 0 {
			break
		}
		batches = append(batches, one.wire)
		a.count(one.seq)
		a.sent++
	}
	a.backlogs = append(a.backlogs, span{first: first, last: a.queue[a.sent-1].seq})
	return batches
}

// singles is how many batches are on the way outside of backlogs. The caller holds mu.
func (a *agent) singles() int {
	n := a.sent
	for _, one := range a.backlogs { // an agent leaves out no sequence number
		n -= int(one.last - max(one.first, a.queue[0].seq) + 1)
	}
	return n
}

// encode makes the message, which for a backlog is work: not under the agent's lock, or its samples would be late.
func (f *Fleet) encode(out outgoing) []byte {
	switch {
	case out.backlog != nil:
		f.backlogs.Add(1)
		batches := make([]byte, 0, backlogBytes)
		for _, wire := range out.backlog {
			batches = protowire.AppendTag(batches, batchesBatches, protowire.BytesType)
			batches = protowire.AppendBytes(batches, payload(wire))
		}
		body := protowire.AppendTag(nil, backlogZstd, protowire.BytesType)
		body = protowire.AppendBytes(body, f.compressor.EncodeAll(batches, make([]byte, 0, len(batches)/2)))
		return protowire.AppendBytes(protowire.AppendTag(nil, requestBacklog, protowire.BytesType), body)
	default:
		return out.wire
	}
}

// newCompressor makes the one that all agents share; it compresses as many backlogs at a time as there are processors.
func newCompressor() *zstd.Encoder {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err) // the options are fixed
	}
	return encoder
}

// payload is the message in a StreamRequest that this package has made.
func payload(wire []byte) []byte {
	_, _, n := protowire.ConsumeTag(wire)
	body, _ := protowire.ConsumeBytes(wire[n:])
	return body
}

// newestSample is the last Sample in a StreamRequest with a batch that this package has made.
func newestSample(wire []byte) (sample []byte) {
	for batch := payload(wire); len(batch) > 0; {
		number, wireType, n := protowire.ConsumeTag(batch)
		batch = batch[n:]
		length := protowire.ConsumeFieldValue(number, wireType, batch)
		if number == batchSample {
			sample, _ = protowire.ConsumeBytes(batch)
		}
		batch = batch[length:]
	}
	return sample
}

package ingest

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Codec returns gRPC's codec for protobuf, which besides decodes what agents send straight into flat samples: the
// generated type costs an allocation a value. All services of a gRPC server may use it.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, message any) error {
	into, ours := message.(*request)
	if !ours {
		return c.CodecV2.Unmarshal(data, message)
	}
	// The one copy: samples keep parts of it, and gRPC takes its buffers back.
	return into.decode(string(data.Materialize()))
}

// request is a StreamRequest of the contract. At most one of its fields is set.
type request struct {
	hello *gohubv1.Hello
	batch *batchMessage
}

// batchMessage is a Batch of the contract.
type batchMessage struct {
	agentID    string
	epoch, seq uint64
	samples    []*catalogue.Sample
	gaps       []*gohubv1.Gap
	// rows is the number of rows of all samples.
	rows int
}

// The numbers of the contract's fields.
const (
	requestHello, requestBatch                                  = 1, 2
	batchAgentID, batchEpoch, batchSeq, batchSamples, batchGaps = 1, 2, 3, 4, 5
)

var errMalformed = errors.New("malformed protobuf message")

func (r *request) decode(wire string) error {
	*r = request{}
	for len(wire) > 0 {
		field, n := catalogue.Next(wire)
		if n == 0 {
			return errMalformed
		}
		wire = wire[n:]
		if field.Type != protowire.BytesType {
			continue
		}
		switch field.Number {
		case requestHello: // the last field of a oneof wins
			hello := &gohubv1.Hello{}
			if err := proto.Unmarshal([]byte(field.Text), hello); err != nil {
				return fmt.Errorf("decode a hello: %w", err)
			}
			*r = request{hello: hello}
		case requestBatch:
			batch := &batchMessage{}
			if err := batch.decode(field.Text); err != nil {
				return fmt.Errorf("decode a batch: %w", err)
			}
			*r = request{batch: batch}
		}
	}
	return nil
}

func (b *batchMessage) decode(wire string) error {
	for len(wire) > 0 {
		field, n := catalogue.Next(wire)
		if n == 0 {
			return errMalformed
		}
		wire = wire[n:]
		switch {
		case field.Number == batchAgentID && field.Type == protowire.BytesType:
			b.agentID = field.Text
		case field.Number == batchEpoch && field.Type == protowire.VarintType:
			b.epoch = field.Value
		case field.Number == batchSeq && field.Type == protowire.VarintType:
			b.seq = field.Value
		case field.Number == batchSamples && field.Type == protowire.BytesType:
			if len(b.samples) > maxSamplesPerBatch {
				continue // one over is enough to refuse it, and bounds the memory
			}
			sample, err := catalogue.Decode(field.Text)
			if err != nil {
				return err
			}
			if b.rows += sample.Rows(); b.rows > maxRowsPerBatch {
				return fmt.Errorf("a batch of over %d rows", maxRowsPerBatch)
			}
			b.samples = append(b.samples, sample)
		case field.Number == batchGaps && field.Type == protowire.BytesType:
			if len(b.gaps) > maxGapsPerBatch {
				continue
			}
			gap := &gohubv1.Gap{}
			if err := proto.Unmarshal([]byte(field.Text), gap); err != nil {
				return fmt.Errorf("decode a gap: %w", err)
			}
			b.gaps = append(b.gaps, gap)
		}
	}
	return nil
}

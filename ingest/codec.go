package ingest

import (
	"unsafe"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// Codec returns gRPC's codec for protobuf, which besides hands the messages of agents over as they came: they are decoded
// straight into rows, where the generated types would cost an allocation a value. All services of a gRPC server may use it.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, message any) error {
	if raw, ours := message.(*rawMessage); ours {
		raw.buffer = data.MaterializeToBuffer(&buffers)
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

// rawMessage is a message as it came. Who receives it frees it.
type rawMessage struct{ buffer mem.Buffer }

// text is the message as a string without a copy: it may be used for as long as a reference to the buffer is held, and what
// is kept longer must be cloned.
func text(buffer mem.Buffer) string {
	data := buffer.ReadOnlyData()
	return unsafe.String(unsafe.SliceData(data), len(data))
}

// The numbers of the contract's fields.
const (
	requestHello, requestBatch, requestBacklog                                 = 1, 2, 3
	batchAgentID, batchEpoch, batchSeq, batchSamples, batchGaps, batchChecksum = 1, 2, 3, 4, 5, 6
	backlogZstd, batchesBatches                                                = 1, 1
	previewAgentID, previewSample                                              = 1, 2
)

// each calls yield for every field of a message until it fails.
func each(wire string, yield func(catalogue.Field) error) error {
	for len(wire) > 0 {
		field, n := catalogue.Next(wire)
		if n == 0 {
			return catalogue.ErrMalformed
		}
		wire = wire[n:]
		if err := yield(field); err != nil {
			return err
		}
	}
	return nil
}

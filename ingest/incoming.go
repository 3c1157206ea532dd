package ingest

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// MaxMessageBytes bounds a message of an agent. A sample of a large machine is some 100 KiB.
const MaxMessageBytes = 4 << 20

// incoming receives the messages of a stream, one after the other: wait, then read.
//
// It reads from gRPC's transport, past the layers that decompress and decode: a stream that waits within them has a stack of
// 8 KiB, one that waits here of 4. The transport has had these methods for long, but does not promise them. Where it does not
// have them, messages are received as usual.
type incoming struct {
	stream grpc.ServerStream
	direct transport
	header [messageHeader]byte
	// usual is the message that wait has received where there is no direct.
	usual mem.Buffer
}

// transport is what incoming needs of the stream that gRPC's transport has for a call.
type transport interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// messageHeader is a byte that tells whether the message is compressed, and four with its length.
const messageHeader = 5

func newIncoming(stream grpc.ServerStream) incoming {
	direct, _ := grpc.ServerTransportStreamFromContext(stream.Context()).(transport)
	return incoming{stream: stream, direct: direct}
}

// wait returns when a message comes, or with io.EOF when the stream ends. Its other errors are statuses.
func (in *incoming) wait() error {
	if in.direct == nil {
		return in.waitAsUsual()
	}
	return in.direct.ReadMessageHeader(in.header[:])
}

func (in *incoming) waitAsUsual() error {
	message := &rawMessage{}
	err := in.stream.RecvMsg(message)
	in.usual = message.buffer
	return err
}

// read returns the message that has been waited for, which is all there soon. It refuses one over the limit, and takes no memory
// for it. The caller frees the message.
func (in *incoming) read(limit int) (mem.Buffer, error) {
	if in.direct == nil {
		if length := in.usual.Len(); length > limit {
			in.usual.Free()
			return nil, tooLong(length, limit)
		}
		return in.usual, nil
	}
	if in.header[0] != 0 { // gRPC refuses a stream with an encoding, as the server has none
		return nil, status.Error(codes.Internal, "a compressed message on a stream without an encoding")
	}
	length := int(binary.BigEndian.Uint32(in.header[1:]))
	if length > limit {
		return nil, tooLong(length, limit)
	}
	data, err := in.direct.Read(length)
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.Internal, "the stream ended within a message")
	}
	if err != nil {
		return nil, err
	}
	defer data.Free()
	return data.MaterializeToBuffer(&buffers), nil
}

func tooLong(length, limit int) error {
	return status.Errorf(codes.ResourceExhausted, "a message of %d bytes, the limit is %d", length, limit)
}

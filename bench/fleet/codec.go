package fleet

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// codec is a gRPC codec for messages that are encoded already, and for the two answers that an agent gets.
type codec struct{}

// Name implements encoding.CodecV2. The wire format is protobuf's.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for []byte. The bytes are not copied, so they must not change afterwards.
func (codec) Marshal(message any) (mem.BufferSlice, error) {
	wire, ok := message.([]byte)
	if !ok {
		return nil, errors.New("not an encoded message")
	}
	return mem.BufferSlice{mem.SliceBuffer(wire)}, nil
}

// nothing is an answer that says no more than that the call went well.
type nothing struct{}

// answer is a StreamResponse: a welcome, a goodbye, or else an acknowledgement.
type answer struct {
	welcome, goodbye bool
	hostID           uint32
	// seq is the newest sequence number that is stored.
	seq uint64
}

// The numbers of the contract's fields.
const (
	responseWelcome              = 1
	responseGoodbye              = 3
	welcomeHostID, welcomeStored = 1, 2
	ackSeq                       = 2
)

// errGoodbye: the server asked for the end of the stream.
var errGoodbye = errors.New("the server asked the agent to end its stream")

var errAnswer = errors.New("the server's answer is neither a welcome nor an acknowledgement")

// Unmarshal implements encoding.CodecV2 for *answer.
func (codec) Unmarshal(data mem.BufferSlice, message any) error {
	if _, none := message.(*nothing); none {
		return nil
	}
	into, ok := message.(*answer)
	if !ok {
		return errAnswer
	}
	wire := data.Materialize()
	number, wireType, n := protowire.ConsumeTag(wire)
	if n < 0 || wireType != protowire.BytesType {
		return errAnswer
	}
	body, m := protowire.ConsumeBytes(wire[n:])
	if m < 0 {
		return errAnswer
	}
	*into = answer{welcome: number == responseWelcome, goodbye: number == responseGoodbye}
	for len(body) > 0 {
		number, wireType, n := protowire.ConsumeTag(body)
		if n < 0 {
			return errAnswer
		}
		body = body[n:]
		if wireType != protowire.VarintType {
			n = protowire.ConsumeFieldValue(number, wireType, body)
			if n < 0 {
				return errAnswer
			}
			body = body[n:]
			continue
		}
		value, n := protowire.ConsumeVarint(body)
		if n < 0 {
			return errAnswer
		}
		body = body[n:]
		switch {
		case into.welcome && number == welcomeHostID:
			into.hostID = uint32(value)
		case into.welcome && number == welcomeStored, !into.welcome && number == ackSeq:
			into.seq = value
		}
	}
	return nil
}

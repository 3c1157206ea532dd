package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// A request fits into one frame; more pieces than this are not a browser's doing, and empty ones cost no bytes.
const maxFragments = 16

// closing says why the server ends a connection.
type closing struct {
	code   ws.StatusCode
	reason reason
	text   string // for the close frame, at most 123 bytes
}

func (c *closing) Error() string { return c.text }

// incoming is a whole message or a control frame of the viewer.
type incoming struct {
	// op is OpText, OpPing, OpPong or OpClose.
	op ws.OpCode
	// payload is valid until the next read. It is valid UTF-8 for OpText, and for OpClose empty or a valid close body.
	payload []byte
}

// requestReader reads what a viewer sends, within bounds that are checked before anything is allocated.
// One goroutine uses it.
type requestReader struct {
	source io.Reader
	// max bounds a message in bytes.
	max int64

	header  [ws.MaxHeaderSize]byte
	control [ws.MaxControlFramePayloadSize]byte
	// message is the text so far; fragments counts its frames and is 0 between messages.
	message   []byte
	fragments int
}

// next returns the next message or control frame. The error is a *closing where the viewer broke the protocol or a
// bound, and the source's error otherwise; after either the reader is of no more use.
func (r *requestReader) next() (incoming, error) {
	for {
		header, err := ws.ReadHeaderBuffer(r.source, r.header[:])
		switch {
		case errors.Is(err, ws.ErrHeaderLengthMSB), errors.Is(err, ws.ErrHeaderLengthUnexpected):
			return incoming{}, &closing{ws.StatusProtocolError, reasonProtocol, "bad frame length"}
		case err != nil:
			return incoming{}, err
		}
		state := ws.StateServerSide
		if r.fragments > 0 {
			state = state.Set(ws.StateFragmented)
		}
		if err := ws.CheckHeader(header, state); err != nil {
			return incoming{}, &closing{ws.StatusProtocolError, reasonProtocol, err.Error()}
		}
		if header.OpCode.IsControl() {
			return r.readControl(header)
		}
		whole, err := r.readData(header)
		if err != nil {
			return incoming{}, err
		}
		if whole {
			return incoming{ws.OpText, r.message}, nil
		}
	}
}

func (r *requestReader) readControl(header ws.Header) (incoming, error) {
	payload := r.control[:header.Length] // CheckHeader has bounded it
	if err := r.readPayload(payload, header); err != nil {
		return incoming{}, err
	}
	if header.OpCode == ws.OpClose && len(payload) > 0 {
		// Without a second byte there is no code: ParseCloseFrameData then returns 0, which no one may send.
		code, text := ws.ParseCloseFrameData(payload)
		if err := ws.CheckCloseFrameData(code, text); err != nil {
			if errors.Is(err, ws.ErrProtocolInvalidUTF8) {
				return incoming{}, &closing{ws.StatusInvalidFramePayloadData, reasonProtocol, err.Error()}
			}
			return incoming{}, &closing{ws.StatusProtocolError, reasonProtocol, err.Error()}
		}
	}
	return incoming{header.OpCode, payload}, nil
}

// readData adds a frame to the message and tells whether it was the last one.
func (r *requestReader) readData(header ws.Header) (bool, error) {
	if header.OpCode == ws.OpBinary {
		return false, &closing{ws.StatusUnsupportedData, reasonProtocol, "requests are text"}
	}
	if r.fragments == 0 {
		r.message = r.message[:0]
	}
	if header.Length > r.max-int64(len(r.message)) {
		return false, &closing{ws.StatusMessageTooBig, reasonTooBig, fmt.Sprintf("a request has at most %d bytes", r.max)}
	}
	r.fragments++
	if r.fragments > maxFragments {
		return false, &closing{ws.StatusPolicyViolation, reasonTooBig, fmt.Sprintf("a request has at most %d frames", maxFragments)}
	}
	start := len(r.message)
	r.message = append(r.message, make([]byte, header.Length)...)
	if err := r.readPayload(r.message[start:], header); err != nil {
		return false, err
	}
	if !header.Fin {
		return false, nil
	}
	r.fragments = 0
	if !utf8.Valid(r.message) {
		return false, &closing{ws.StatusInvalidFramePayloadData, reasonProtocol, "text is not UTF-8"}
	}
	return true, nil
}

func (r *requestReader) readPayload(payload []byte, header ws.Header) error {
	if _, err := io.ReadFull(r.source, payload); err != nil {
		return err
	}
	ws.Cipher(payload, header.Mask, 0)
	return nil
}

// errMalformed is told to the viewer; protojson's own text is not stable and of little use in a browser.
var errMalformed = errors.New("the request is not a LiveRequest in JSON")

// parseRequest decodes a request. Fields that this version does not know are passed over.
func parseRequest(text []byte) (*gohubv1.LiveRequest, error) {
	request := new(gohubv1.LiveRequest)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, request); err != nil {
		return nil, errMalformed
	}
	if request.Topic == nil {
		return nil, errors.New("the request names no topic")
	}
	return request, nil
}

// closeReply is the frame that answers a close frame: the same code, or none if there was none.
func closeReply(payload []byte) frame {
	return compile(ws.OpClose, bytes.Clone(payload[:min(2, len(payload))]))
}

package live

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// masked is a frame as a client sends it.
func masked(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4})) }

func text(s string) []byte { return masked(ws.NewTextFrame([]byte(s))) }

// piece is a frame of a fragmented message.
func piece(op ws.OpCode, fin bool, s string) []byte { return masked(ws.NewFrame(op, fin, []byte(s))) }

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestRequestReaderPutsMessagesTogether(t *testing.T) {
	stream := join(
		text("one"), text(""),
		piece(ws.OpText, false, "t"), masked(ws.NewPingFrame([]byte("p"))), piece(ws.OpContinuation, false, ""),
		piece(ws.OpContinuation, true, "wo"),
		piece(ws.OpText, false, "\xc3"), piece(ws.OpContinuation, true, "\xa9"),
		masked(ws.NewPongFrame(nil)),
		text(strings.Repeat("x", 64)),
		masked(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))),
	)
	r := &requestReader{source: bytes.NewReader(stream), max: 64}
	for _, want := range []struct {
		op      ws.OpCode
		payload string
	}{
		{ws.OpText, "one"},
		{ws.OpText, ""},
		{ws.OpPing, "p"},
		{ws.OpText, "two"},
		{ws.OpText, "é"},
		{ws.OpPong, ""},
		{ws.OpText, strings.Repeat("x", 64)},
		{ws.OpClose, "\x03\xe8bye"},
	} {
		got, err := r.next()
		require.NoError(t, err)
		require.Equal(t, want.op, got.op)
		require.Equal(t, want.payload, string(got.payload))
	}
	_, err := r.next()
	require.Equal(t, io.EOF, err)
}

// violations are streams that end the connection with a code. The test over TCP has them too.
var violations = []struct {
	name   string
	stream []byte
	code   ws.StatusCode
	reason reason
}{
	{"binary", masked(ws.NewBinaryFrame([]byte("{}"))), ws.StatusUnsupportedData, reasonProtocol},
	{"unmasked", ws.MustCompileFrame(ws.NewTextFrame([]byte("{}"))), ws.StatusProtocolError, reasonProtocol},
	{"too long", text(strings.Repeat("x", 4097)), ws.StatusMessageTooBig, reasonTooBig},
	{"claims to be huge", []byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, ws.StatusMessageTooBig, reasonTooBig},
	{"length over 2^63", []byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, ws.StatusProtocolError, reasonProtocol},
	{"too long in pieces", join(piece(ws.OpText, false, strings.Repeat("x", 4000)), piece(ws.OpContinuation, true, strings.Repeat("x", 97))), ws.StatusMessageTooBig, reasonTooBig},
	{"flood of empty pieces", join(piece(ws.OpText, false, ""), bytes.Repeat(piece(ws.OpContinuation, false, ""), maxFragments)), ws.StatusPolicyViolation, reasonTooBig},
	{"not UTF-8", text("\xff\xfe"), ws.StatusInvalidFramePayloadData, reasonProtocol},
	{"UTF-8 cut short", join(piece(ws.OpText, false, "\xc3"), piece(ws.OpContinuation, true, "")), ws.StatusInvalidFramePayloadData, reasonProtocol},
	{"continuation of nothing", piece(ws.OpContinuation, true, "x"), ws.StatusProtocolError, reasonProtocol},
	{"text within a message", join(piece(ws.OpText, false, "x"), text("y")), ws.StatusProtocolError, reasonProtocol},
	{"reserved bit", masked(ws.Frame{Header: ws.Header{Fin: true, Rsv: 4, OpCode: ws.OpText}}), ws.StatusProtocolError, reasonProtocol},
	{"reserved op code", masked(ws.NewFrame(0x3, true, nil)), ws.StatusProtocolError, reasonProtocol},
	{"ping in pieces", piece(ws.OpPing, false, ""), ws.StatusProtocolError, reasonProtocol},
	{"ping too long", masked(ws.NewPingFrame(make([]byte, 126))), ws.StatusProtocolError, reasonProtocol},
	{"close with half a code", masked(ws.NewCloseFrame([]byte{3})), ws.StatusProtocolError, reasonProtocol},
	{"close with a code no one may send", masked(ws.NewCloseFrame(ws.NewCloseFrameBody(1006, ""))), ws.StatusProtocolError, reasonProtocol},
	{"close with a reason that is not UTF-8", masked(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "\xff"))), ws.StatusInvalidFramePayloadData, reasonProtocol},
}

func TestRequestReaderRefusesViolations(t *testing.T) {
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			r := &requestReader{source: bytes.NewReader(test.stream), max: 4096}
			in, err := r.next()
			require.Zero(t, in.op)
			var why *closing
			require.ErrorAs(t, err, &why)
			require.Equal(t, test.code, why.code)
			require.Equal(t, test.reason, why.reason)
			require.LessOrEqual(t, len(why.text), ws.MaxControlFramePayloadSize-2)
			require.LessOrEqual(t, cap(r.message), 8192, "nothing is allocated for what was refused")
		})
	}
}

func TestParseRequest(t *testing.T) {
	request, err := parseRequest([]byte(`{"fleet":{}}`))
	require.NoError(t, err)
	require.IsType(t, &gohubv1.LiveRequest_Fleet{}, request.Topic)
	request, err = parseRequest([]byte(`{"host":{"hostId":7,"later":1}}`))
	require.NoError(t, err)
	require.EqualValues(t, 7, request.GetHost().HostId)
	for _, malformed := range []string{"", "null", "[]", "{", `{"host":7}`, `{"host":{"hostId":-1}}`, `{"fleet":{},"host":{}}`} {
		_, err := parseRequest([]byte(malformed))
		require.ErrorIs(t, err, errMalformed, malformed)
	}
	_, err = parseRequest([]byte(`{"group":{}}`))
	require.EqualError(t, err, "the request names no topic")
}

func FuzzReadRequest(f *testing.F) {
	f.Add(text(`{"fleet":{}}`))
	f.Add(join(piece(ws.OpText, false, `{"host":`), masked(ws.NewPingFrame(nil)), piece(ws.OpContinuation, true, `{"hostId":7}}`)))
	f.Add(masked(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))))
	for _, v := range violations {
		f.Add(v.stream)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 512
		r := &requestReader{source: bytes.NewReader(stream), max: limit}
		for {
			in, err := r.next()
			if err != nil {
				var why *closing
				switch {
				case errors.As(err, &why):
					if why.code < 1000 || why.reason == "" || len(compileClose(why.code, why.text)) > 2+ws.MaxControlFramePayloadSize {
						t.Fatalf("bad closing %+v", why)
					}
				case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
					t.Fatalf("error %v", err)
				}
				break
			}
			switch in.op {
			case ws.OpText:
				if len(in.payload) > limit || !utf8.Valid(in.payload) {
					t.Fatalf("text of %d bytes passed", len(in.payload))
				}
				if request, err := parseRequest(in.payload); (err == nil) != (request.GetTopic() != nil) {
					t.Fatalf("request %v, error %v", request, err)
				}
			case ws.OpClose:
				if reply := closeReply(in.payload); len(reply) != 2 && len(reply) != 4 {
					t.Fatalf("close reply of %d bytes", len(reply))
				}
			case ws.OpPing, ws.OpPong:
			default:
				t.Fatalf("op code %d passed", in.op)
			}
		}
		if cap(r.message) > 4*limit {
			t.Fatalf("%d bytes allocated", cap(r.message))
		}
	})
}

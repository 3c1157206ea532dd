package ingest

import (
	"context"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// An idle agent costs 4 KiB more where this is no longer so, after an upgrade of gRPC.
func TestMessagesAreReadFromTheTransport(t *testing.T) {
	h := start(t)
	p, _ := h.connect(t, uuid.New())
	require.NoError(t, p.send(p.batch(1)))
	p.waitAck(1)
	require.NotNil(t, h.session(t, p).incoming.direct)
}

// withoutTransport serves streams whose transport can not be read from.
type withoutTransport struct{ *Server }

func (s withoutTransport) Stream(stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]) error {
	return s.Server.Stream(hidingStream{stream})
}

type hidingStream struct {
	grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]
}

func (s hidingStream) Context() context.Context {
	return grpc.NewContextWithServerTransportStream(s.BidiStreamingServer.Context(), nil)
}

func TestMessagesAreReceivedWhereTheTransportCanNotBeRead(t *testing.T) {
	h := start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(Codec()), grpc.Creds(Credentials(insecure.NewCredentials())))
	gohubv1.RegisterIngestServiceServer(server, withoutTransport{h.server})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	h.address = listener.Addr().String()

	p, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 3; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
		p.waitAck(seq)
	}
	require.Nil(t, h.session(t, p).incoming.direct)
	p.close()
}

package main

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/live/relay/relaytest"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestNewAgentOverTheBoundIsToldSo: two servers on one database have one bound, and what is in stays in.
func TestNewAgentOverTheBoundIsToldSo(t *testing.T) {
	database, bus := storagetest.DatabaseURL(t), relaytest.Bus(t)
	bounded := func(config *Config) { config.ClusterURL, config.MaxHosts = bus, 2 }
	a, b := startOneOfSeveral(t, database, bounded), startOneOfSeveral(t, database, bounded)
	first, second := &streamingAgent{t: t, id: uuid.New()}, &streamingAgent{t: t, id: uuid.New()}
	defer func() { first.leave(); second.leave() }()
	first.connect(a)
	second.connect(b)
	for _, server := range []*oneOfSeveral{a, b} {
		ended := refusedAgent(t, server)
		require.Equal(t, codes.ResourceExhausted, ended.Code())
		require.Contains(t, ended.Message(), "there are 2, which is the limit (max_hosts)")
		require.Contains(t, metricsOf(t, server), "gohub_ingest_refused_hosts_total 1\n")
		first.connect(server)
		first.send(42)
	}
}

// refusedAgent says hello as an agent that no one knows, and returns how its stream ended.
func refusedAgent(t *testing.T, at *oneOfSeveral) *status.Status {
	t.Helper()
	connection, err := grpc.NewClient(at.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer connection.Close()
	stream, err := gohubv1.NewIngestServiceClient(connection).Stream(t.Context())
	require.NoError(t, err)
	hello := &gohubv1.Hello{AgentId: uuid.NewString(), Epoch: 1, Facts: &gohubv1.HostFacts{Hostname: "stranger", IntervalMillis: 1000}}
	require.NoError(t, stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello}}))
	_, err = stream.Recv()
	require.Error(t, err)
	return status.Convert(err)
}

// TestViewersOfAnAddressShareItsBound: sockets and watches count together, and who leaves makes room.
func TestViewersOfAnAddressShareItsBound(t *testing.T) {
	server := startOneOfSeveral(t, storagetest.DatabaseURL(t), func(config *Config) { config.MaxViewersPerAddress = 2 })
	dial := func() (net.Conn, int) {
		t.Helper()
		code := http.StatusSwitchingProtocols
		dialer := ws.Dialer{OnStatusError: func(status int, _ []byte, _ io.Reader) { code = status }}
		connection, _, _, err := dialer.Dial(t.Context(), "ws://"+server.HTTPAddr()+"/api/v1/live")
		if err == nil {
			t.Cleanup(func() { connection.Close() })
		}
		return connection, code
	}
	socket, code := dial()
	require.Equal(t, http.StatusSwitchingProtocols, code)

	connection, err := grpc.NewClient(server.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer connection.Close()
	watch := func() error {
		stream, err := gohubv1.NewLiveServiceClient(connection).Watch(t.Context(), &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{Fleet: &gohubv1.FleetTopic{}}})
		require.NoError(t, err)
		_, err = stream.Recv()
		return err
	}
	require.NoError(t, watch())

	_, code = dial()
	require.Equal(t, http.StatusTooManyRequests, code)
	refused := watch()
	require.Equal(t, codes.ResourceExhausted, status.Code(refused))
	require.ErrorContains(t, refused, "max_viewers_per_address")
	require.Contains(t, metricsOf(t, server), `gohub_live_refused_total{bound="address"} 2`)

	require.NoError(t, socket.Close())
	require.Eventually(t, func() bool { _, code := dial(); return code == http.StatusSwitchingProtocols }, 10*time.Second, 10*time.Millisecond)
}

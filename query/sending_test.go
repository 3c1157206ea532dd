package query

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// largeStore answers every range with a series of so many values.
type largeStore struct {
	slowStore
	values int
}

func (s largeStore) Range(_ context.Context, q storage.RangeQuery) ([]storage.Series, error) {
	column := func() []float64 { return make([]float64, s.values) }
	return []storage.Series{{
		Metric: q.Metrics[0], Host: 1, Times: make([]time.Time, s.values), Avg: column(), Min: column(), Max: column(),
	}}, nil
}

// cuttingCredentials tell the connection of a call, as the server's do.
type cuttingCredentials struct {
	credentials.TransportCredentials
}

func (c cuttingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	return conn, cuttable{info, raw}, err
}

func (c cuttingCredentials) Clone() credentials.TransportCredentials { return c }

type cuttable struct {
	credentials.AuthInfo
	conn net.Conn
}

func (c cuttable) Cut() { _ = c.conn.Close() }

// serveGRPC serves a fleet whose list takes over 1 MB.
func serveGRPC(t *testing.T, limits Limits) (*Service, *grpc.ClientConn) {
	hosts := fleet{}
	for id := uint32(1); id <= 1000; id++ {
		hosts[storage.HostID(id)] = &gohubv1.Host{HostId: id, Facts: &gohubv1.HostFacts{Hostname: strings.Repeat("h", 1<<10)}}
	}
	service := NewService(Options{Store: largeStore{values: 100_000}, Fleet: hosts, Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	service.listed.Store(int64(len(hosts.AppendHosts(nil, nil))))
	server := grpc.NewServer(grpc.UnaryInterceptor(service.UnaryInterceptor()), grpc.Creds(cuttingCredentials{insecure.NewCredentials()}),
		grpc.ForceServerCodecV2(Codec(encoding.GetCodecV2(encodingproto.Name))))
	gohubv1.RegisterQueryServiceServer(server, service)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return service, conn
}

// ask sends a request, and reads no more than that the answer begins.
func ask(t *testing.T, conn *grpc.ClientConn, method string, request any) grpc.ClientStream {
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, method)
	require.NoError(t, err)
	require.NoError(t, stream.SendMsg(request))
	require.NoError(t, stream.CloseSend())
	_, err = stream.Header()
	require.NoError(t, err)
	return stream
}

// requireFree tells that all answers have given their room back.
func requireFree(t *testing.T, service *Service) {
	require.Eventually(t, func() bool {
		free := service.room.free.TryAcquire(service.room.bytes)
		if free {
			service.room.free.Release(service.room.bytes)
		}
		return free
	}, 10*time.Second, time.Millisecond)
}

func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	service, conn := serveGRPC(t, Limits{Sending: 3_000_000, Wait: 10 * time.Millisecond, SendTimeout: time.Hour})
	client := gohubv1.NewQueryServiceClient(conn)
	stuck := []grpc.ClientStream{
		ask(t, conn, gohubv1.QueryService_ListHosts_FullMethodName, &gohubv1.ListHostsRequest{}),
		ask(t, conn, gohubv1.QueryService_ListHosts_FullMethodName, &gohubv1.ListHostsRequest{}),
	}
	_, err := client.ListHosts(t.Context(), &gohubv1.ListHostsRequest{})
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "wait for those who asked to read them")
	_, err = client.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{HostId: 1, Metrics: []string{"load1"}})
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	for _, stream := range stuck {
		response := &gohubv1.ListHostsResponse{}
		require.NoError(t, stream.RecvMsg(response), "who reads late has the whole answer")
		require.Len(t, response.GetHosts(), 1000)
	}
	requireFree(t, service)
	response, err := client.ListHosts(t.Context(), &gohubv1.ListHostsRequest{})
	require.NoError(t, err)
	require.Len(t, response.GetHosts(), 1000)
	requireFree(t, service)
}

func TestConnectionsThatDoNotReadTheirAnswersAreCut(t *testing.T) {
	query := &gohubv1.QueryRangeRequest{HostId: 1, Metrics: []string{"load1"}}
	for method, request := range map[string]any{
		gohubv1.QueryService_ListHosts_FullMethodName:        &gohubv1.ListHostsRequest{},
		gohubv1.QueryService_QueryRange_FullMethodName:       query,
		gohubv1.QueryService_QueryRangeStream_FullMethodName: &gohubv1.QueryRangeStreamRequest{Query: query},
	} {
		t.Run(method, func(t *testing.T) {
			service, conn := serveGRPC(t, Limits{SendTimeout: 100 * time.Millisecond})
			ask(t, conn, method, request)
			require.True(t, conn.WaitForStateChange(t.Context(), connectivity.Ready))
			requireFree(t, service)
		})
	}
}

func TestAnswerThatIsForgottenCutsNoConnection(t *testing.T) {
	service := NewService(Options{Store: slowStore{}, Fleet: fleet{}, Logger: slog.New(slog.DiscardHandler)})
	ctx, of := service.withShare(t.Context())
	require.NoError(t, reserve(ctx, 1<<20))
	timer := func() *time.Timer {
		one := &parcel{
			message: &gohubv1.HostFacts{Hostname: strings.Repeat("h", 1<<20)}, share: of, timeout: time.Hour,
			cut: func() { t.Error("it is cut") },
		}
		_, err := one.encode(codec{encoding.GetCodecV2(encodingproto.Name)})
		require.NoError(t, err)
		return one.timer
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return of.empty()
	}, 10*time.Second, time.Millisecond)
	require.False(t, timer.Stop(), "it is stopped already")
}

func TestAnswersOverRESTKeepTheirRoomUntilTheyAreWritten(t *testing.T) {
	service := NewService(Options{
		Store: largeStore{values: 400_000}, Fleet: fleet{1: {HostId: 1}}, Limits: Limits{Sending: 20 << 20, Wait: 10 * time.Millisecond},
		Logger: slog.New(slog.DiscardHandler),
	})
	server := httptest.NewServer(service.Formats(http.NotFoundHandler()))
	t.Cleanup(server.Close)
	const path = RangePath + "?hostId=1&metrics=load1"
	stuck, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = io.WriteString(stuck, "GET "+path+" HTTP/1.1\r\nHost: gohub\r\n\r\n")
	require.NoError(t, err)
	_, err = io.ReadFull(stuck, make([]byte, 12))
	require.NoError(t, err, "the answer has begun")
	get := func() int {
		response, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		return response.StatusCode
	}
	require.Equal(t, http.StatusTooManyRequests, get())
	require.NoError(t, stuck.Close())
	requireFree(t, service)
	require.Equal(t, http.StatusOK, get())
}

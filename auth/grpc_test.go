package auth

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// services answers with what kind of principal reached it.
type services struct {
	gohubv1.UnimplementedIngestServiceServer
	gohubv1.UnimplementedQueryServiceServer
	gohubv1.UnimplementedAlertServiceServer
}

func (services) Stream(stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]) error {
	p, _ := PrincipalFrom(stream.Context())
	return stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Welcome{Welcome: &gohubv1.Welcome{ServerVersion: p.Kind.String()}}})
}

func (services) GetServerInfo(ctx context.Context, _ *gohubv1.GetServerInfoRequest) (*gohubv1.GetServerInfoResponse, error) {
	p, _ := PrincipalFrom(ctx)
	return &gohubv1.GetServerInfoResponse{Version: p.Kind.String()}, nil
}

func (services) ListRules(ctx context.Context, _ *gohubv1.ListRulesRequest) (*gohubv1.ListRulesResponse, error) {
	p, _ := PrincipalFrom(ctx)
	return &gohubv1.ListRulesResponse{Rules: []*gohubv1.Rule{{Name: p.Kind.String()}}}, nil
}

// remoteListener makes connections in memory look as if they came from an address.
type remoteListener struct {
	*bufconn.Listener
	remote net.Addr
}

func (l remoteListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{conn, l.remote}, nil
}

type remoteConn struct {
	net.Conn
	remote net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.remote }

// dial runs a real server behind the authoriser's interceptors.
func dial(t *testing.T, a *Authoriser, remote net.Addr) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer(grpc.UnaryInterceptor(a.UnaryInterceptor()), grpc.StreamInterceptor(a.StreamInterceptor()))
	gohubv1.RegisterIngestServiceServer(server, services{})
	gohubv1.RegisterQueryServiceServer(server, services{})
	gohubv1.RegisterAlertServiceServer(server, services{})
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	// A service that nobody thought of in the policy.
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "gohub.v1.Forgotten", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }}},
	}, struct{}{})

	listener := bufconn.Listen(64 << 10)
	served := make(chan error, 1)
	go func() { served <- server.Serve(remoteListener{listener, remote}) }()
	conn, err := grpc.NewClient("passthrough:///gohub", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-served)
	})
	return conn
}

// The calls of the tables, each returning the kind of principal that the service saw.
var grpcCalls = map[string]func(ctx context.Context, conn *grpc.ClientConn) (string, error){
	"ingest": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		stream, err := gohubv1.NewIngestServiceClient(conn).Stream(ctx)
		if err != nil {
			return "", err
		}
		response, err := stream.Recv()
		return response.GetWelcome().GetServerVersion(), err
	},
	"query": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		response, err := gohubv1.NewQueryServiceClient(conn).GetServerInfo(ctx, &gohubv1.GetServerInfoRequest{})
		return response.GetVersion(), err
	},
	"alert": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		response, err := gohubv1.NewAlertServiceClient(conn).ListRules(ctx, &gohubv1.ListRulesRequest{})
		if err != nil {
			return "", err
		}
		return response.Rules[0].Name, nil
	},
	"health": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return "ok", err
	},
	"watch": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		stream, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			return "", err
		}
		_, err = stream.Recv()
		return "ok", err
	},
	"reflection": func(ctx context.Context, conn *grpc.ClientConn) (string, error) {
		stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err != nil {
			return "", err
		}
		if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		_, err = stream.Recv()
		return "ok", err
	},
}

func TestGRPC(t *testing.T) {
	here, there := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5000}
	const stranger = "a-token-of-somebody-else"
	all := []string{"ingest", "query", "alert", "health", "watch", "reflection"}
	reads := map[string]string{"query": "token", "alert": "token", "health": "ok", "watch": "ok", "reflection": "ok"}
	localReads := map[string]string{"query": "local", "alert": "local", "health": "ok", "watch": "ok", "reflection": "ok"}
	with := func(calls map[string]string, name, kind string) map[string]string {
		more := map[string]string{name: kind}
		for k, v := range calls {
			more[k] = v
		}
		return more
	}
	healthOnly := map[string]string{"health": "ok"}
	for name, test := range map[string]struct {
		options Options
		remote  net.Addr
		header  []string
		allowed map[string]string // call to the principal's kind; the others are Unauthenticated
	}{
		"guarded: nothing":              {guarded(), there, nil, healthOnly},
		"guarded: nothing, from here":   {guarded(), here, nil, healthOnly},
		"guarded: agent token":          {guarded(), there, []string{"authorization", "Bearer " + testAgentToken}, with(healthOnly, "ingest", "agent")},
		"guarded: agent token, here":    {guarded(), here, []string{"authorization", "Bearer " + testAgentToken}, with(healthOnly, "ingest", "agent")},
		"guarded: API token":            {guarded(), there, []string{"authorization", "bearer " + testAPIToken}, reads},
		"guarded: unknown token":        {guarded(), there, []string{"authorization", "Bearer " + stranger}, healthOnly},
		"guarded: part of the token":    {guarded(), there, []string{"authorization", "Bearer " + testAPIToken[:16]}, healthOnly},
		"guarded: basic":                {guarded(), there, []string{"authorization", "Basic " + testAPIToken}, healthOnly},
		"guarded: both tokens":          {guarded(), there, []string{"authorization", "Bearer " + testAPIToken, "authorization", "Bearer " + testAgentToken}, healthOnly},
		"guarded: empty token":          {guarded(), there, []string{"authorization", "Bearer "}, healthOnly},
		"nothing set: from here":        {Options{}, here, nil, with(localReads, "ingest", "local")},
		"nothing set: unknown token":    {Options{}, here, []string{"authorization", "Bearer " + stranger}, with(healthOnly, "ingest", "local")},
		"nothing set: from elsewhere":   {Options{}, there, nil, healthOnly},
		"nothing set: through a proxy":  {Options{}, here, []string{"x-forwarded-for", "192.0.2.7"}, healthOnly},
		"nothing set: local proxy":      {Options{}, here, []string{"x-forwarded-for", "127.0.0.1"}, with(localReads, "ingest", "local")},
		"API token set: from here":      {Options{APIToken: testAPIToken}, here, nil, with(localReads, "ingest", "local")},
		"API token set: it is no agent": {Options{APIToken: testAPIToken}, here, []string{"authorization", "Bearer " + testAPIToken}, reads},
		"agent token set: from here":    {Options{AgentToken: testAgentToken}, here, nil, localReads},
		"agent token set: with it":      {Options{AgentToken: testAgentToken}, here, []string{"authorization", "Bearer " + testAgentToken}, with(healthOnly, "ingest", "agent")},
		"agent token set: wrong one":    {Options{AgentToken: testAgentToken}, here, []string{"authorization", "Bearer " + stranger}, healthOnly},
		"password set: from here":       {Options{PasswordHash: testHash}, here, nil, with(healthOnly, "ingest", "local")},
		"Unix socket":                   {Options{}, &net.UnixAddr{Name: "@", Net: "unix"}, nil, with(localReads, "ingest", "local")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.options)
			conn := dial(t, r.Authoriser, test.remote)
			for _, call := range all {
				ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), test.header...))
				defer cancel()
				kind, err := grpcCalls[call](ctx, conn)
				if want, ok := test.allowed[call]; ok {
					require.NoError(t, err, call)
					require.Equal(t, want, kind, call)
					continue
				}
				require.Equal(t, codes.Unauthenticated, status.Code(err), "%s: %v", call, err)
				for _, secret := range []string{stranger, testAgentToken, testAPIToken} {
					require.NotContains(t, err.Error(), secret)
				}
			}
			for _, secret := range []string{stranger, testAgentToken, testAPIToken} {
				require.NotContains(t, r.log.String(), secret)
			}
		})
	}
}

func TestGRPCTellsWhatToSet(t *testing.T) {
	there := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5000}
	for name, test := range map[string]struct {
		options    Options
		call, want string
	}{
		"agent":           {guarded(), "ingest", "send `authorization: Bearer <token>` with the server's agent token (agent_token)"},
		"no agent token":  {Options{}, "ingest", "set agent_token on the server"},
		"query":           {guarded(), "query", "with the server's API token (api_token)"},
		"no API token":    {Options{PasswordHash: testHash}, "query", "set api_token on the server"},
		"nothing set":     {Options{}, "query", "set password or api_token on the server"},
		"only API tokens": {Options{APIToken: testAPIToken}, "alert", "with the server's API token (api_token)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := grpcCalls[test.call](t.Context(), dial(t, newRig(t, test.options).Authoriser, there))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestGRPCDeniesWhatThePolicyDoesNotKnow(t *testing.T) {
	r := newRig(t, Options{})
	conn := dial(t, r.Authoriser, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000})
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/gohub.v1.Forgotten/Watch")
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	require.Equal(t, codes.PermissionDenied, status.Code(stream.RecvMsg(&gohubv1.GetServerInfoResponse{})))
	r.requireCount(t, r.metrics.denied, deniedForbidden, 1)
	require.Contains(t, r.log.String(), "method=/gohub.v1.Forgotten/Watch")
}

func TestGRPCCountsDenials(t *testing.T) {
	r := newRig(t, guarded())
	conn := dial(t, r.Authoriser, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5000})
	for _, header := range []string{"", "Bearer wrong", "Bearer " + testAgentToken} {
		_, err := grpcCalls["query"](metadata.AppendToOutgoingContext(t.Context(), "authorization", header), conn)
		require.Error(t, err)
	}
	r.requireCount(t, r.metrics.denied, deniedAnonymous, 1)
	r.requireCount(t, r.metrics.denied, deniedBadCredential, 1)
	r.requireCount(t, r.metrics.denied, deniedForbidden, 1)
	require.Contains(t, r.log.String(), "remote=192.0.2.7:5000")
}

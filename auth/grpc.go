package auth

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// Tap decides on a call when its headers are there: a message of one that is not allowed is never received, let alone decoded.
// The interceptors pass on what it let in, and decide for themselves where it is not used.
func (a *Authoriser) Tap() tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		return a.admitGRPC(ctx, Action(info.FullMethodName))
	}
}

// UnaryInterceptor passes on the calls that the authoriser allows, with their Principal in the context. It answers the
// others with UNAUTHENTICATED and what to set, or with PERMISSION_DENIED where the policy has no such method.
func (a *Authoriser) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := a.admitGRPC(ctx, Action(info.FullMethod))
		if err != nil {
			return nil, err
		}
		return handler(ctx, request)
	}
}

// StreamInterceptor does for streams what UnaryInterceptor does for single calls. It decides once, when a stream opens.
func (a *Authoriser) StreamInterceptor() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := a.admitGRPC(stream.Context(), Action(info.FullMethod))
		if err != nil {
			return err
		}
		return handler(server, admittedStream{stream, ctx})
	}
}

type admittedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s admittedStream) Context() context.Context { return s.ctx }

func (a *Authoriser) admitGRPC(ctx context.Context, action Action) (context.Context, error) {
	if _, admitted := ctx.Value(principalKey{}).(Principal); admitted {
		return ctx, nil
	}
	p, err := a.grpcPrincipal(ctx, action)
	if err == nil {
		err = a.Decide(p, action)
	}
	if err == nil {
		return context.WithValue(ctx, principalKey{}, p), nil
	}
	return nil, a.denyGRPC(ctx, action, err)
}

// denyGRPC counts and logs a call that is not allowed, and returns its status. It is apart from admitGRPC for the sake of the
// stacks of thousands of agents' streams, which never need it.
func (a *Authoriser) denyGRPC(ctx context.Context, action Action, err error) error {
	kind, code := deniedAnonymous, codes.Unauthenticated
	switch {
	case errors.Is(err, errBadCredential):
		kind = deniedBadCredential
	case errors.Is(err, ErrForbidden):
		kind = deniedForbidden
		if policy[action] == permissionNone {
			code = codes.PermissionDenied
		}
	}
	a.metrics.denied.WithLabelValues(kind).Inc()
	remote := ""
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		remote = from.Addr.String()
	}
	a.denials.line().WarnContext(ctx, "gRPC call denied", "method", printable(string(action)), "kind", kind, "remote", printable(remote))
	return status.Error(code, err.Error())
}

// grpcPrincipal finds out who calls. A browser can not be made to call from another site's page, as it can over HTTP:
// gRPC's content type is none that it sends unasked.
func (a *Authoriser) grpcPrincipal(ctx context.Context, action Action) (Principal, error) {
	needed := policy[action]
	if needed == Open {
		return Principal{}, nil
	}
	values := func(name string) []string { return metadata.ValueFromIncomingContext(ctx, name) }
	token, err := parseBearer(values("authorization"))
	if err != nil {
		return Principal{}, err
	}
	if token != "" {
		p, ok := a.bearer(token)
		if ok {
			return p, nil
		}
		// An agent that has a token may send to a server of its machine that asks for none.
		if needed != Ingest || a.agentToken != nil {
			return Principal{}, errBadCredential
		}
	}
	if from, ok := peer.FromContext(ctx); ok && isLocalAddr(from.Addr) && !isForwarded(values) {
		return Principal{Kind: KindLocal, Name: "local"}, nil
	}
	return Principal{}, nil
}

package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Errors of Decide.
var (
	// ErrUnauthenticated: the caller would have to say who it is.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden: the caller is known and may not do this.
	ErrForbidden = errors.New("not allowed")
)

// Kind of a Principal.
type Kind uint8

// The kinds of callers.
const (
	// KindAnonymous has shown nothing.
	KindAnonymous Kind = iota
	// KindAgent has the agent token.
	KindAgent
	// KindUser has logged in to the dashboard.
	KindUser
	// KindToken has the API token.
	KindToken
	// KindLocal has shown nothing, and called from this machine. What it may do depends on which secrets are set.
	KindLocal
)

func (k Kind) String() string {
	switch k {
	case KindAnonymous:
		return "anonymous"
	case KindAgent:
		return "agent"
	case KindUser:
		return "user"
	case KindToken:
		return "token"
	case KindLocal:
		return "local"
	}
	return "unknown"
}

// Principal is who calls. The zero value is an anonymous caller.
type Principal struct {
	Kind Kind
	// Name is for people and logs.
	Name string
	// ExpiresAt is when the caller's session ends, zero if it has none.
	ExpiresAt time.Time

	session [32]byte
}

type principalKey struct{}

// PrincipalFrom returns the caller that the authoriser let through, and false on a context that passed none.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Permission is what an action needs.
type Permission uint8

// The permissions. The zero value is held by nobody.
const (
	permissionNone Permission = iota
	// Open is held by everyone.
	Open
	// Ingest is sending metrics.
	Ingest
	// Read is seeing everything that is shown.
	Read
	// Admin is changing the server, or reaching what has no class of its own.
	Admin
)

// Action is what is called: the full name of a gRPC method, or the class of an HTTP route.
type Action string

// The classes of HTTP routes (see classify).
const (
	actionHealth  Action = "http:health"
	actionSession Action = "http:session"
	actionStatic  Action = "http:static"
	actionMetrics Action = "http:metrics"
	actionLive    Action = "http:live"
	actionAPI     Action = "http:api"
	actionChange  Action = "http:api-change"
	actionOther   Action = "http:other"
)

// policy is the table of what every action needs. An action that is not in it is denied to everyone.
var policy = map[Action]Permission{
	gohubv1.IngestService_Stream_FullMethodName:  Ingest,
	gohubv1.IngestService_Preview_FullMethodName: Ingest,

	gohubv1.QueryService_ListHosts_FullMethodName:        Read,
	gohubv1.QueryService_GetHost_FullMethodName:          Read,
	gohubv1.QueryService_SetHostLabels_FullMethodName:    Admin,
	gohubv1.QueryService_QueryRange_FullMethodName:       Read,
	gohubv1.QueryService_QueryRangeStream_FullMethodName: Read,
	gohubv1.QueryService_ListQuarantine_FullMethodName:   Read,
	gohubv1.QueryService_ListMetrics_FullMethodName:      Read,
	gohubv1.QueryService_GetStorageUsage_FullMethodName:  Read,
	gohubv1.QueryService_GetServerInfo_FullMethodName:    Read,

	gohubv1.AlertService_ListAlerts_FullMethodName: Read,
	gohubv1.AlertService_ListRules_FullMethodName:  Read,

	gohubv1.LiveService_Watch_FullMethodName: Read,

	"/grpc.health.v1.Health/Check": Open,
	"/grpc.health.v1.Health/List":  Open,
	// A watch stays open for as long as its caller likes, so it is not for anybody; probes use Check.
	"/grpc.health.v1.Health/Watch": Read,

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      Read,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Read,

	actionHealth:  Open,
	actionSession: Open,
	actionStatic:  Open,
	actionMetrics: Read,
	actionLive:    Read,
	actionAPI:     Read,
	actionChange:  Admin,
	actionOther:   Admin,
}

// Decide returns nil if the principal may do the action, ErrUnauthenticated (wrapped) if somebody else may, and
// ErrForbidden (wrapped) if the principal is known, or nobody may. It is the one place where that is decided.
func (a *Authoriser) Decide(p Principal, action Action) error {
	needed := policy[action]
	if a.holds(p, needed) {
		return nil
	}
	switch {
	case needed == permissionNone:
		return fmt.Errorf("%w: no permission is defined for this call", ErrForbidden)
	case p.Kind == KindAnonymous || p.Kind == KindLocal:
		return fmt.Errorf("%w: %s", ErrUnauthenticated, a.howTo(needed))
	default:
		return fmt.Errorf("%w: this credential (%s) does not open this call: %s", ErrForbidden, p.Kind, a.howTo(needed))
	}
}

func (a *Authoriser) holds(p Principal, needed Permission) bool {
	if needed == Open {
		return true
	}
	switch p.Kind {
	case KindAgent:
		return needed == Ingest
	case KindToken:
		return needed == Read
	case KindUser:
		return needed == Read || needed == Admin
	case KindLocal:
		switch needed {
		case Ingest:
			return a.agentToken == nil
		case Read, Admin:
			return a.password == nil
		}
	}
	return false
}

// howTo tells an unauthenticated caller what to send, or the server's owner what to set.
func (a *Authoriser) howTo(needed Permission) string {
	const bearer = "send `authorization: Bearer <token>` with the "
	switch {
	case needed == Ingest && a.agentToken == nil:
		return "the server has no agent token and takes agents of its own machine only: set " + keyAgentToken + " on the server, and give it to the agent"
	case needed == Ingest:
		return bearer + "server's agent token (" + keyAgentToken + ")"
	case a.password == nil && a.apiToken == nil:
		return "the server has no password and answers callers of its own machine only: set " + keyPassword + " or " + keyAPIToken + " on the server"
	case a.password == nil:
		return bearer + "server's API token (" + keyAPIToken + ")"
	case needed == Admin:
		return "log in"
	case a.apiToken == nil:
		return "log in, or set " + keyAPIToken + " on the server and " + bearer + "token"
	}
	return "log in, or " + bearer + "server's API token (" + keyAPIToken + ")"
}

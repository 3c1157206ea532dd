package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/gohub-io/gohub/storage"
)

var (
	errForeignHost = fmt.Errorf("%w: without a password the server answers to http://localhost and addresses like 127.0.0.1 only, "+
		"as other names may be an attack by DNS rebinding: use such a URL, or set %s", ErrForbidden, keyPassword)
	errForeignOrigin = fmt.Errorf("%w: the request comes from a page of another site; a proxy before the server must keep the Host header", ErrForbidden)
	errSessions      = errors.New("the database with the sessions is not available, try again")
)

// The paths that have a class of their own.
const (
	pathSession = "/api/v1/session"
	pathLogin   = "/api/v1/login"
	pathLogout  = "/api/v1/logout"
	pathLive    = "/api/v1/live"
)

// Middleware is what every HTTP request of the server passes: it sets the security headers, refuses requests from
// foreign sites, and passes on what the authoriser allows, with the Principal in the context. The context of a live
// connection ends with its session. Refused requests are answered in JSON, {"code", "message"}, with 401, 403, or 503
// when the session store is away.
func (a *Authoriser) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := a.classify(r)
		a.setHeaders(w.Header(), action)
		p, err := a.admitHTTP(r, action)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		ctx := context.WithValue(r.Context(), principalKey{}, p)
		if action == actionLive && p.Kind == KindUser {
			var end func()
			ctx, end = a.running.bound(ctx, p.session, p.ExpiresAt.Sub(a.now()))
			defer end()
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// classify finds the class of a request. What it does not know needs the most; open classes take exact paths only, which no
// encoding or ".." stands for.
func (a *Authoriser) classify(r *http.Request) Action {
	p := r.URL.Path
	if clean := path.Clean(p); p != clean && p != clean+"/" {
		return actionOther
	}
	exact := r.URL.RawPath == ""
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case exact && reads && (p == "/healthz" || p == "/readyz"):
		return actionHealth
	case exact && reads && p == pathSession, exact && r.Method == http.MethodPost && (p == pathLogin || p == pathLogout):
		return actionSession
	case reads && (p == "/metrics" || p == "/metrics/hosts"):
		return actionMetrics
	case reads && p == pathLive:
		return actionLive
	case p == "/api" || strings.HasPrefix(p, "/api/"):
		if reads {
			return actionAPI
		}
		return actionChange
	case exact && reads && p != "/debug" && !strings.HasPrefix(p, "/debug/") && a.static(p):
		return actionStatic
	}
	return actionOther
}

func (a *Authoriser) admitHTTP(r *http.Request, action Action) (Principal, error) {
	token, err := parseBearer(r.Header.Values("Authorization"))
	if err != nil && policy[action] != Open {
		return Principal{}, err
	}
	// A page of a foreign name that leads here can read what it gets, and can not know a token.
	if a.password == nil && token == "" && action != actionHealth && isLocalRequest(r) && !isUnix(r) && !isLoopbackHost(hostOf(r.Host)) {
		return Principal{}, errForeignHost
	}
	if err := a.checkOrigin(r); err != nil {
		return Principal{}, err
	}
	if policy[action] == Open {
		return Principal{}, nil
	}
	p, err := a.httpPrincipal(r)
	if err != nil {
		return Principal{}, err
	}
	return p, a.Decide(p, action)
}

// checkOrigin refuses what a page of another site makes a browser send: unsafe methods, and upgrades to WebSocket, which
// are a GET but send the cookie and let the page read.
func (a *Authoriser) checkOrigin(r *http.Request) error {
	if r.Header.Get("Upgrade") != "" {
		if len(r.Header.Values("Origin")) > 1 {
			return errForeignOrigin
		}
		r = r.WithContext(r.Context())
		r.Method = http.MethodPost
	}
	if a.origins.Check(r) != nil {
		return errForeignOrigin
	}
	return nil
}

// httpPrincipal finds out who calls, by bearer token, session cookie or address, in this order.
func (a *Authoriser) httpPrincipal(r *http.Request) (Principal, error) {
	token, err := parseBearer(r.Header.Values("Authorization"))
	if err != nil {
		return Principal{}, err
	}
	if token != "" {
		p, ok := a.bearer(token)
		if !ok {
			return Principal{}, errBadCredential
		}
		return p, nil
	}
	if a.password == nil {
		if isLocalRequest(r) {
			return Principal{Kind: KindLocal, Name: "local"}, nil
		}
		return Principal{}, nil
	}
	hash, ok := a.cookieHash(r)
	if !ok {
		return Principal{}, nil
	}
	now := a.now()
	session, err := a.sessions.FindSession(r.Context(), hash, now)
	switch {
	case errors.Is(err, storage.ErrNotFound) || err == nil && !session.ExpiresAt.After(now):
		return Principal{}, nil
	case err != nil:
		return Principal{}, fmt.Errorf("%w: %w", errSessions, err)
	}
	return Principal{Kind: KindUser, Name: session.User, ExpiresAt: session.ExpiresAt, session: hash}, nil
}

// isLocalRequest tells whether the request comes from this machine, and not through a proxy on it that says otherwise.
func isLocalRequest(r *http.Request) bool {
	return (isUnix(r) || isLocalRemote(r.RemoteAddr)) && !isForwarded(r.Header.Values)
}

// isUnix tells whether the request came by a Unix socket, which no browser reaches.
func isUnix(r *http.Request) bool {
	_, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return ok
}

// answer is what a refused or failed request gets.
type answer struct {
	status     int
	code       codes.Code
	message    string
	retryAfter time.Duration
}

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if a.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="gohub"`)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
	}
	w.WriteHeader(a.status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // it is never shown as HTML, and people read it in a terminal
	_ = encoder.Encode(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{int(a.code), a.message})
}

// refuse answers a request that was not admitted. Errors of this package become statuses here only.
func (a *Authoriser) refuse(w http.ResponseWriter, r *http.Request, err error) {
	kind, level := deniedForbidden, slog.LevelWarn
	reply := answer{status: http.StatusForbidden, code: codes.PermissionDenied, message: err.Error()}
	switch {
	case errors.Is(err, errForeignHost):
		kind = deniedHost
	case errors.Is(err, errForeignOrigin):
		kind = deniedOrigin
	case errors.Is(err, errSessions):
		// The cause is for the log: it may tell of the database's address.
		kind, level = deniedUnavailable, slog.LevelError
		reply = answer{http.StatusServiceUnavailable, codes.Unavailable, errSessions.Error(), retrySoon}
	case errors.Is(err, errBadCredential):
		kind = deniedBadCredential
		reply.status, reply.code = http.StatusUnauthorized, codes.Unauthenticated
	case errors.Is(err, ErrUnauthenticated):
		// A browser that is not logged in yet does this.
		kind, level = deniedAnonymous, slog.LevelInfo
		reply.status, reply.code = http.StatusUnauthorized, codes.Unauthenticated
	}
	a.metrics.denied.WithLabelValues(kind).Inc()
	line := a.denials.line().With("kind", kind, "method", printable(r.Method), "path", printable(r.URL.Path),
		"host", printable(r.Host), "remote", printable(r.RemoteAddr))
	if kind == deniedUnavailable {
		line = line.With("error", err)
	}
	line.Log(r.Context(), level, "HTTP request denied")
	reply.write(w)
}

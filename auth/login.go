package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/gohub-io/gohub/storage"
)

const (
	sessionTTL   = 7 * 24 * time.Hour
	sessionBytes = 32
	maxLoginBody = 4 << 10
	retrySoon    = time.Second
	cookieName   = "gohub_session"
	hostPrefix   = "__Host-" // browsers take such a cookie only from this host, by TLS
)

// cookieValueLength is that of sessionBytes in base64.
var cookieValueLength = base64.RawURLEncoding.EncodedLen(sessionBytes)

// Register adds the handlers of GET /api/v1/session, POST /api/v1/login and POST /api/v1/logout. They must be behind
// Middleware, which checks their origin.
func (a *Authoriser) Register(mux *http.ServeMux) {
	mux.HandleFunc(pathSession, only(a.serveSession, http.MethodGet, http.MethodHead))
	mux.HandleFunc(pathLogin, only(a.serveLogin, http.MethodPost))
	mux.HandleFunc(pathLogout, only(a.serveLogout, http.MethodPost))
}

// only answers 405 to other methods than those.
func only(next http.HandlerFunc, methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			next(w, r)
			return
		}
		allow := strings.Join(methods, ", ")
		w.Header().Set("Allow", allow)
		answer{status: http.StatusMethodNotAllowed, code: codes.Unimplemented, message: printable(r.Method) + " is not allowed here; allowed is " + allow}.write(w)
	}
}

// serveSession tells a dashboard whether it must ask for a password.
func (a *Authoriser) serveSession(w http.ResponseWriter, r *http.Request) {
	p, err := a.httpPrincipal(r)
	if err != nil && !errors.Is(err, errBadCredential) {
		a.refuse(w, r, err)
		return
	}
	if a.Decide(p, actionAPI) != nil {
		p = Principal{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		AuthRequired  bool   `json:"authRequired"`
		Authenticated bool   `json:"authenticated"`
		User          string `json:"user"`
	}{a.password != nil, p.Kind != KindAnonymous, p.Name})
}

func (a *Authoriser) serveLogin(w http.ResponseWriter, r *http.Request) {
	given, reply := readLogin(w, r)
	if reply == nil && a.password == nil {
		reply = &answer{status: http.StatusBadRequest, code: codes.FailedPrecondition, message: "the server has no password: there is nothing to log in to"}
	}
	if reply != nil {
		a.metrics.logins.WithLabelValues(loginMalformed).Inc()
		reply.write(w)
		return
	}
	remote := printable(r.RemoteAddr)
	if wait := a.limiter.take(a.proxies.Owner(r), a.now()); wait > 0 {
		a.metrics.logins.WithLabelValues(loginLimited).Inc()
		a.logins.line().WarnContext(r.Context(), "login failed", "result", loginLimited, "remote", remote)
		answer{http.StatusTooManyRequests, codes.ResourceExhausted, "too many tries to log in: wait, then try again", wait}.write(w)
		return
	}
	right, err := a.password.verify(r.Context(), given)
	switch {
	case err != nil: // busy, or the caller has gone
		a.metrics.logins.WithLabelValues(loginBusy).Inc()
		a.logins.line().WarnContext(r.Context(), "login failed", "result", loginBusy, "remote", remote)
		answer{http.StatusTooManyRequests, codes.ResourceExhausted, "too many logins at once: try again", retrySoon}.write(w)
		return
	case !right:
		a.metrics.logins.WithLabelValues(loginWrong).Inc()
		a.logins.line().WarnContext(r.Context(), "login failed", "result", loginWrong, "remote", remote)
		answer{status: http.StatusUnauthorized, code: codes.Unauthenticated, message: "wrong password"}.write(w)
		return
	}
	if err := a.startSession(w, r); err != nil {
		a.metrics.logins.WithLabelValues(loginUnavailable).Inc()
		a.logins.line().ErrorContext(r.Context(), "login failed", "result", loginUnavailable, "error", err, "remote", remote)
		answer{http.StatusServiceUnavailable, codes.Unavailable, errSessions.Error(), retrySoon}.write(w)
		return
	}
	a.metrics.logins.WithLabelValues(loginSuccess).Inc()
	a.logins.line().InfoContext(r.Context(), "logged in", "user", userAdmin, "remote", remote)
	w.WriteHeader(http.StatusNoContent)
}

// readLogin returns the password of the request, or what to answer. JSON only: a form of another site can not send it.
func readLogin(w http.ResponseWriter, r *http.Request) (string, *answer) {
	bad := func(status int, message string) (string, *answer) {
		return "", &answer{status: status, code: codes.InvalidArgument, message: message}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad(http.StatusUnsupportedMediaType, "the content type must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLoginBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return bad(http.StatusRequestEntityTooLarge, "the body is too large")
	}
	var login struct {
		Password *string `json:"password"`
	}
	// The decoder's error may quote the body.
	if err != nil || json.Unmarshal(body, &login) != nil || login.Password == nil {
		return bad(http.StatusBadRequest, `the body must be {"password": "…"}`)
	}
	return *login.Password, nil
}

// startSession stores a new session and sets its cookie.
func (a *Authoriser) startSession(w http.ResponseWriter, r *http.Request) error {
	raw := make([]byte, sessionBytes)
	_, _ = rand.Read(raw) // it never fails
	value := base64.RawURLEncoding.EncodeToString(raw)
	now := a.now()
	session := storage.Session{TokenHash: a.sessionHash(value), User: userAdmin, ExpiresAt: now.Add(sessionTTL)}
	if err := a.sessions.SaveSession(r.Context(), session); err != nil {
		return err
	}
	// The session that the browser had is of no use any more, and those that have expired go with it. It is tidying only.
	old, _ := a.cookieHash(r)
	if err := a.sessions.DeleteSession(r.Context(), old, now); err != nil && !errors.Is(err, storage.ErrNotFound) {
		a.logins.line().WarnContext(r.Context(), "old sessions were not removed", "error", err)
	}
	a.running.end(old)
	a.setCookie(w, value, int(sessionTTL/time.Second))
	return nil
}

// serveLogout ends the session, and live connections of it. The cookie stays if the store is away: the session does too.
func (a *Authoriser) serveLogout(w http.ResponseWriter, r *http.Request) {
	if hash, ok := a.cookieHash(r); ok && a.password != nil {
		if err := a.sessions.DeleteSession(r.Context(), hash, a.now()); err != nil && !errors.Is(err, storage.ErrNotFound) {
			a.logins.line().ErrorContext(r.Context(), "logout failed", "error", err)
			answer{http.StatusServiceUnavailable, codes.Unavailable, errSessions.Error(), retrySoon}.write(w)
			return
		}
		a.running.end(hash)
	}
	a.setCookie(w, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Authoriser) cookieName() string {
	if a.secureCookies {
		return hostPrefix + cookieName
	}
	return cookieName
}

// setCookie sets the session's cookie. It is SameSite=Strict, which suits links in mails too: the page that opens is
// static, and what it then fetches comes from the same site.
func (a *Authoriser) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: a.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: a.secureCookies, SameSite: http.SameSiteStrictMode,
	})
}

// cookieHash returns under what the request's session would be stored, and false if it has no cookie of the right form.
func (a *Authoriser) cookieHash(r *http.Request) ([sha256.Size]byte, bool) {
	cookie, err := r.Cookie(a.cookieName())
	if err != nil || len(cookie.Value) != cookieValueLength {
		return [sha256.Size]byte{}, false
	}
	return a.sessionHash(cookie.Value), true
}

func (a *Authoriser) sessionHash(value string) [sha256.Size]byte {
	return sha256.Sum256(append(a.binding[:len(a.binding):len(a.binding)], value...))
}

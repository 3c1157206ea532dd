// Package auth decides who may call what. Every gRPC call and every HTTP request of the server passes one Authoriser,
// which finds out the caller (a Principal), looks up what the call needs (policy.go) and denies what is not allowed
// explicitly. It stands before ingest, query, alert, live and the dashboard, and keeps logins in storage.
//
//	gRPC  ─▶ UnaryInterceptor, StreamInterceptor ─▶ principal ─┐
//	                                                           ├─▶ Decide ─▶ the service, or a status
//	HTTP  ─▶ Middleware ─▶ host, origin ─▶ principal ──────────┘
//
// This first version knows one dashboard user, one token for agents and one for the API.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/gohub-io/gohub/storage"
)

// SessionStore keeps logins. storage.Store is one.
type SessionStore interface {
	SaveSession(ctx context.Context, s storage.Session) error
	FindSession(ctx context.Context, tokenHash [32]byte, now time.Time) (storage.Session, error)
	LivingSessions(ctx context.Context, tokenHashes [][32]byte, now time.Time) ([][32]byte, error)
	DeleteSession(ctx context.Context, tokenHash [32]byte, now time.Time) error
}

// Options of an Authoriser. The zero value is a server for loopback only: CheckExposure refuses it elsewhere.
type Options struct {
	// Password of the dashboard in plain text, or PasswordHash, an argon2id PHC string as HashPassword returns it; not
	// both. With neither, callers on this machine need no password.
	Password     string
	PasswordHash string
	// AgentToken opens IngestService and nothing else. Empty: agents on this machine need none.
	AgentToken string
	// APIToken opens what reads: QueryService, AlertService, /api, /metrics and /metrics/hosts. Empty: there is no such token.
	APIToken string

	// Sessions is needed with a password.
	Sessions SessionStore
	// SecureCookies is set where browsers reach the server by TLS, also where a proxy before it ends the TLS. The session
	// cookie is then Secure.
	SecureCookies bool
	// HSTS makes answers carry Strict-Transport-Security. A browser then takes no exception from the certificate's check and
	// no plain text at this name for a year, whatever runs there later: it is for certificates that browsers trust.
	HSTS bool
	// Static tells which paths are files of the dashboard, which are open as they hold no data; StaticPaths makes one.
	// Nil: none is. It is not asked about what lies under /api, /metrics and /debug.
	Static func(path string) bool
	// ContentSecurityPolicy of the dashboard's pages. A frame-ancestors 'none' is added if it has no frame-ancestors.
	ContentSecurityPolicy string
	// TrustedOrigins, as "https://gohub.example.org", may send requests although the Host header differs, for a proxy
	// that rewrites it.
	TrustedOrigins []string

	// Proxies tell for whom they pass requests on, so that tries to log in are counted for each client.
	Proxies Proxies

	Login LoginLimits

	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// LoginLimits bound how often and how many at once passwords are tried. Zero fields take their default.
type LoginLimits struct {
	// Burst of tries that an address has, default 5, and Every, the time that gives back one, default 10 s.
	Burst int
	Every time.Duration
	// Addresses that are remembered, default 4096; past that the one that has been silent for longest is forgotten.
	Addresses int
	// Concurrent password computations, default 2, and Waiting, those that may queue for them, default 16. Each
	// computation takes the memory that the hash's parameters say.
	Concurrent, Waiting int
}

func (l LoginLimits) withDefaults() LoginLimits {
	if l.Burst <= 0 {
		l.Burst = 5
	}
	if l.Every <= 0 {
		l.Every = 10 * time.Second
	}
	if l.Addresses <= 0 {
		l.Addresses = 4096
	}
	if l.Concurrent <= 0 {
		l.Concurrent = 2
	}
	if l.Waiting <= 0 {
		l.Waiting = 16
	}
	return l
}

// Bounds of secrets. The tokens' upper one is what a header may carry with sense.
const (
	minTokenLength    = 16
	maxTokenLength    = 512
	minPasswordLength = 8
	maxPasswordLength = 1024
)

// userAdmin is the one user of this version.
const userAdmin = "admin"

// Authoriser decides on every call. It is safe for concurrent use and starts no goroutine; its owner runs Run.
type Authoriser struct {
	password *verifier // nil: no password is set
	// binding is mixed into the hash of every session token, so that a new password ends all sessions.
	binding    [sha256.Size]byte
	agentToken *secret // nil: none is set
	apiToken   *secret

	sessions SessionStore
	running  running
	limiter  *addressLimiter
	proxies  Proxies
	origins  *http.CrossOriginProtection
	static   func(path string) bool

	secureCookies bool
	hsts          bool
	csp           string
	now           func() time.Time
	denials       *boundedLogger
	logins        *boundedLogger
	metrics       *metrics
}

// New returns an authoriser. It fails on secrets that are too short or malformed; the errors never hold a secret. A
// plain password is hashed, which takes a moment, and dropped.
func New(options Options) (*Authoriser, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Registerer == nil {
		options.Registerer = prometheus.NewRegistry()
	}
	if options.Static == nil {
		options.Static = func(string) bool { return false }
	}
	limits := options.Login.withDefaults()
	a := &Authoriser{
		sessions:      options.Sessions,
		limiter:       newAddressLimiter(rate.Every(limits.Every), limits.Burst, limits.Addresses),
		proxies:       options.Proxies,
		origins:       http.NewCrossOriginProtection(),
		static:        options.Static,
		secureCookies: options.SecureCookies,
		hsts:          options.HSTS,
		now:           options.Now,
		denials:       newBoundedLogger(options.Logger, options.Now),
		logins:        newBoundedLogger(options.Logger, options.Now),
	}
	var err error
	if a.agentToken, err = newSecret(keyAgentToken, options.AgentToken); err != nil {
		return nil, err
	}
	if a.apiToken, err = newSecret(keyAPIToken, options.APIToken); err != nil {
		return nil, err
	}
	if a.agentToken != nil && a.agentToken.matches(options.APIToken) {
		return nil, fmt.Errorf("%s and %s are the same: an agent must not be able to read, give them different values", keyAgentToken, keyAPIToken)
	}
	if err := a.setPassword(options.Password, options.PasswordHash, limits); err != nil {
		return nil, err
	}
	if a.password != nil && a.sessions == nil {
		return nil, errors.New("a password needs a session store")
	}
	if a.csp, err = pagePolicy(options.ContentSecurityPolicy); err != nil {
		return nil, err
	}
	for _, origin := range options.TrustedOrigins {
		if err := a.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("trusted origin: %w", err)
		}
	}
	a.metrics = newMetrics(options.Registerer)
	return a, nil
}

func (a *Authoriser) setPassword(plain, phc string, limits LoginLimits) error {
	if plain != "" && phc != "" {
		return fmt.Errorf("%s and %s are both set; set one", keyPassword, keyPasswordHash)
	}
	switch {
	case plain != "":
		if err := checkPassword(plain); err != nil {
			return fmt.Errorf("%s: %w", keyPassword, err)
		}
		a.password = newVerifier(newPasswordHash(plain), limits)
		// The hash's salt differs at every start; the binding must not, or a restart would log everyone out.
		a.binding = bindingOf(plain)
	case phc != "":
		hash, err := parsePHC(phc)
		if err != nil {
			return fmt.Errorf("%s: %w", keyPasswordHash, err)
		}
		a.password = newVerifier(hash, limits)
		a.binding = sha256.Sum256([]byte(phc))
	}
	return nil
}

func checkPassword(plain string) error {
	if n := utf8.RuneCountInString(plain); n < minPasswordLength {
		return fmt.Errorf("the password has %d characters, it needs at least %d", n, minPasswordLength)
	}
	if len(plain) > maxPasswordLength {
		return fmt.Errorf("the password is longer than %d bytes", maxPasswordLength)
	}
	return nil
}

// secret is a token of which only the SHA-256 is kept.
type secret struct {
	sum [sha256.Size]byte
}

func newSecret(key, token string) (*secret, error) {
	switch {
	case token == "":
		return nil, nil
	case len(token) < minTokenLength:
		return nil, fmt.Errorf("%s has %d characters, it needs at least %d: make one with `openssl rand -hex 32`", key, len(token), minTokenLength)
	case len(token) > maxTokenLength:
		return nil, fmt.Errorf("%s is longer than %d characters", key, maxTokenLength)
	case strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0:
		return nil, fmt.Errorf("%s has a space or a character that no HTTP header may carry: use letters, digits and punctuation", key)
	}
	return &secret{sum: sha256.Sum256([]byte(token))}, nil
}

// matches compares in constant time. A nil secret matches nothing.
func (s *secret) matches(token string) bool {
	if s == nil {
		return false
	}
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1
}

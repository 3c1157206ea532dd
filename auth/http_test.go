package auth

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

// reached is the handler behind the middleware: it answers with the kind of principal.
var reached = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, ok := PrincipalFrom(r.Context())
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Kind", p.Kind.String())
})

const here, there = "127.0.0.1:5000", "192.0.2.7:5000"

// request makes one from a browser-like client at this machine; change alters it.
func request(method, target string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "localhost:7700", here
	for _, f := range change {
		f(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func from(remote string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = remote } }
func host(host string) func(*http.Request)   { return func(r *http.Request) { r.Host = host } }

func bearer(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }

func withCookie(value string) func(*http.Request) { return header("Cookie", "gohub_session="+value) }

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// requireRefused checks the status and the shape of the answer and returns its message.
func requireRefused(t *testing.T, response *http.Response, status, code int) string {
	t.Helper()
	require.Equal(t, status, response.StatusCode)
	require.Equal(t, "application/json", response.Header.Get("Content-Type"))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	var body struct {
		Code    int
		Message string
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
	require.Equal(t, code, body.Code)
	require.NotEmpty(t, body.Message)
	return body.Message
}

func TestMiddlewareRoutesByPrincipal(t *testing.T) {
	guardedRig, openRig := newRig(t, guarded()), newRig(t, Options{APIToken: testAPIToken})
	cookie := logIn(t, guardedRig)

	callers := map[string]struct {
		rig    *rig
		change []func(*http.Request)
	}{
		"anonymous":       {guardedRig, nil},
		"anonymous there": {guardedRig, []func(*http.Request){from(there), host("gohub.example")}},
		"stranger":        {guardedRig, []func(*http.Request){bearer("a-token-of-somebody-else")}},
		"user":            {guardedRig, []func(*http.Request){withCookie(cookie.Value)}},
		"user there":      {guardedRig, []func(*http.Request){withCookie(cookie.Value), from(there), host("gohub.example")}},
		"wrong cookie":    {guardedRig, []func(*http.Request){withCookie(strings.Repeat("A", 43))}},
		"short cookie":    {guardedRig, []func(*http.Request){withCookie("A")}},
		"API token":       {guardedRig, []func(*http.Request){bearer(testAPIToken), from(there), host("gohub.example")}},
		"agent token":     {guardedRig, []func(*http.Request){bearer(testAgentToken)}},
		"bad and cookie":  {guardedRig, []func(*http.Request){bearer("a-token-of-somebody-else"), withCookie(cookie.Value)}},
		"basic, cookie":   {guardedRig, []func(*http.Request){header("Authorization", "Basic YWRtaW46eA=="), withCookie(cookie.Value)}},
		"local":           {openRig, nil},
		"local, stranger": {openRig, []func(*http.Request){bearer("a-token-of-somebody-else")}},
		"local, cookie":   {openRig, []func(*http.Request){withCookie(cookie.Value)}},
		"open, there":     {openRig, []func(*http.Request){from(there)}},
		"open, proxied":   {openRig, []func(*http.Request){header("X-Forwarded-For", "192.0.2.7")}},
	}
	type route struct{ method, target string }
	open := []route{
		{"GET", "/healthz"},
		{"HEAD", "/readyz"},
		{"GET", "/"},
		{"GET", "/login/"},
		{"GET", "/login/?next=/api/v1/hosts"},
		{"GET", "/api/v1/session"},
		{"POST", "/api/v1/login"},
		{"POST", "/api/v1/logout"},
	}
	read := []route{{"GET", "/metrics"}, {"GET", "/metrics/hosts"}, {"GET", "/api/v1/live"}, {"GET", "/api/v1/hosts"}, {"HEAD", "/api/v1/hosts/1"}, {"GET", "/api"}, {"GET", "/api/v1/login"}, {"GET", "/api/v1/hosts/a%2Fb"}, {"GET", "/api/v1/%6Cogin"}}
	admin := []route{
		{"POST", "/api/v1/hosts"},
		{"DELETE", "/api/v1/hosts/1"},
		{"OPTIONS", "/api/v1/hosts"},
		{"PUT", "/api/v1/login"},
		{"POST", "/metrics"},
		{"GET", "/debug/pprof/"},
		{"GET", "/unknown"},
		{"POST", "/"},
		{"POST", "/healthz"},
		{"GET", "/healthz/"},
		{"GET", "/%68ealthz/../metrics"},
		{"GET", "//api/v1/hosts"},
		{"GET", "/login/../api/v1/hosts"},
		{"GET", "/api/../debug/pprof/"},
		{"GET", "/API/v1/hosts"},
		{"GET", "/login%2F"},
	}
	for name, want := range map[string]struct{ read, admin int }{
		"anonymous": {401, 401}, "anonymous there": {401, 401}, "stranger": {401, 401}, "wrong cookie": {401, 401}, "short cookie": {401, 401},
		"user": {200, 200}, "user there": {200, 200}, "API token": {200, 403}, "agent token": {403, 403}, "bad and cookie": {401, 401},
		"basic, cookie": {200, 200}, "local": {200, 200}, "local, stranger": {401, 401}, "local, cookie": {200, 200},
		"open, there": {401, 401}, "open, proxied": {401, 401},
	} {
		t.Run(name, func(t *testing.T) {
			caller := callers[name]
			handler := caller.rig.Middleware(reached)
			for _, routes := range []struct {
				list []route
				want int
			}{{open, 200}, {read, want.read}, {admin, want.admin}} {
				for _, route := range routes.list {
					response := serve(handler, request(route.method, route.target, caller.change...))
					require.Equal(t, routes.want, response.StatusCode, "%s %s", route.method, route.target)
					switch response.StatusCode {
					case 401:
						requireRefused(t, response, 401, 16)
						require.Equal(t, `Bearer realm="gohub"`, response.Header.Get("WWW-Authenticate"))
					case 403:
						requireRefused(t, response, 403, 7)
					}
				}
			}
		})
	}
}

func TestPrincipalReachesTheHandler(t *testing.T) {
	r := newRig(t, guarded())
	cookie := logIn(t, r)
	for want, change := range map[string]func(*http.Request){"user": withCookie(cookie.Value), "token": bearer(testAPIToken)} {
		require.Equal(t, want, serve(r.Middleware(reached), request("GET", "/metrics", change)).Header.Get("X-Kind"))
	}
	_, ok := PrincipalFrom(t.Context())
	require.False(t, ok)
}

// TestForeignHostsAreRefusedWithoutPassword is about DNS rebinding: the name of an attacker's page leads to 127.0.0.1.
func TestForeignHostsAreRefusedWithoutPassword(t *testing.T) {
	open, closed := newRig(t, Options{APIToken: testAPIToken}), newRig(t, guarded())
	for name, local := range map[string]bool{
		"localhost": true, "localhost:7700": true, "LOCALHOST:7700": true, "localhost.": true, "127.0.0.1:7700": true, "127.0.0.5": true,
		"[::1]:7700": true, "[::1]": true, "[::ffff:127.0.0.1]:7700": true,
		"": false, "attacker.example": false, "attacker.example:7700": false, "localhost.attacker.example": false, "127.0.0.1.attacker.example:7700": false,
		"0.0.0.0:7700": false, "[::]:7700": false, "192.168.1.5:7700": false, "app.localhost": false, "localhost:7700:x": false, "127.1": false, "2130706433": false,
	} {
		for _, target := range []string{"/", "/api/v1/session", "/api/v1/hosts", "/metrics", "/api/v1/live"} {
			response := serve(open.Middleware(reached), request("GET", target, host(name)))
			if local {
				require.Equal(t, 200, response.StatusCode, "%q %s", name, target)
				continue
			}
			message := requireRefused(t, response, 403, 7)
			require.Contains(t, message, "http://localhost")
			require.Contains(t, message, "set password")
		}
		require.Equal(t, 200, serve(open.Middleware(reached), request("GET", "/healthz", host(name))).StatusCode, "health is for any prober")
		require.Equal(t, 200, serve(open.Middleware(reached), request("GET", "/metrics", host(name), bearer(testAPIToken))).StatusCode, "no page knows the token")
		require.Equal(t, 200, serve(closed.Middleware(reached), request("GET", "/", host(name))).StatusCode, "a password is enough")
	}
	require.Positive(t, len(open.log.String()))
	require.NotContains(t, open.log.String(), "kind=anonymous")
}

func TestUnixSocketNeedsNoLoopbackHost(t *testing.T) {
	r := newRig(t, Options{})
	unix := func(r *http.Request) {
		r.RemoteAddr = "@"
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/gohub.sock", Net: "unix"})))
	}
	require.Equal(t, 200, serve(r.Middleware(reached), request("GET", "/api/v1/hosts", unix, host("gohub"))).StatusCode)
	require.Equal(t, 401, serve(r.Middleware(reached), request("GET", "/api/v1/hosts", unix, header("X-Forwarded-For", "192.0.2.7"))).StatusCode)
}

func TestForeignPagesAreRefused(t *testing.T) {
	options := guarded()
	options.TrustedOrigins = []string{"https://proxy.example"}
	guardedRig, openRig := newRig(t, options), newRig(t, Options{TrustedOrigins: options.TrustedOrigins})
	cookie := logIn(t, guardedRig)
	upgrade := header("Upgrade", "websocket")
	none := func(*http.Request) {}
	for name, test := range map[string]struct {
		method, target string
		change         []func(*http.Request)
		want           int
	}{
		"own page posts":                   {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "http://localhost:7700"), header("Sec-Fetch-Site", "same-origin")}, 200},
		"own page in an old browser":       {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "http://localhost:7700")}, 200},
		"curl posts":                       {"POST", "/api/v1/login", []func(*http.Request){none}, 200},
		"foreign page posts":               {"POST", "/api/v1/login", []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://attacker.example")}, 403},
		"foreign page of old browser":      {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "https://attacker.example")}, 403},
		"sister site posts":                {"POST", "/api/v1/logout", []func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403},
		"other port posts":                 {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "http://localhost:3000")}, 403},
		"sandboxed page posts":             {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "null")}, 403},
		"foreign page deletes":             {"DELETE", "/api/v1/hosts/1", []func(*http.Request){header("Origin", "https://attacker.example")}, 403},
		"trusted page posts":               {"POST", "/api/v1/logout", []func(*http.Request){header("Origin", "https://proxy.example"), header("Sec-Fetch-Site", "cross-site")}, 200},
		"foreign page reads":               {"GET", "/api/v1/hosts", []func(*http.Request){header("Origin", "https://attacker.example")}, 200}, // the browser keeps the answer from it
		"own page opens a socket":          {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "http://localhost:7700")}, 200},
		"program opens a socket":           {"GET", "/api/v1/live", []func(*http.Request){upgrade}, 200},
		"foreign page opens a socket":      {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "https://attacker.example")}, 403},
		"other port opens a socket":        {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "http://localhost:3000")}, 403},
		"sandboxed page opens a socket":    {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "null")}, 403},
		"foreign site opens, says browser": {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Sec-Fetch-Site", "cross-site")}, 403},
		"socket with two origins":          {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "http://localhost:7700"), header("Origin", "https://attacker.example")}, 403},
		"trusted page opens a socket":      {"GET", "/api/v1/live", []func(*http.Request){upgrade, header("Origin", "https://proxy.example")}, 200},
		"upgrade of another path":          {"GET", "/api/v1/hosts", []func(*http.Request){upgrade, header("Origin", "https://attacker.example")}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rig := range []*rig{guardedRig, openRig} {
				r := request(test.method, test.target, append(test.change, withCookie(cookie.Value))...)
				response := serve(rig.Middleware(reached), r)
				if test.want == 403 {
					require.Contains(t, requireRefused(t, response, 403, 7), "another site")
				}
				require.Equal(t, test.want, response.StatusCode)
				require.Equal(t, test.method, r.Method, "the request is not changed")
			}
		})
	}
	guardedRig.requireCount(t, guardedRig.metrics.denied, deniedOrigin, 12)
}

func TestSecurityHeaders(t *testing.T) {
	options := guarded()
	options.ContentSecurityPolicy = "default-src 'self'; script-src 'sha256-abc';"
	plain := newRig(t, options)
	options.SecureCookies = true
	secure := newRig(t, options)
	options.HSTS = true
	strict := newRig(t, options)
	for target, status := range map[string]int{"/": 200, "/healthz": 200, "/api/v1/session": 200, "/api/v1/hosts": 401, "/metrics": 401, "/unknown": 401} {
		h := serve(plain.Middleware(reached), request("GET", target))
		require.Equal(t, status, h.StatusCode)
		require.Equal(t, "nosniff", h.Header.Get("X-Content-Type-Options"))
		require.Equal(t, "DENY", h.Header.Get("X-Frame-Options"))
		require.Equal(t, "same-origin", h.Header.Get("Referrer-Policy"))
		require.Equal(t, "same-origin", h.Header.Get("Cross-Origin-Opener-Policy"))
		require.Equal(t, "same-origin", h.Header.Get("Cross-Origin-Resource-Policy"))
		require.Contains(t, h.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.Empty(t, h.Header.Get("Strict-Transport-Security"))
		require.Equal(t, target != "/", h.Header.Get("Cache-Control") == "no-store", target)
		h = serve(secure.Middleware(reached), request("GET", target))
		require.Empty(t, h.Header.Get("Strict-Transport-Security"), "a self-signed certificate would lock its owner out")
		h = serve(strict.Middleware(reached), request("GET", target))
		require.Equal(t, "max-age=31536000", h.Header.Get("Strict-Transport-Security"))
	}
	policy := func(target string) string {
		return serve(plain.Middleware(reached), request("GET", target)).Header.Get("Content-Security-Policy")
	}
	require.Equal(t, "default-src 'self'; script-src 'sha256-abc'; frame-ancestors 'none'", policy("/"))
	require.Equal(t, "default-src 'none'; frame-ancestors 'none'", policy("/api/v1/hosts"))
}

func TestPagePolicy(t *testing.T) {
	for given, want := range map[string]string{
		"":                      defaultPagePolicy + "; frame-ancestors 'none'",
		"default-src 'self' ; ": "default-src 'self'; frame-ancestors 'none'",
		"default-src 'self'; frame-ancestors 'self'": "default-src 'self'; frame-ancestors 'self'",
	} {
		got, err := pagePolicy(given)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestStaticPaths(t *testing.T) {
	static, err := StaticPaths(fstest.MapFS{
		"index.html": {}, "login/index.html": {}, "404.html": {}, "_next/static/a.js": {}, ".gitkeep": {}, ".hidden/x": {}, "alerts/deep/index.html": {},
	})
	require.NoError(t, err)
	for path, want := range map[string]bool{
		"/": true, "/index.html": true, "/login": true, "/login/": true, "/login/index.html": true, "/404.html": true, "/_next/static/a.js": true,
		"/alerts/deep/": true,
		"":              false, "/.gitkeep": false, "/.hidden/x": false, "/_next/": false, "/_next/static": false, "/alerts/": false, "/login//": false, "/api/v1/hosts": false, "login/": false,
	} {
		require.Equal(t, want, static(path), "%q", path)
	}
}

// TestReservedPathsStayClosed: even a Static that says yes to everything opens no data.
func TestReservedPathsStayClosed(t *testing.T) {
	options := guarded()
	options.Static = func(string) bool { return true }
	r := newRig(t, options)
	for target, want := range map[string]int{
		"/anything": 200, "/api": 401, "/api/v1/hosts": 401, "/metrics": 401, "/metrics/hosts": 401, "/debug/pprof/": 401, "/debug": 401, "/x/../metrics": 401, "//metrics": 401, "/%6Detrics": 401,
	} {
		require.Equal(t, want, serve(r.Middleware(reached), request("GET", target)).StatusCode, target)
	}
}

func TestStoreAwayIs503(t *testing.T) {
	r := newRig(t, guarded())
	cookie := logIn(t, r)
	r.sessions.fail(errAway)
	for _, target := range []string{"/api/v1/hosts", "/metrics"} {
		response := serve(r.Middleware(reached), request("GET", target, withCookie(cookie.Value)))
		require.Equal(t, "1", response.Header.Get("Retry-After"))
		require.NotContains(t, requireRefused(t, response, 503, 14), "db.internal", "the database's address is for the log only")
	}
	require.Contains(t, r.log.String(), "db.internal")
	require.Equal(t, 401, serve(r.Middleware(reached), request("GET", "/metrics")).StatusCode, "no cookie, no look-up")
	require.Equal(t, 200, serve(r.Middleware(reached), request("GET", "/", withCookie(cookie.Value))).StatusCode, "files need no session")
	require.Equal(t, 200, serve(r.Middleware(reached), request("GET", "/metrics", bearer(testAPIToken))).StatusCode)
	r.requireCount(t, r.metrics.denied, deniedUnavailable, 2)

	r.sessions.fail(nil)
	require.Equal(t, 200, serve(r.Middleware(reached), request("GET", "/metrics", withCookie(cookie.Value))).StatusCode)
}

func TestLogsHoldNoSecretsAndNoLineBreaks(t *testing.T) {
	r := newRig(t, guarded())
	cookie := logIn(t, r)
	r.clock.advance(time.Hour)
	serve(r.Middleware(reached), request("GET", "/api/x%0Alevel=ERROR%20msg=forged", bearer("a-token-of-somebody-else"), withCookie(cookie.Value)))
	serve(r.Middleware(reached), request("GET", "/api/v1/hosts", bearer(testAgentToken)))
	log := r.log.String()
	require.Contains(t, log, "kind=bad_credential")
	require.Contains(t, log, "kind=forbidden")
	require.NotContains(t, log, "\nlevel=ERROR")
	for _, secret := range []string{testPassword, cookie.Value, "a-token-of-somebody-else", testAgentToken} {
		require.NotContains(t, log, secret)
	}
	require.Equal(t, 3, strings.Count(log, "\n"))
}

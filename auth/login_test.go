package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// site is the login handlers behind the middleware, as the server has them.
func site(r *rig) http.Handler {
	mux := http.NewServeMux()
	r.Register(mux)
	mux.Handle("/", reached)
	return r.Middleware(mux)
}

func loginBody(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
}

func login(password string, change ...func(*http.Request)) *http.Request {
	body, _ := json.Marshal(map[string]string{"password": password})
	return request("POST", "/api/v1/login", append([]func(*http.Request){loginBody(string(body))}, change...)...)
}

func logIn(t *testing.T, r *rig) *http.Cookie {
	t.Helper()
	response := serve(site(r), login(testPassword))
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Len(t, response.Cookies(), 1)
	return response.Cookies()[0]
}

func TestLoginSetsCookieAndStoresOnlyItsHash(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("secure=%v", secure), func(t *testing.T) {
			options := guarded()
			options.SecureCookies = secure
			r := newRig(t, options)
			cookie := logIn(t, r)
			require.Equal(t, map[bool]string{false: "gohub_session", true: "__Host-gohub_session"}[secure], cookie.Name)
			require.Equal(t, secure, cookie.Secure)
			require.True(t, cookie.HttpOnly)
			require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
			require.Equal(t, "/", cookie.Path)
			require.Empty(t, cookie.Domain)
			require.Equal(t, 7*24*60*60, cookie.MaxAge)
			require.Len(t, cookie.Value, 43)

			rows := r.sessions.all()
			require.Len(t, rows, 1)
			for hash, session := range rows {
				require.Equal(t, storage.Session{TokenHash: hash, User: "admin", ExpiresAt: r.clock.now().Add(7 * 24 * time.Hour)}, session)
				require.Equal(t, sha256.Sum256([]byte(string(r.binding[:])+cookie.Value)), hash)
			}
			require.NotEqual(t, cookie.Value, logIn(t, r).Value)
			r.requireCount(t, r.metrics.logins, loginSuccess, 2)
		})
	}
}

func TestSessionLife(t *testing.T) {
	r := newRig(t, guarded())
	handler := site(r)
	session := func(change ...func(*http.Request)) string {
		response := serve(handler, request("GET", "/api/v1/session", change...))
		require.Equal(t, 200, response.StatusCode)
		require.Equal(t, "application/json", response.Header.Get("Content-Type"))
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return strings.TrimSpace(string(body))
	}
	const out, in = `{"authRequired":true,"authenticated":false,"user":""}`, `{"authRequired":true,"authenticated":true,"user":"admin"}`
	require.Equal(t, out, session())
	cookie := withCookie(logIn(t, r).Value)
	require.Equal(t, in, session(cookie))
	require.Equal(t, out, session(withCookie("forged")))
	require.Equal(t, out, session(bearer("a-token-of-somebody-else")))
	require.Equal(t, out, session(bearer(testAgentToken)), "an agent may not read")

	r.clock.advance(7*24*time.Hour - time.Second)
	require.Equal(t, in, session(cookie))
	r.clock.advance(time.Second)
	require.Equal(t, out, session(cookie), "expired")
	require.Equal(t, 401, serve(handler, request("GET", "/api/v1/hosts", cookie)).StatusCode)

	fresh := withCookie(logIn(t, r).Value)
	require.Len(t, r.sessions.all(), 1, "a login removes what has expired")
	response := serve(handler, request("POST", "/api/v1/logout", fresh))
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Equal(t, -1, response.Cookies()[0].MaxAge)
	require.Empty(t, response.Cookies()[0].Value)
	require.Empty(t, r.sessions.all())
	require.Equal(t, out, session(fresh))
	require.Equal(t, http.StatusNoContent, serve(handler, request("POST", "/api/v1/logout")).StatusCode, "logging out twice is fine")
}

func TestSessionWithoutPassword(t *testing.T) {
	handler := site(newRig(t, Options{}))
	response := serve(handler, request("GET", "/api/v1/session"))
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"authRequired":false,"authenticated":true,"user":"local"}`, string(body))

	require.Contains(t, requireRefused(t, serve(handler, login(testPassword)), 400, 9), "no password")
	require.Equal(t, http.StatusNoContent, serve(handler, request("POST", "/api/v1/logout", withCookie(strings.Repeat("A", 43)))).StatusCode)
}

func TestLoginReplacesTheBrowsersSession(t *testing.T) {
	r := newRig(t, guarded())
	old := logIn(t, r)
	response := serve(site(r), login(testPassword, withCookie(old.Value)))
	require.Equal(t, http.StatusNoContent, response.StatusCode)
	require.Len(t, r.sessions.all(), 1)
	require.Equal(t, 401, serve(site(r), request("GET", "/metrics", withCookie(old.Value))).StatusCode)
}

func TestBadLogins(t *testing.T) {
	for name, test := range map[string]struct {
		request      *http.Request
		status, code int
		result       string
	}{
		"wrong password":  {login("correct house"), 401, 16, loginWrong},
		"empty password":  {login(""), 401, 16, loginWrong},
		"form":            {login(testPassword, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }), 415, 3, loginMalformed},
		"plain text":      {login(testPassword, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }), 415, 3, loginMalformed},
		"no content type": {login(testPassword, func(r *http.Request) { r.Header.Del("Content-Type") }), 415, 3, loginMalformed},
		"no JSON":         {request("POST", "/api/v1/login", loginBody("password="+testPassword)), 400, 3, loginMalformed},
		"no password":     {request("POST", "/api/v1/login", loginBody(`{"user":"admin"}`)), 400, 3, loginMalformed},
		"other type":      {request("POST", "/api/v1/login", loginBody(`{"password":["`+testPassword+`"]}`)), 400, 3, loginMalformed},
		"two values":      {request("POST", "/api/v1/login", loginBody(`{"password":"x"}{}`)), 400, 3, loginMalformed},
		"nothing":         {request("POST", "/api/v1/login", loginBody(``)), 400, 3, loginMalformed},
		"large":           {login(strings.Repeat("x", 4096)), 413, 3, loginMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, guarded())
			response := serve(site(r), test.request)
			require.NotContains(t, requireRefused(t, response, test.status, test.code), testPassword)
			require.Empty(t, response.Cookies())
			require.Empty(t, r.sessions.all())
			r.requireCount(t, r.metrics.logins, test.result, 1)
			require.NotContains(t, r.log.String(), "correct")
		})
	}
	charset := login(testPassword, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") })
	require.Equal(t, 204, serve(site(newRig(t, guarded())), charset).StatusCode)
}

func TestLoginIsLimitedByAddress(t *testing.T) {
	options := guarded()
	options.Login = LoginLimits{Burst: 3, Every: 20 * time.Second}
	r := newRig(t, options)
	handler := site(r)
	for range 3 {
		require.Equal(t, 401, serve(handler, login("wrong", from("[2001:db8::1]:1"))).StatusCode)
	}
	r.clock.advance(500 * time.Millisecond)
	// Neither the right password, nor another port or address of the network, nor what a proxy may say, helps.
	for _, change := range [][]func(*http.Request){
		{from("[2001:db8::1]:2")},
		{from("[2001:db8::ffff]:1")},
		{from("[2001:db8::1]:1"), header("X-Forwarded-For", "192.0.2.99")},
	} {
		response := serve(handler, login(testPassword, change...))
		require.Equal(t, "20", response.Header.Get("Retry-After"), "19.5 s, rounded up")
		requireRefused(t, response, 429, 8)
	}
	require.Equal(t, 204, serve(handler, login(testPassword, from("[2001:db8:0:1::1]:1"))).StatusCode, "another network")
	r.clock.advance(20 * time.Second)
	require.Equal(t, 204, serve(handler, login(testPassword, from("[2001:db8::1]:1"))).StatusCode)
	r.requireCount(t, r.metrics.logins, loginLimited, 3)
	r.requireCount(t, r.metrics.logins, loginWrong, 3)
}

func TestLoginIsRefusedWhileTooManyCompute(t *testing.T) {
	options := guarded()
	options.Login = LoginLimits{Concurrent: 1, Waiting: 1}
	r := newRig(t, options)
	r.password.admitted <- struct{}{}
	r.password.admitted <- struct{}{}
	response := serve(site(r), login(testPassword))
	require.Equal(t, "1", response.Header.Get("Retry-After"))
	requireRefused(t, response, 429, 8)
	r.requireCount(t, r.metrics.logins, loginBusy, 1)
}

func TestWrongPasswordsBehindAProxyLockNobodyElseOut(t *testing.T) {
	options := guarded()
	options.Proxies, _ = ParseProxies("10.0.0.1")
	r := newRig(t, options)
	for i := range 6 {
		response := serve(site(r), login("wrong password", from("10.0.0.1:1"), header(forwardedFor, fmt.Sprintf("203.0.113.%d, 198.51.100.7", i))))
		require.Equal(t, map[bool]int{false: 401, true: 429}[i == 5], response.StatusCode)
	}
	require.Equal(t, 204, serve(site(r), login(testPassword, from("10.0.0.1:1"), header(forwardedFor, "198.51.100.8"))).StatusCode)
}

func TestLoginAndLogoutWithStoreAway(t *testing.T) {
	r := newRig(t, guarded())
	cookie := logIn(t, r)
	r.sessions.fail(errAway)
	for _, request := range []*http.Request{
		login(testPassword),
		request("POST", "/api/v1/logout", withCookie(cookie.Value)),
		request("GET", "/api/v1/session", withCookie(cookie.Value)),
	} {
		response := serve(site(r), request)
		require.NotContains(t, requireRefused(t, response, 503, 14), "db.internal")
		require.Empty(t, response.Cookies(), "the session is still there, so its cookie stays")
	}
	r.requireCount(t, r.metrics.logins, loginUnavailable, 1)
	require.Equal(t, 401, serve(site(r), login("wrong password")).StatusCode)
}

// TestLiveConnectionEndsWithALogoutOnAnotherServer: the other server takes the session out of the store, and this one looks.
func TestLiveConnectionEndsWithALogoutOnAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, guarded())
		ctx, stop := context.WithCancel(t.Context())
		var parts, connections sync.WaitGroup
		parts.Go(func() { require.NoError(t, r.Run(ctx)) })
		live := r.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }))
		begin := time.Now()
		connect := func(cookie *http.Cookie) *time.Duration {
			after := new(time.Duration)
			connections.Go(func() {
				serve(live, request("GET", "/api/v1/live", withCookie(cookie.Value)))
				*after = time.Since(begin)
			})
			return after
		}
		loggedOut, stays := logIn(t, r), logIn(t, r)
		first, second, other := connect(loggedOut), connect(loggedOut), connect(stays)
		synctest.Wait()
		require.NoError(t, r.sessions.DeleteSession(ctx, r.sessionHash(loggedOut.Value), r.clock.now()))

		r.sessions.fail(errAway)
		time.Sleep(recheckEvery + time.Second)
		synctest.Wait()
		require.Zero(t, *first, "nothing ends while the store is away")
		r.sessions.fail(nil)
		time.Sleep(recheckEvery)
		synctest.Wait()
		require.Equal(t, 2*recheckEvery, *first)
		require.Equal(t, 2*recheckEvery, *second)
		require.Zero(t, *other)
		stop()
		parts.Wait()
		r.running.end(r.sessionHash(stays.Value))
		connections.Wait()
	})
}

func TestLiveConnectionEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, guarded())
		cookies := map[string]*http.Cookie{"logged out": logIn(t, r), "expired": logIn(t, r), "closed": logIn(t, r)}
		ended := map[string]error{}
		var mu sync.Mutex
		live := r.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
			<-request.Context().Done()
			mu.Lock()
			defer mu.Unlock()
			ended[request.Header.Get("Test")] = request.Context().Err()
		}))
		endings := func() map[string]error {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(ended)
		}
		ctx, closeOne := context.WithCancel(t.Context())
		for name, cookie := range cookies {
			request := request("GET", "/api/v1/live", withCookie(cookie.Value), header("Test", name))
			if name == "closed" {
				request = request.WithContext(ctx)
			}
			go serve(live, request)
		}
		require.Empty(t, endings())

		require.Equal(t, 204, serve(site(r), request("POST", "/api/v1/logout", withCookie(cookies["logged out"].Value))).StatusCode)
		require.Equal(t, map[string]error{"logged out": context.Canceled}, endings())
		closeOne()
		time.Sleep(sessionTTL - time.Second) // of the bubble's clock
		require.Equal(t, map[string]error{"logged out": context.Canceled, "closed": context.Canceled}, endings())
		time.Sleep(time.Second)
		require.Equal(t, context.DeadlineExceeded, endings()["expired"])
		r.running.mu.Lock()
		defer r.running.mu.Unlock()
		require.Empty(t, r.running.cancels, "nothing is left behind")
	})
}

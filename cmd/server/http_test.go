package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// startApp runs a server on SQLite and free ports of this machine until the test ends, and returns its address.
func startApp(t *testing.T) (httpAddress string) { return startAppIn(t, t.TempDir()) }

// startAppIn is startApp with a data directory.
func startAppIn(t *testing.T, directory string) (httpAddress string) {
	t.Helper()
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", directory
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return app.HTTPAddr()
}

func ask(t *testing.T, method, url string) (status int, header http.Header, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(body)
}

// TestMistakesInRequestsAreToldAsJSON walks all kinds of paths: no mistake is overlooked, and none is answered by a page.
func TestMistakesInRequestsAreToldAsJSON(t *testing.T) {
	address := startApp(t)
	for _, c := range []struct {
		method, target string
		status         int
		allow, text    string
	}{
		{"POST", "/api/v1/hosts", 405, "GET, HEAD", "POST is not allowed on /api/v1/hosts"},
		{"OPTIONS", "/api/v1/range", 405, "GET, HEAD", "OPTIONS"},
		{"PUT", "/api/v1/metrics", 405, "GET, HEAD", "PUT"},
		{"POST", "/api/v1/live", 405, "GET, HEAD", "POST"},
		{"DELETE", "/api/v1/openapi.json", 405, "GET, HEAD", "DELETE"},
		{"GET", "/api/v1/login", 405, "POST", "GET is not allowed"},
		{"GET", "/api/v1/logout", 405, "POST", "GET is not allowed"},
		{"POST", "/api/v1/session", 405, "GET, HEAD", "POST is not allowed"},
		{"DELETE", "/metrics", 405, "GET, HEAD", "DELETE is not allowed on /metrics"},
		{"POST", "/healthz", 405, "GET, HEAD", "POST"},
		{"POST", "/readyz", 405, "GET, HEAD", "POST"},
		{"POST", "/", 405, "GET, HEAD", "POST"},
		{"GET", "/api", 404, "", "there is no /api"},
		{"GET", "/api/v1/hosts/", 404, "", "there is no /api/v1/hosts/"},
		{"GET", "/api/v1/hosts/7", 404, "", "no host with id 7"},
		{"GET", "/api/v1/hosts/x", 400, "", `hostId is "x"`},
		{"GET", "/api/v1/range?metrics=load1", 400, "", "hostId is required"},
		{"GET", "/api/v1/range?hostId=1&metric=load1", 400, "", `no parameter "metric"`},
		{"GET", "/api/v1/range?hostId=1&metrics=load1,load", 400, "", `no metric "load"; the nearest are load`},
		{"GET", "/api/v1/range?hostId=1&metrics=load1&from=2026-05-17", 404, "", "no host with id 1"},
		{"GET", "/api/v1/range?hostId=1&metrics=load1&from=17.05.2026", 400, "", "RFC 3339"},
	} {
		status, header, body := ask(t, c.method, "http://"+address+c.target)
		require.Equal(t, c.status, status, "%s %s: %s", c.method, c.target, body)
		require.Equal(t, c.allow, header.Get("Allow"), "%s %s", c.method, c.target)
		var answer struct{ Message string }
		require.NoError(t, json.Unmarshal([]byte(body), &answer), "%s %s: %s", c.method, c.target, body)
		require.Contains(t, answer.Message, c.text)
		require.NotContains(t, answer.Message, "strconv")
	}
}

func TestHEADWorksWhereGETDoes(t *testing.T) {
	address := startApp(t)
	for _, target := range []string{
		"/healthz", "/readyz", "/metrics", "/metrics/hosts", "/api/v1/hosts", "/api/v1/metrics", "/api/v1/info", "/api/v1/alerts", "/api/v1/rules",
		"/api/v1/session", "/api/v1/openapi.json",
	} {
		_, want, _ := ask(t, http.MethodGet, "http://"+address+target)
		status, header, body := ask(t, http.MethodHead, "http://"+address+target)
		require.Equal(t, http.StatusOK, status, target)
		require.Equal(t, want.Get("Content-Type"), header.Get("Content-Type"), target)
		require.Empty(t, body)
	}
}

func TestReadyzNamesThePartThatDoesNotWork(t *testing.T) {
	var flusher error
	handler := readiness([]readinessSource{
		{check: func(context.Context) error { return nil }, problem: "the database does not answer"},
		{check: func(context.Context) error { return flusher }, problem: "samples can not be stored"},
	}, slog.New(slog.DiscardHandler))
	answer := func() (int, string) {
		recorder := httptest.NewRecorder()
		handler(recorder, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return recorder.Code, recorder.Body.String()
	}
	status, body := answer()
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ready\n", body)
	flusher = errors.New("permission denied for table host_metrics")
	status, body = answer()
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "samples can not be stored\n", body, "the cause is for the log")
}

func TestFoldersOfTheDashboardAreNotListed(t *testing.T) {
	handler := serveFiles(fstest.MapFS{
		"index.html":               {Data: []byte("home")},
		"404.html":                 {Data: []byte("no such page")},
		"login/index.html":         {Data: []byte("log in")},
		"_next/static/chunks/a.js": {Data: []byte("script")},
	})
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/":                         {200, "home"},
		"/login/":                   {200, "log in"},
		"/_next/static/chunks/a.js": {200, "script"},
		"/_next":                    {404, "no such page"},
		"/_next/static/":            {404, "no such page"},
		"/_next/static/chunks":      {404, "no such page"},
		"/unknown":                  {404, "no such page"},
	} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
		require.Equal(t, want.status, recorder.Code, target)
		require.Equal(t, want.body, recorder.Body.String(), target)
	}
}

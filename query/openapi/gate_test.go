package openapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pass sends a request through the gate, and returns what reached the gateway, nil if nothing did.
func pass(t *testing.T, method, target string) (*httptest.ResponseRecorder, *http.Request) {
	t.Helper()
	var reached *http.Request
	gate, err := newGate(JSON, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r }))
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	gate.now = func() time.Time { return time.Unix(1779019200, 0) }
	gate.ServeHTTP(recorder, httptest.NewRequest(method, target, nil))
	return recorder, reached
}

func TestGatePassesOnWhatTheDescriptionAllows(t *testing.T) {
	for target, want := range map[string]url.Values{
		"/api/v1/hosts":   {},
		"/api/v1/hosts/7": {},
		"/api/v1/range?hostId=1&metrics=a&metrics=b&step=60": {"hostId": {"1"}, "metrics": {"a", "b"}, "step": {"60"}},
		"/api/v1/range?metrics=a,b&metrics=c":                {"metrics": {"a", "b", "c"}},
		`/api/v1/range?metrics=a{x="1,}\",",y="2"},b{},{`:    {"metrics": {`a{x="1,}\",",y="2"}`, "b{}", "{"}},
		"/api/v1/range?host_id=1&max_points=5":               {"hostId": {"1"}, "maxPoints": {"5"}},
		"/api/v1/range?from=1779019200.5&to=-1":              {"from": {"1779019200.5"}, "to": {"-1"}},
		"/api/v1/range?from=2026-05-17T12:00:00Z":            {"from": {"1779019200"}},
		"/api/v1/range?from=2026-05-17T14:00:00.25%2B02:00":  {"from": {"1779019200.25"}},
		"/api/v1/range?from=2026-05-17T14:00:00+02:00":       {"from": {"1779019200"}},
		"/api/v1/range?from=0&to=-0.0":                       {"from": {"0.001"}, "to": {"0.001"}},
		"/api/v1/range?from=1970-01-01T00:00:00Z":            {"from": {"0.001"}}, // 0 would be no start at all
		"/api/v1/range?from=2026-05-17&to=2026-05-18":        {"from": {"1778976000"}, "to": {"1779062400"}},
		"/api/v1/range?from=now-6h&to=now":                   {"from": {"1778997600"}, "to": {"1779019200"}},
		"/api/v1/range?step=5m&offset=1w":                    {"step": {"300"}, "offset": {"604800"}},
		"/api/v1/range?step=90s&offset=1d":                   {"step": {"90"}, "offset": {"86400"}},
	} {
		t.Run(target, func(t *testing.T) {
			recorder, reached := pass(t, http.MethodGet, target)
			require.NotNil(t, reached, recorder.Body.String())
			require.Equal(t, want, reached.URL.Query())
		})
	}
}

func TestGateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		method, target string
		status         int
		text           string
	}{
		"unknown path":             {"GET", "/api/v1/host", 404, "there is no /api/v1/host; GET /api/v1/openapi.json"},
		"slash at the end":         {"GET", "/api/v1/hosts/", 404, "leave the slash at its end out"},
		"above":                    {"GET", "/api", 404, "there is no /api"},
		"POST":                     {"POST", "/api/v1/hosts", 405, "POST is not allowed on /api/v1/hosts; allowed is GET, HEAD"},
		"GET where PUT is":         {"GET", "/api/v1/hosts/1/labels", 405, "allowed is PUT"},
		"OPTIONS":                  {"OPTIONS", "/api/v1/hosts/1", 405, "allowed is GET, HEAD"},
		"unknown parameter":        {"GET", "/api/v1/range?metric=a", 400, `no parameter "metric"; /api/v1/range takes hostId, metrics, from, to, step, maxPoints, hostIds`},
		"parameter where is none":  {"GET", "/api/v1/info?status=up", 400, `no parameter "status"; /api/v1/info takes none`},
		"path's own, in the query": {"GET", "/api/v1/hosts/1?hostId=2", 400, "takes none"},
		"given twice":              {"GET", "/api/v1/range?hostId=1&hostId=2", 400, "hostId is given more than once"},
		"given by both names":      {"GET", "/api/v1/range?hostId=1&host_id=2", 400, "hostId is given more than once"},
		"malformed":                {"GET", "/api/v1/range?step=%zz", 400, "the query is malformed"},
		"no id":                    {"GET", "/api/v1/hosts/web-1", 400, `hostId is "web-1", which is no whole number`},
		"id too large":             {"GET", "/api/v1/range?hostId=4294967296", 400, `hostId is "4294967296", which is no whole number from 0 to 4294967295`},
		"no number":                {"GET", "/api/v1/range?quantile=1m", 400, `quantile is "1m", which is no number`},
		"no duration":              {"GET", "/api/v1/range?step=1y", 400, `step is "1y"; it is given in seconds, as 300, or with a unit of s, m, h, d or w, as 5m`},
		"too long":                 {"GET", "/api/v1/range?offset=999999999w", 400, `offset is "999999999w"`},
		"no time ago":              {"GET", "/api/v1/range?from=now-1", 400, `from is "now-1"`},
		"time to come":             {"GET", "/api/v1/range?to=now%2B1h", 400, `to is "now+1h"`},
		"nothing":                  {"GET", "/api/v1/range?step=", 400, `step is ""`},
		"no time":                  {"GET", "/api/v1/range?from=yesterday", 400, `from is "yesterday"; a time is given in Unix seconds, as 1779019200, or by RFC 3339`},
		"long":                     {"GET", "/api/v1/range?" + strings.Repeat("a", 10_000) + "=1", 400, "aaa…"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder, reached := pass(t, c.method, c.target)
			require.Nil(t, reached)
			require.Equal(t, c.status, recorder.Code)
			require.Equal(t, "application/json", recorder.Header().Get("Content-Type"))
			var answer struct {
				Code    int
				Message string
			}
			require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &answer))
			require.NotZero(t, answer.Code)
			require.Contains(t, answer.Message, c.text)
			require.Less(t, len(answer.Message), 500)
			require.Equal(t, c.status == 405, recorder.Header().Get("Allow") != "")
		})
	}
}

func TestGateReadsHEADAsGET(t *testing.T) {
	request := httptest.NewRequest(http.MethodHead, "/api/v1/hosts", nil)
	var reached *http.Request
	gate, err := Gate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r }))
	require.NoError(t, err)
	gate.ServeHTTP(httptest.NewRecorder(), request)
	require.Equal(t, http.MethodGet, reached.Method)
	require.Equal(t, http.MethodHead, request.Method, "the request that was given is not changed")
}

// TestGateKnowsTheMethodsOfTheContract: another method in the contract needs a gate that knows what it takes.
func TestGateKnowsTheMethodsOfTheContract(t *testing.T) {
	_, err := newGate([]byte(`{"paths": {"/api/v1/rules": {"post": {}}}}`), nil)
	require.ErrorContains(t, err, "POST /api/v1/rules")
}

func TestGatePassesBodiesOn(t *testing.T) {
	var body []byte
	gate, err := Gate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, http.MethodPut, r.Method)
		var err error
		body, err = io.ReadAll(r.Body)
		require.NoError(t, err)
	}))
	require.NoError(t, err)
	put := func(kind, body string, length int64) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodPut, "/api/v1/hosts/7/labels", strings.NewReader(body))
		request.Header.Set("Content-Type", kind)
		request.ContentLength = length
		recorder := httptest.NewRecorder()
		gate.ServeHTTP(recorder, request)
		return recorder
	}
	require.Equal(t, 200, put("application/json; charset=utf-8", `{"labels":{}}`, -1).Code)
	require.JSONEq(t, `{"labels":{}}`, string(body))
	require.Contains(t, put("text/plain", `{}`, -1).Body.String(), "send it as Content-Type: application/json")
	for body, says := range map[string]string{
		`{"label": {"role": "db"}}`:     `has no \"labels\"`,
		`{"labels": {}, "role": "db"}`:  `there is no \"role\" in a body; it takes labels`,
		`{}`:                            `has no \"labels\"`,
		`{"labels": null}`:              `has no \"labels\"`,
		``:                              "no JSON object with labels",
		`null`:                          "no JSON object",
		`[{"labels": {}}]`:              "no JSON object",
		`{"labels": {}} {"labels": {}}`: "no JSON object",
		`{"labels": {"role": "db"}`:     "no JSON object",
	} {
		refused := put("application/json", body, -1)
		require.Equal(t, 400, refused.Code, body)
		require.Contains(t, refused.Body.String(), says, body)
	}
	long := `{"labels":{}}` + strings.Repeat(" ", maxBody)
	require.Contains(t, put("application/json", long, int64(len(long))).Body.String(), "the limit is 131072")
	require.Equal(t, 413, put("application/json", long, -1).Code, "a body that does not tell its length is cut off")
}

package query

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/query/openapi"
)

// get asks the service's range over HTTP, through the gate.
func get(t testing.TB, service *Service, query, accept string) *httptest.ResponseRecorder {
	t.Helper()
	gate, err := openapi.Gate(service.Formats(http.NotFoundHandler()))
	require.NoError(t, err)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/range", nil)
	request.URL.RawQuery = query
	request.Header.Set("Accept", accept)
	recorder := httptest.NewRecorder()
	gate.ServeHTTP(recorder, request)
	return recorder
}

const ofBoth = "hostId=1&metrics=cpu_usage_percent,network_receive_bytes_total&step=30"

func TestJSONIsWhatTheContractSays(t *testing.T) {
	service, _ := start(t)
	answer := get(t, service, ofBoth, "")
	require.Equal(t, http.StatusOK, answer.Code, answer.Body.String())
	require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	var got gohubv1.QueryRangeResponse
	require.NoError(t, protojson.Unmarshal(answer.Body.Bytes(), &got))
	want, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{HostId: 1, Metrics: []string{"cpu_usage_percent", "network_receive_bytes_total"}, Step: 30})
	require.NoError(t, err)
	require.True(t, proto.Equal(want, &got), "%v\n%v", want, &got)
	require.Contains(t, answer.Body.String(), `"gaps":[]`, "as the gateway writes what is empty")
}

func TestEmptyBucketsAreNullWhereAskedFor(t *testing.T) {
	service, _ := start(t)
	query := ofBoth + "&fill=null&metrics=cpu_usage_percent"
	var answer struct {
		Series []struct {
			Times []float64
			Avg   []*float64
		}
	}
	require.NoError(t, json.Unmarshal(get(t, service, query, "").Body.Bytes(), &answer))
	require.Len(t, answer.Series, 3)
	for _, series := range answer.Series {
		require.Len(t, series.Times, 121, "an hour and the bucket of now")
		var values int
		for _, value := range series.Avg {
			if value != nil {
				values++
			}
		}
		require.Equal(t, 2, values)
	}
	require.Contains(t, get(t, service, query+"&format=csv", "").Body.String(), ",eth0,,,\n")
	require.Contains(t, get(t, service, query+"&format=ndjson", "").Body.String(), `"avg":null,"min":null,"max":null}`)
}

func TestCSV(t *testing.T) {
	service, _ := start(t)
	answer := get(t, service, ofBoth, "text/csv, */*;q=0.1")
	require.Equal(t, "text/csv; charset=utf-8", answer.Header().Get("Content-Type"))
	require.Equal(t, "raw", answer.Header().Get("Gohub-Resolution"))
	require.Equal(t, "30", answer.Header().Get("Gohub-Step"))
	lines, err := csv.NewReader(answer.Body).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"time", "metric", "host_id", "hostname", "interface", "avg", "min", "max"},
		{"2026-05-17T12:33:00Z", "cpu_usage_percent", "1", "web-1", "", "12.3", "12.3", "12.3"},
		{"2026-05-17T12:33:30Z", "cpu_usage_percent", "1", "web-1", "", "12.3", "12.3", "12.3"},
		{"2026-05-17T12:33:00Z", "network_receive_bytes_total", "1", "web-1", "eth0", "1.125899906842624e+15", "1.125899906842624e+15", "1.125899906842624e+15"},
	}, lines[:4])

	grouped, err := csv.NewReader(get(t, service, "selector=*&metrics=cpu_usage_percent&step=60&aggregate=max&groupBy=os,rack&format=csv", "").Body).ReadAll()
	require.NoError(t, err)
	require.Equal(t, [][]string{{"time", "metric", "os", "rack", "avg", "min", "max"}, {"2026-05-17T12:33:00Z", "cpu_usage_percent", "", "", "12.3", "12.3", "12.3"}}, grouped)
}

// TestCSVColumnsHaveNamesOfTheirOwn: a custom metric's label may be called as a column is.
func TestCSVColumnsHaveNamesOfTheirOwn(t *testing.T) {
	of := func(names ...string) map[string]string {
		values := map[string]string{}
		for _, name := range names {
			values[name] = "of " + name
		}
		return values
	}
	for name, c := range map[string]struct {
		hostID         uint32
		group, labels  map[string]string
		offset         float64
		header, values []string // between the metric and the average
	}{
		"as they are": {1, nil, of("queue"), 0, []string{"host_id", "hostname", "queue"}, []string{"1", "a", "of queue"}},
		"those of columns": {1, nil, of("avg", "host_id", "hostname", "max", "metric", "min", "time"), 0,
			[]string{"host_id", "hostname", "exported_avg", "exported_host_id", "exported_hostname", "exported_max", "exported_metric", "exported_min", "exported_time"},
			[]string{"1", "a", "of avg", "of host_id", "of hostname", "of max", "of metric", "of min", "of time"}},
		"taken too":             {1, nil, of("exported_host_id", "exported_exported_host_id", "host_id"), 0, []string{"host_id", "hostname", "exported_exported_host_id", "exported_host_id", "exported_exported_exported_host_id"}, []string{"1", "a", "of exported_exported_host_id", "of exported_host_id", "of host_id"}},
		"a column that is not":  {0, nil, of("host_id", "offset"), 0, []string{"exported_host_id", "exported_offset"}, []string{"of host_id", "of offset"}},
		"a period before":       {0, nil, of("offset"), 60, []string{"exported_offset", "offset"}, []string{"of offset", "60"}},
		"groups of hosts":       {0, of("host_id", "hostname", "os"), of("hostname"), 0, []string{"host_id", "hostname", "os", "exported_hostname"}, []string{"of host_id", "of hostname", "of os", "of hostname"}},
		"a host's label":        {0, of("avg", "site"), nil, 0, []string{"exported_avg", "site"}, []string{"of avg", "of site"}},
		"of host and of series": {0, of("site"), of("site"), 0, []string{"site", "exported_site"}, []string{"of site", "of site"}},
	} {
		t.Run(name, func(t *testing.T) {
			series := &gohubv1.Series{Metric: "custom:x", HostId: c.hostID, Group: c.group, Labels: c.labels, Offset: c.offset, Times: []float64{0}, Avg: []float64{1}, Min: []float64{2}, Max: []float64{3}}
			if c.hostID != 0 {
				series.Hostname = "a"
			}
			var text bytes.Buffer
			out := bufio.NewWriter(&text)
			require.NoError(t, writeCSV(out, []*gohubv1.Series{series}))
			require.NoError(t, out.Flush())
			lines, err := csv.NewReader(&text).ReadAll()
			require.NoError(t, err)
			require.Equal(t, append(append([]string{"time", "metric"}, c.header...), "avg", "min", "max"), lines[0])
			require.Equal(t, append(append([]string{"1970-01-01T00:00:00Z", "custom:x"}, c.values...), "1", "2", "3"), lines[1])
		})
	}
}

func TestCSVKeepsNamesFromBeingFormulas(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "web-1": "web-1", "=HYPERLINK(1)": "'=HYPERLINK(1)", "@a": "'@a", "-1": "'-1", "+1": "'+1", "\tx": "'\tx", "ü=": "ü=",
	} {
		require.Equal(t, want, cell(text))
	}
}

func TestNDJSON(t *testing.T) {
	service, _ := start(t)
	answer := get(t, service, ofBoth+"&offset=60", "application/x-ndjson")
	require.Equal(t, "application/x-ndjson", answer.Header().Get("Content-Type"))
	lines := strings.Split(strings.TrimSpace(answer.Body.String()), "\n")
	require.JSONEq(t, `{"time":"2026-05-17T12:33:00Z","metric":"cpu_usage_percent","hostId":1,"hostname":"web-1","avg":12.3,"min":12.3,"max":12.3}`, lines[0])
	require.JSONEq(t, `{"time":"2026-05-17T12:33:30Z","metric":"network_receive_bytes_total","hostId":1,"hostname":"web-1","labels":{"interface":"eth1"},"avg":44.5,"min":30,"max":59}`, lines[5])
	require.JSONEq(t, `{"time":"2026-05-17T12:34:30Z","metric":"network_receive_bytes_total","hostId":1,"hostname":"web-1","labels":{"interface":"eth1"},"offset":60,"avg":44.5,"min":30,"max":59}`, lines[11])
	require.Len(t, lines, 12)
}

func TestFormatsRefuse(t *testing.T) {
	service, _ := start(t)
	for query, want := range map[string]string{
		"hostId=1&metrics=load1&format=xml":                  `format is "xml"; it is json, csv or ndjson`,
		"hostId=1&metrics=load9":                             "the nearest are load1",
		"metrics=load1":                                      "hostId is required",
		"hostId=1&metrics=load1&maxPoints=10000000":          "max_points 10000000 is over the limit of 11000",
		"hostId=1&metrics=load1&format=csv&selector=*":       "both by id and by selector",
		"selector=%00&metrics=load1":                         "the selector is wrong",
		"selector=*&metrics=load1&aggregate=median":          "aggregate is",
		"selector=*&metrics=load1&timezone=../../etc/passwd": "timezone is",
		"selector=*&metrics=load1&offset=7&step=60":          "offset (7s) is not a multiple of the step (1m0s)",
		"selector=*&metrics=load1&groupBy=a%22%3BDROP":       "group_by has",
		"selector=*&metrics=load1&calendar=month&step=60":    "leave one out",
		"selector=*&metrics=load1&quantile=0.5":              "quantile is given without",
		"selector=*&metrics=load1&aggregate=quantile":        "quantile is 0",
		"selector=*&metrics=load1&top=3&topBy=load5":         "none of the query's metrics",
		"selector=*&metrics=load1,core_usage_percent&top=3":  "series of one family",
		"selector=*&metrics=load1&fill=zero":                 "it is none or null",
		"hostIds=1,99&metrics=load1":                         "no host with id 99",
		"hostId=1&metrics=load1&step=0.5":                    "step is 0.5",
	} {
		answer := get(t, service, query, "text/csv")
		require.GreaterOrEqual(t, answer.Code, 400, query)
		require.Less(t, answer.Code, 500, query)
		require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
		var refused struct{ Message string }
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &refused))
		require.Contains(t, refused.Message, want, query)
	}
}

// FuzzRangeParameters: whatever is asked, the answer is well-formed and nothing fails inside.
func FuzzRangeParameters(f *testing.F) {
	f.Add(ofBoth)
	f.Add("selector=*&metrics=load1&aggregate=quantile&quantile=0.9&groupBy=os,host&top=3&fill=null&format=csv")
	f.Add("selector=a%3D~%22b%22&metrics=cpu_usage_percent&calendar=month&timezone=Asia/Kolkata&from=2026-01-01T00:00:00Z&format=ndjson")
	f.Add("hostIds=1,1&metrics=cpu_usage_percent&offset=86400&step=3600&from=1779000000&to=1e9")
	service, _ := start(f)
	f.Fuzz(func(t *testing.T, query string) {
		answer := get(t, service, query, "")
		require.Less(t, answer.Code, 500, answer.Body.String())
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") == "application/json" {
			require.True(t, json.Valid(answer.Body.Bytes()), answer.Body.String())
		}
		if values, err := url.ParseQuery(query); err == nil && answer.Code == http.StatusOK && values.Get("format") == "csv" {
			_, err := csv.NewReader(answer.Body).ReadAll()
			require.NoError(t, err)
		}
	})
}

func TestMomentIsExact(t *testing.T) {
	require.Equal(t, "2026-05-17T12:00:00Z", moment(1779019200))
	require.Equal(t, "2026-05-17T12:00:00.25Z", moment(1779019200.25))
}

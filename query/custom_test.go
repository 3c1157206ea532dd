package query

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// firsts are the first values of a query's series, by their groups and labels.
func firsts(t *testing.T, service *Service, change func(*gohubv1.QueryRangeRequest)) map[string]float64 {
	t.Helper()
	response, err := service.QueryRange(t.Context(), load(change))
	require.NoError(t, err)
	values := map[string]float64{}
	for _, series := range response.GetSeries() {
		key := series.GetHostname()
		for _, of := range []map[string]string{series.GetGroup(), series.GetLabels()} {
			for _, name := range []string{"site", "queue", "host_id", "hostname", "labels", "name"} {
				if value, ok := of[name]; ok {
					key += " " + name + "=" + value
				}
			}
		}
		require.NotContains(t, values, key)
		values[key] = series.GetAvg()[0]
	}
	return values
}

func TestCustomMetricsAreAskedForByName(t *testing.T) {
	service := startMany(t, Limits{})
	require.Equal(t, map[string]float64{"web-1 site=s1 queue=in": 1, `web-1 queue=out, "}`: 10.123456789}, firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Selector, r.HostId = []string{"custom:jobs"}, "", 1
	}))
	require.Equal(t, map[string]float64{"web-1": 1, "web-2": 1}, firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Selector = []string{"custom:backup_ok"}, `site="ams"`
	}))
	require.Equal(t, map[string]float64{`web-2 queue=out, "}`: 20.246913578}, firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Selector, r.HostId = []string{`custom:jobs{queue=~"out.*",site=""}`}, "", 2
	}))
	require.Empty(t, firsts(t, service, func(r *gohubv1.QueryRangeRequest) { r.Metrics = []string{`custom:jobs{queue="none"}`} }))
	require.Empty(t, firsts(t, service, func(r *gohubv1.QueryRangeRequest) { r.Metrics = []string{"custom:job"} }))

	response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Selector, r.HostId = []string{"custom:backup_ok", "load1", "custom:backup_ok", "custom:jobs"}, "", 1
	}))
	require.NoError(t, err)
	var names []string
	for _, series := range response.GetSeries() {
		names = append(names, series.GetMetric())
	}
	require.Equal(t, []string{"load1", "custom:backup_ok", "custom:jobs", "custom:jobs"}, names)
}

func TestCustomMetricsAreCombinedByTheirLabelsAndThoseOfHosts(t *testing.T) {
	service := startMany(t, Limits{})
	ask := func(aggregate string, groupBy ...string) map[string]float64 {
		return firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
			r.Metrics, r.Aggregate, r.GroupBy = []string{"custom:jobs"}, aggregate, groupBy
		})
	}
	require.InDelta(t, (1+10.123456789)*10, ask("sum")[""], 1e-9)
	require.Equal(t, map[string]float64{" queue=in": 4, ` queue=out, "}`: 4 * 10.123456789}, ask("max", "queue"))
	// The series have a label site of their own, so it is that.
	require.Equal(t, map[string]float64{"": 4 * 10.123456789, " site=s1": 4}, ask("max", "site"))
	got := ask("sum", "queue", "hostname")
	require.Len(t, got, 8)
	require.Equal(t, map[string]float64{" host_id=3 queue=in": 3}, only(ask("avg", "host", "queue"), " host_id=3 queue=in"))
	require.Len(t, ask("sum", "labels"), 2)
	require.Len(t, ask("sum", "nothing"), 1)

	require.Equal(t, map[string]float64{" site=ams": 2, " site=fra": 1, " site=": 1}, firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Aggregate, r.GroupBy = []string{"custom:backup_ok"}, "sum", []string{"site"}
	}))
	require.Equal(t, map[string]float64{" site=ams": 30.370370367}, only(firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Aggregate, r.GroupBy = []string{`custom:jobs{queue!="in"}`}, "sum", []string{"site"}
	}), " site=ams"))
	require.Equal(t, map[string]float64{`"'; -- queue=out, "}`: 4 * 10.123456789}, firsts(t, service, func(r *gohubv1.QueryRangeRequest) {
		r.Metrics, r.Top = []string{"custom:jobs"}, 1
	}))
}

func only(values map[string]float64, key string) map[string]float64 {
	return map[string]float64{key: values[key]}
}

func TestCustomMetricsAreRefusedByReason(t *testing.T) {
	service := startMany(t, Limits{Series: 3})
	for want, metric := range map[string]string{
		"is not made of letters":     "custom:1x",
		"the name \"\" is not":       "custom:",
		"the selector is wrong":      "custom:jobs{queue}",
		"a { without its }":          "custom:jobs{",
		"over 3 series":              "custom:jobs",
		"asked for as custom:NAME":   "jobs",
		"is 300 bytes long":          "custom:" + strings.Repeat("x", 300),
		"the selector has 5002 byte": "custom:x{" + strings.Repeat(",", 5000) + "}",
	} {
		_, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.Metrics = []string{metric} }))
		require.Equal(t, codes.InvalidArgument, status.Code(err), metric)
		require.ErrorContains(t, err, want)
	}
	_, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.Metrics, r.Top = []string{"custom:jobs", "load1"}, 2 }))
	require.ErrorContains(t, err, "ask for them apart")
}

func TestCustomMetricsInEveryFormat(t *testing.T) {
	service := startMany(t, Limits{})
	query := "hostId=1&step=60&from=2026-05-17T12:00:00Z&to=2026-05-17T12:34:00Z&metrics=" + url.QueryEscape(`custom:jobs{queue="in",site="s1"},load1`)
	csv := get(t, service, query+"&format=csv", "").Body.String()
	require.Contains(t, csv, `custom:jobs{`)
	require.Contains(t, csv, "s1")
	lines := get(t, service, query+"&format=ndjson", "").Body.String()
	require.Contains(t, lines, `"labels":{"queue":"in","site":"s1"}`)
	json := get(t, service, query, "").Body.String()
	require.Contains(t, json, `"queue":"in"`)
	require.Contains(t, json, `"load1"`)
}

package query

import (
	"cmp"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
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
	// Some series have a label site of their own, and the others the host's.
	require.Equal(t, map[string]float64{"": 4 * 10.123456789, " site=ams": 2 * 10.123456789, " site=fra": 3 * 10.123456789, " site=s1": 4}, ask("max", "site"))
	require.Equal(t, map[string]float64{
		" site=s1 queue=in": 10, ` queue=out, "}`: 4 * 10.123456789, ` site=ams queue=out, "}`: 30.370370367, ` site=fra queue=out, "}`: 30.370370367,
	}, ask("sum", "queue", "site"))
	require.Equal(t, map[string]float64{" hostname=web-2 site=ams": 2 * 10.123456789}, only(ask("avg", "hostname", "site"), " hostname=web-2 site=ams"))
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

// TestSeriesWithoutALabelAreOfTheGroupOfTheirHosts: whether a group's name is of a series or of its host, it is one group.
func TestSeriesWithoutALabelAreOfTheGroupOfTheirHosts(t *testing.T) {
	for driver, open := range drivers {
		t.Run(driver, func(t *testing.T) {
			store := open(t, storage.Options{Idle: true})
			hosts := fleet{}
			for i, labels := range []map[string]string{{"site": "ams", "rack": "r1"}, {"site": `a"ms\`}, {"rack": "r2"}} {
				facts := &gohubv1.HostFacts{Hostname: string(rune('a' + i)), IntervalMillis: 10_000}
				host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
				hosts[host.ID] = &gohubv1.Host{HostId: uint32(host.ID), Facts: facts, Labels: labels}
				value := func(labels string, value float64) *gohubv1.CustomMetrics {
					return &gohubv1.CustomMetrics{Name: "x", Labels: labels, Value: proto.Float64(value * math.Pow(10, float64(i)))}
				}
				sample := &gohubv1.Sample{TimeUnixMillis: now.Add(-5 * time.Minute).UnixMilli(), Host: &gohubv1.HostMetrics{}, Customs: []*gohubv1.CustomMetrics{
					value("", 1), value(`{site="ams"}`, 2), value(`{rack="r2"}`, 4), value(`{rack="r2",site="ams"}`, 8),
				}}
				_, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now, Rows: storagetest.Rows(host.ID, now, sample)}})
				require.NoError(t, err)
			}
			service := NewService(Options{Store: store, Fleet: hosts, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
			for name, c := range map[string]struct {
				groupBy string
				metric  string
				top     uint32
				offset  float64
				want    map[string]float64
			}{
				"a label":                 {groupBy: "site", want: map[string]float64{"site=ams ": 1 + 4 + 10*111, `site=a"ms\ `: 50, "": 500}},
				"only those that have it": {groupBy: "site", metric: `custom:x{site="ams"}`, want: map[string]float64{"site=ams ": 10 * 111}},
				"only those that do not":  {groupBy: "site", metric: `custom:x{site=""}`, want: map[string]float64{"site=ams ": 5, `site=a"ms\ `: 50, "": 500}},
				"two labels": {groupBy: "rack,site", want: map[string]float64{
					"rack=r1 site=ams ": 1 + 2, "rack=r2 site=ams ": 4 + 8 + 80 + 800 + 200, `site=a"ms\ `: 10, "site=ams ": 20, `rack=r2 site=a"ms\ `: 40, "rack=r2 ": 100 + 400,
				}},
				"beside a fact":      {groupBy: "hostname,site", metric: `custom:x{rack=""}`, want: map[string]float64{"hostname=a site=ams ": 3, "hostname=b site=ams ": 20, `hostname=b site=a"ms\ `: 10, "hostname=c site=ams ": 200, "hostname=c ": 100}},
				"the top":            {groupBy: "rack,site", top: 1, want: map[string]float64{"rack=r2 site=ams ": 1092}},
				"the top and before": {groupBy: "rack,site", top: 1, offset: 60, want: map[string]float64{"rack=r2 site=ams ": 1092}},
			} {
				t.Run(name, func(t *testing.T) {
					response, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{
						Metrics: []string{cmp.Or(c.metric, "custom:x")}, Selector: "*", Aggregate: "sum", GroupBy: strings.Split(c.groupBy, ","), Top: c.top, Offset: c.offset, Step: 60,
					})
					require.NoError(t, err)
					got := map[string]float64{}
					for _, series := range response.GetSeries() {
						key := ""
						for _, name := range strings.Split(c.groupBy, ",") {
							if value := cmp.Or(series.GetLabels()[name], series.GetGroup()[name]); value != "" {
								key += name + "=" + value + " "
							}
						}
						if series.GetOffset() == 0 {
							require.NotContains(t, got, key)
							got[key] = series.GetAvg()[0]
						} else {
							require.Contains(t, got, key)
						}
					}
					require.Equal(t, c.want, got)
					require.Len(t, response.GetSeries(), len(c.want)*map[bool]int{false: 1, true: 2}[c.offset > 0])
				})
			}
		})
	}
}

// TestLabelThatSeriesHaveOnlyNow: the period before is grouped by the hosts' labels alone.
func TestLabelThatSeriesHaveOnlyNow(t *testing.T) {
	for driver, open := range drivers {
		t.Run(driver, func(t *testing.T) {
			store := open(t, storage.Options{Idle: true})
			facts := &gohubv1.HostFacts{Hostname: "a", IntervalMillis: 10_000}
			host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
			hosts := fleet{host.ID: &gohubv1.Host{HostId: uint32(host.ID), Facts: facts, Labels: map[string]string{"site": "ams"}}}
			sample := func(ago time.Duration, labels string) *gohubv1.Sample {
				return &gohubv1.Sample{TimeUnixMillis: now.Add(-ago).UnixMilli(), Host: &gohubv1.HostMetrics{}, Customs: []*gohubv1.CustomMetrics{{Name: "x", Labels: labels, Value: proto.Float64(1)}}}
			}
			_, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now,
				Rows: storagetest.Rows(host.ID, now, sample(3*time.Hour, ""), sample(10*time.Minute, ""), sample(5*time.Minute, `{site="fra"}`))}})
			require.NoError(t, err)
			service := NewService(Options{Store: store, Fleet: hosts, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
			response, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{
				Metrics: []string{"custom:x"}, Selector: "*", Aggregate: "sum", GroupBy: []string{"site"}, Offset: 2.5 * 3600, Step: 60,
			})
			require.NoError(t, err)
			var sites []string
			for _, series := range response.GetSeries() {
				sites = append(sites, cmp.Or(series.GetLabels()["site"], series.GetGroup()["site"]))
			}
			require.ElementsMatch(t, []string{"ams", "fra", "ams"}, sites)
		})
	}
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

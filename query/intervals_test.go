package query

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// startPaced returns a service on hosts that have sampled for ten minutes, each at an interval of its own: its load is its number.
func startPaced(t *testing.T, store storage.Store, intervals ...time.Duration) *Service {
	hosts := fleet{}
	end := now.Truncate(10 * time.Minute)
	for i, interval := range intervals {
		facts := &gohubv1.HostFacts{Hostname: []string{"a", "b", "c", "d"}[i], IntervalMillis: uint32(interval.Milliseconds())}
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
		hosts[host.ID] = &gohubv1.Host{HostId: uint32(host.ID), Facts: facts, Labels: map[string]string{"site": []string{"ams", "ams", "fra", "fra"}[i]}}
		var samples []*gohubv1.Sample
		for at := end.Add(-10 * time.Minute); at.Before(end) && interval > 0; at = at.Add(interval) {
			samples = append(samples, &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{Load1: proto.Float32(float32(i + 1))}})
		}
		_, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now, Rows: storagetest.Rows(host.ID, now, samples...)}})
		require.NoError(t, err)
	}
	return NewService(Options{Store: store, Fleet: hosts, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
}

// TestCombinedHostsOfSeveralIntervalsAreInEachStep: else their sum is a sawtooth.
func TestCombinedHostsOfSeveralIntervalsAreInEachStep(t *testing.T) {
	const often, seldom, hourly = 10 * time.Second, time.Minute, time.Hour
	for name, c := range map[string]struct {
		intervals []time.Duration
		change    func(*gohubv1.QueryRangeRequest)
		step      float64
		avg       []float64 // that all points of the first series have, or else they differ
		note      string
	}{
		"combined":                     {[]time.Duration{often, often, often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "sum" }, 60, []float64{10}, ""},
		"by a fact":                    {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.GroupBy = []string{"os"} }, 60, []float64{1.5}, ""},
		"a finer step":                 {[]time.Duration{often, often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate, r.Step = "sum", 30 }, 30, nil, "1 of the 3 hosts that are combined sample less often than every 30s, and are missing from points; ask for a step of 1m0s"},
		"a wide step":                  {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate, r.Step = "sum", 60 }, 60, []float64{3}, ""},
		"one that is very rare":        {[]time.Duration{often, often, seldom, hourly}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "max" }, 60, nil, "1 of the 4 hosts that are combined sample less often than every 1m0s"},
		"all are very rare":            {[]time.Duration{hourly, hourly}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "sum" }, 3600, []float64{3}, ""},
		"not a round interval":         {[]time.Duration{often, 45 * time.Second}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "min" }, 60, []float64{1}, ""},
		"one does not tell":            {[]time.Duration{often, 0}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "sum" }, 10, []float64{1}, ""},
		"each host by itself":          {[]time.Duration{often, seldom}, func(*gohubv1.QueryRangeRequest) {}, 10, []float64{1}, ""},
		"a group for each host":        {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.GroupBy = []string{"host"} }, 10, []float64{1}, ""},
		"a group that one is alone in": {[]time.Duration{often, often, hourly}, func(r *gohubv1.QueryRangeRequest) { r.GroupBy = []string{"site"} }, 10, []float64{1.5}, ""},
		"groups by a fact":             {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.GroupBy = []string{"hostname"} }, 10, []float64{1}, ""},
		"a custom metric's label": {[]time.Duration{often, often, seldom}, func(r *gohubv1.QueryRangeRequest) {
			r.GroupBy, r.Metrics = []string{"site"}, []string{"load1", "custom:x"}
		}, 60, []float64{1.5}, ""},
		"one host":                  {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.Selector, r.Aggregate = `hostname="a"`, "sum" }, 10, []float64{1}, ""},
		"the earlier period beside": {[]time.Duration{often, seldom}, func(r *gohubv1.QueryRangeRequest) { r.Aggregate, r.Offset = "sum", 300 }, 60, []float64{3}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			service := startPaced(t, drivers["sqlite"](t, storage.Options{Idle: true}), c.intervals...)
			request := &gohubv1.QueryRangeRequest{
				Metrics: []string{"load1"}, Selector: "*", From: seconds(now.Truncate(10 * time.Minute).Add(-10 * time.Minute)), To: seconds(now.Truncate(10 * time.Minute)),
			}
			c.change(request)
			response, err := service.QueryRange(t.Context(), request)
			require.NoError(t, err)
			require.InDelta(t, c.step, response.GetStep(), 0)
			require.Equal(t, c.note != "", slices.ContainsFunc(response.GetNotes(), func(note string) bool {
				return c.note != "" && strings.HasPrefix(note, c.note)
			}), response.GetNotes())
			if c.note == "" {
				require.Empty(t, response.GetNotes())
				require.Equal(t, c.avg, slices.Compact(response.GetSeries()[0].GetAvg()))
			} else {
				require.Greater(t, len(slices.Compact(response.GetSeries()[0].GetAvg())), 1)
			}
		})
	}
}

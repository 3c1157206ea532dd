package storagetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func customSeries(name, labels string, value float64) *gohubv1.CustomMetrics {
	return &gohubv1.CustomMetrics{Name: name, Labels: labels, Value: proto.Float64(value)}
}

// customSample is two metrics, of which one has three series.
func customSample(factor float64) func(*gohubv1.Sample) {
	return func(sample *gohubv1.Sample) {
		sample.Customs = []*gohubv1.CustomMetrics{
			customSeries("queue_length", `{queue="in",site="a"}`, factor*1),
			customSeries("queue_length", `{queue="out",site="a"}`, factor*2.5),
			customSeries("queue_length", `{queue="in \"ü\"",site="b"}`, factor*-4),
			customSeries("backup_age_seconds", "", factor*86400.125),
		}
	}
}

func customQuery(name string, hosts ...storage.HostID) storage.RangeQuery {
	return storage.RangeQuery{
		Hosts: hosts, Metrics: catalogue.Custom().Metrics, Custom: name, From: base, To: base.Add(time.Hour), Step: time.Hour, MaxRows: 100, MaxSeries: 100,
	}
}

// of are the first values of series by the text of their last label.
func of(t *testing.T, s storage.Store, q storage.RangeQuery) map[string]float64 {
	t.Helper()
	series, err := s.Range(t.Context(), q)
	require.NoError(t, err)
	values := map[string]float64{}
	for _, one := range series {
		require.Len(t, one.Avg, 1)
		labels := ""
		if len(one.Labels) > 0 {
			labels = one.Labels[len(one.Labels)-1]
		}
		require.NotContains(t, values, labels)
		values[labels] = one.Avg[0]
	}
	return values
}

func custom(t *testing.T, s storage.Store) {
	one, other := register(t, s), register(t, s)
	appendAll(t, s, batch(one.ID, 0, 1, 1, customSample(1)), batch(one.ID, 1, 2, 1, customSample(3)), batch(other.ID, 0, 1, 1, customSample(10)))

	require.Equal(t, map[string]float64{"": 2 * 86400.125}, of(t, s, customQuery("backup_age_seconds", one.ID)))
	all := customQuery("queue_length", one.ID)
	require.Equal(t, map[string]float64{`{queue="in",site="a"}`: 2, `{queue="out",site="a"}`: 5, `{queue="in \"ü\"",site="b"}`: -8}, of(t, s, all))
	require.Empty(t, of(t, s, customQuery("queue", one.ID)))
	require.Empty(t, of(t, s, customQuery(`queue_length' OR '1'='1`, one.ID)))

	labels, err := s.CustomLabels(t.Context(), all)
	require.NoError(t, err)
	require.Equal(t, []string{`{queue="in \"ü\"",site="b"}`, `{queue="in",site="a"}`, `{queue="out",site="a"}`}, labels)
	few := all
	few.MaxSeries = 2
	_, err = s.CustomLabels(t.Context(), few)
	require.ErrorIs(t, err, storage.ErrTooManySeries)
	_, err = s.Range(t.Context(), few)
	require.ErrorIs(t, err, storage.ErrTooManySeries)

	some := all
	some.Known = []storage.Relabelling{{From: labels[0], To: labels[0]}, {From: "{gone=\"1\"}", To: "x"}}
	require.Equal(t, map[string]float64{labels[0]: -8}, of(t, s, some))
	some.Known = []storage.Relabelling{}
	require.Empty(t, of(t, s, some))

	bySite := customQuery("queue_length", one.ID, other.ID)
	bySite.Known = []storage.Relabelling{{From: labels[0], To: `{site="b"}`}, {From: labels[1], To: `{site="a"}`}, {From: labels[2], To: `{site="a"}`}}
	bySite.Across = &storage.Across{Function: storage.Sum, By: []string{"labels"}}
	require.Equal(t, map[string]float64{`{site="a"}`: 2 + 5 + 10 + 25, `{site="b"}`: -8 - 40}, of(t, s, bySite))
	bySite.Across = &storage.Across{Function: storage.Greatest}
	require.Equal(t, map[string]float64{"": 25}, of(t, s, bySite))
	// A part that a series has not is its host's, and a series that has it may be one with another that has it of its host.
	fallen := customQuery("queue_length", one.ID, other.ID)
	fallen.HostParts = [][]string{{"A", ";one"}, {"B", ";two"}}
	fallen.Known = []storage.Relabelling{
		{From: labels[0], To: "x:", Parts: []string{"", ""}}, {From: labels[1], To: "x:", Parts: []string{"A", ";one"}}, {From: labels[2], To: "", Parts: []string{`'"`, ""}},
	}
	fallen.Across = &storage.Across{Function: storage.Sum, By: []string{"labels"}}
	require.Equal(t, map[string]float64{"x:A;one": -8 + 2 + 10, "x:B;two": -40, `'";one`: 5, `'";two`: 25}, of(t, s, fallen))

	top := all
	top.Top = &storage.Top{Series: 1, Metric: top.Metrics[0]}
	require.Equal(t, map[string]float64{`{queue="out",site="a"}`: 5}, of(t, s, top))
	top.Top = &storage.Top{Series: 1, Metric: top.Metrics[0], Chosen: []storage.SeriesKey{{Host: one.ID, Labels: []string{"queue_length", labels[0]}}}}
	require.Equal(t, map[string]float64{labels[0]: -8}, of(t, s, top))
	bySite.Across = &storage.Across{Function: storage.Sum, By: []string{"labels"}, Groups: []int32{3, 3}}
	bySite.Top = &storage.Top{Series: 1, Metric: top.Metrics[0], Chosen: []storage.SeriesKey{{Group: 3, Labels: []string{`{site="b"}`}}}}
	require.Equal(t, map[string]float64{`{site="b"}`: -8 - 40}, of(t, s, bySite))
}

// rollsUpCustom holds every resolution's answer against that of the samples. The values are the largest and smallest that there
// may be: none must stop the rollups of the others.
func rollsUpCustom(t *testing.T, r *rollups) {
	h := r.addHost(t)
	values := []float64{1e140, -1e140, 1e-140, -1e-140, 0, 0.1, 1 << 53, -7}
	for i := range 200 {
		at := base.Add(time.Duration(i) * 40 * time.Second)
		r.send(t, h, &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{}, Customs: []*gohubv1.CustomMetrics{
			customSeries("extreme", `{a="1"}`, values[i%len(values)]), customSeries("count_total", "", float64(i*i)+0.25),
		}})
	}
	r.rollUp(t)
	// What comes late is rolled up anew.
	r.send(t, h, &gohubv1.Sample{TimeUnixMillis: base.Add(time.Second).UnixMilli(), Host: &gohubv1.HostMetrics{}, Customs: []*gohubv1.CustomMetrics{
		customSeries("count_total", "", 1000),
	}})
	r.rollUp(t)
	for _, name := range []string{"count_total", "extreme"} {
		q := customQuery(name, h.ID)
		q.To, q.MaxRows = base.Add(3*time.Hour), 1000
		want, err := r.store.Range(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, want, 1)
		require.Len(t, want[0].Avg, 3)
		for _, resolution := range []storage.Resolution{storage.Minute, storage.Hour} {
			q.Parts = []storage.Part{{Resolution: resolution, From: q.From, To: q.To}}
			got, err := r.store.Range(t.Context(), q)
			require.NoError(t, err)
			require.Len(t, got, 1, resolution)
			require.Equal(t, want[0].Times, got[0].Times)
			require.Equal(t, want[0].Min, got[0].Min)
			require.Equal(t, want[0].Max, got[0].Max)
			for i, want := range want[0].Avg {
				// Sums of other order leave other noise, of the size of what was summed.
				require.InDelta(t, want, got[0].Avg[i], 1e-12*max(got[0].Max[i], -got[0].Min[i]), "%s at %s", name, resolution)
			}
		}
	}
}

package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func TestCalendarWindows(t *testing.T) {
	for name, c := range map[string]struct {
		request  *gohubv1.QueryRangeRequest
		from, to string
		edges    []string
		step     time.Duration
		coarsest storage.Resolution
	}{
		"clocks go forward in Berlin": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "Europe/Berlin"}, from: "2026-03-28 12:00:00", to: "2026-03-30 01:00:00",
			edges: []string{"2026-03-27 23:00:00", "2026-03-28 23:00:00", "2026-03-29 22:00:00", "2026-03-30 22:00:00"}, step: day, coarsest: storage.Hour,
		},
		"clocks go back in Berlin": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "Europe/Berlin"}, from: "2026-10-24 22:00:00", to: "2026-10-25 23:00:00",
			edges: []string{"2026-10-24 22:00:00", "2026-10-25 23:00:00"}, step: 25 * time.Hour, coarsest: storage.Hour,
		},
		"a zone of half hours": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "Asia/Kolkata"}, from: "2026-05-01 00:00:00", to: "2026-05-01 01:00:00",
			edges: []string{"2026-04-30 18:30:00", "2026-05-01 18:30:00"}, step: day, coarsest: storage.Minute,
		},
		"midnight that does not exist": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "America/Sao_Paulo"}, from: "2018-11-03 12:00:00", to: "2018-11-04 12:00:00",
			edges: []string{"2018-11-03 03:00:00", "2018-11-04 03:00:00", "2018-11-05 02:00:00"}, step: day, coarsest: storage.Hour,
		},
		"midnight that comes twice": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "America/Havana"}, from: "2025-11-01 12:00:00", to: "2025-11-02 12:00:00",
			edges: []string{"2025-11-01 04:00:00", "2025-11-02 04:00:00", "2025-11-03 05:00:00"}, step: 25 * time.Hour, coarsest: storage.Hour,
		},
		"months of UTC": {
			request: &gohubv1.QueryRangeRequest{Calendar: "month"}, from: "2024-01-31 00:00:00", to: "2024-03-01 00:00:00",
			edges: []string{"2024-01-01 00:00:00", "2024-02-01 00:00:00", "2024-03-01 00:00:00"}, step: 31 * day, coarsest: storage.Day,
		},
		"months of New York": {
			request: &gohubv1.QueryRangeRequest{Calendar: "month", Timezone: "America/New_York"}, from: "2026-03-01 04:00:00", to: "2026-03-02 00:00:00",
			edges: []string{"2026-02-01 05:00:00", "2026-03-01 05:00:00", "2026-04-01 04:00:00"}, step: 31*day - time.Hour, coarsest: storage.Hour,
		},
		"two days at once begin at the same days whatever is asked": {
			request: &gohubv1.QueryRangeRequest{Step: 2 * 86400, Timezone: "Europe/Berlin"}, from: "2026-05-02 00:00:00", to: "2026-05-03 00:00:00",
			edges: []string{"2026-04-30 22:00:00", "2026-05-02 22:00:00", "2026-05-04 22:00:00"}, step: 2 * day, coarsest: storage.Hour,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.From, c.request.To = seconds(at(c.from)), seconds(at(c.to))
			w, err := planWindow(c.request, time.Second, time.Second, now)
			require.NoError(t, err)
			var edges []time.Time
			for _, edge := range c.edges {
				edges = append(edges, at(edge))
			}
			require.Equal(t, edges, w.edges)
			require.Equal(t, edges[0], w.from)
			require.Equal(t, edges[len(edges)-1], w.to)
			require.Equal(t, c.step, w.step)
			var covers []storage.Coverage
			for _, r := range storage.Resolutions {
				covers = append(covers, storage.Coverage{Resolution: r, Until: at("2030-01-01 00:00:00")})
			}
			p := makePlan(w, covers)
			require.Equal(t, c.coarsest, p.resolution())
			require.Len(t, p.parts, 1)
		})
	}
}

// TestCalendarWithoutHoursLeftIsInUTC: where only days are kept, the days of a zone can not be told any more.
func TestCalendarWithoutHoursLeftIsInUTC(t *testing.T) {
	w, err := planWindow(&gohubv1.QueryRangeRequest{
		From: seconds(at("2020-03-01 12:00:00")), To: seconds(at("2020-03-03 12:00:00")), Step: 86400, Timezone: "Europe/Berlin",
	}, time.Second, time.Second, now)
	require.NoError(t, err)
	p := makePlan(w, kept)
	require.True(t, p.coarsened)
	require.Equal(t, []time.Time{at("2020-02-29 00:00:00"), at("2020-03-01 00:00:00"), at("2020-03-02 00:00:00"), at("2020-03-03 00:00:00"), at("2020-03-04 00:00:00")}, p.edges[:5])
	require.Equal(t, "1d", p.source())
}

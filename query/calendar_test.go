package query

import (
	"archive/zip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones, on whatever machine

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
		"a date that was skipped": {
			request: &gohubv1.QueryRangeRequest{Step: 86400, Timezone: "Pacific/Apia"}, from: "2011-12-29 12:00:00", to: "2012-01-01 09:00:00",
			edges: []string{"2011-12-29 10:00:00", "2011-12-30 10:00:00", "2011-12-31 10:00:00", "2012-01-01 10:00:00"}, step: day, coarsest: storage.Hour,
		},
		"two days at once of which the first was skipped": {
			request: &gohubv1.QueryRangeRequest{Step: 2 * 86400, Timezone: "Pacific/Apia"}, from: "2011-12-29 12:00:00", to: "2012-01-03 09:00:00",
			edges: []string{"2011-12-28 10:00:00", "2011-12-30 10:00:00", "2011-12-31 10:00:00", "2012-01-02 10:00:00", "2012-01-04 10:00:00"}, step: 2 * day, coarsest: storage.Hour,
		},
		"days west of Greenwich at the very beginning": {
			request: &gohubv1.QueryRangeRequest{Step: 3 * 86400, Timezone: "America/New_York"}, from: "1970-01-01 00:00:01", to: "1970-01-03 00:00:00",
			edges: []string{"1969-12-29 05:00:00", "1970-01-01 05:00:00", "1970-01-04 05:00:00"}, step: 3 * day, coarsest: storage.Hour,
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

// zones are the names of those in Go's own list, links left out.
func zones(t *testing.T) []string {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	list, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Skip("this Go came without its list of time zones: ", err)
	}
	defer func() { require.NoError(t, list.Close()) }()
	var names []string
	seen := map[uint32]bool{}
	for _, file := range list.File {
		if !strings.HasSuffix(file.Name, "/") && !seen[file.CRC32] {
			seen[file.CRC32] = true
			names = append(names, file.Name)
		}
	}
	require.Greater(t, len(names), 300)
	return names
}

// TestBucketsOfEveryZoneFollowEachOther: around each change of its clocks, where dates are short, long, twice or missing.
func TestBucketsOfEveryZoneFollowEachOther(t *testing.T) {
	from, to := at("1970-01-02 00:00:00"), at("2038-01-01 00:00:00")
	for _, name := range zones(t) {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		check := func(c calendar, w window, from, to time.Time) {
			first, last := w.edges[0], w.edges[len(w.edges)-1]
			if first.After(from) || last.Before(to) || w.from != first || w.to != last {
				t.Fatalf("%s has buckets from %s to %s for the range from %s to %s", name, first, last, from, to)
			}
			for i, edge := range w.edges {
				if i > 0 && !edge.After(w.edges[i-1]) {
					t.Fatalf("%s: after %s comes %s", name, w.edges[i-1], edge)
				}
				if count(edge.In(zone)) <= count(edge.Add(-time.Millisecond).In(zone)) {
					t.Fatalf("%s: no date begins at %s", name, edge.In(zone))
				}
				if c.days == 0 && edge.In(zone).Day() != 1 {
					t.Fatalf("%s: no month begins at %s", name, edge.In(zone))
				}
			}
		}
		for change := from.In(zone); ; {
			_, change = change.ZoneBounds()
			if change.IsZero() || change.After(to) {
				break
			}
			for _, days := range []int{1, 2, 7, 0} {
				c := calendar{zone: zone, days: days}
				for _, begin := range []time.Time{change.Add(-3 * day), change.Add(-time.Millisecond), change} {
					w := c.window(begin, change.Add(4*day))
					check(c, w, begin, change.Add(4*day))
					for _, edge := range w.edges {
						if days == 2 && !slices.Contains(c.window(edge.Add(-8*day), edge.Add(day)).edges, edge) {
							t.Fatalf("%s: a bucket begins at %s in one range and not in another", name, edge)
						}
					}
				}
			}
		}
	}
}

// count numbers a time's date from 1970-01-01.
func count(t time.Time) int64 {
	year, month, date := t.Date()
	return time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

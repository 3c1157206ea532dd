package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", text)
	if err != nil {
		panic(err)
	}
	return t
}

// kept is what a server has that rolls up and drops as it should, at noon of 2026-05-17.
var kept = []storage.Coverage{
	{Resolution: storage.Raw, From: at("2026-05-10 12:00:07")},
	{Resolution: storage.Minute, From: at("2026-02-16 12:00:07"), Until: at("2026-05-17 11:58:00")},
	{Resolution: storage.Hour, From: at("2024-05-17 12:00:07"), Until: at("2026-05-17 11:00:00")},
	{Resolution: storage.Day, Until: at("2026-05-17 00:00:00")},
}

func TestMakePlan(t *testing.T) {
	for name, c := range map[string]struct {
		from, to  string
		step      time.Duration
		coverage  []storage.Coverage
		want      []storage.Part
		wantStep  time.Duration
		coarsened bool
	}{
		"finer than a minute is raw": {
			from: "2026-05-17 11:00:00", to: "2026-05-17 12:00:00", step: 10 * time.Second, coverage: kept,
			want: []storage.Part{{Resolution: storage.Raw, From: at("2026-05-17 11:00:00"), To: at("2026-05-17 12:00:00")}},
		},
		"a step that minutes do not make is raw": {
			from: "2026-05-17 11:00:00", to: "2026-05-17 12:00:00", step: 90 * time.Second, coverage: kept,
			want: []storage.Part{{Resolution: storage.Raw, From: at("2026-05-17 11:00:00"), To: at("2026-05-17 12:00:00")}},
		},
		"minutes with their tail": {
			from: "2026-05-17 06:00:00", to: "2026-05-17 12:00:00", step: 5 * time.Minute, coverage: kept,
			want: []storage.Part{
				{Resolution: storage.Minute, From: at("2026-05-17 06:00:00"), To: at("2026-05-17 11:58:00")},
				{Resolution: storage.Raw, From: at("2026-05-17 11:58:00"), To: at("2026-05-17 12:00:00")},
			},
		},
		"days, hours, minutes and raw": {
			from: "2026-05-01 00:00:00", to: "2026-05-18 00:00:00", step: 24 * time.Hour, coverage: kept,
			want: []storage.Part{
				{Resolution: storage.Day, From: at("2026-05-01 00:00:00"), To: at("2026-05-17 00:00:00")},
				{Resolution: storage.Hour, From: at("2026-05-17 00:00:00"), To: at("2026-05-17 11:00:00")},
				{Resolution: storage.Minute, From: at("2026-05-17 11:00:00"), To: at("2026-05-17 11:58:00")},
				{Resolution: storage.Raw, From: at("2026-05-17 11:58:00"), To: at("2026-05-18 00:00:00")},
			},
		},
		"all of it rolled up": {
			from: "2026-05-01 00:00:00", to: "2026-05-02 00:00:00", step: time.Hour, coverage: kept,
			want: []storage.Part{{Resolution: storage.Hour, From: at("2026-05-01 00:00:00"), To: at("2026-05-02 00:00:00")}},
		},
		"raw is gone": {
			from: "2026-05-01 00:00:00", to: "2026-05-01 01:00:00", step: 10 * time.Second, coverage: kept, wantStep: time.Minute, coarsened: true,
			want: []storage.Part{{Resolution: storage.Minute, From: at("2026-05-01 00:00:00"), To: at("2026-05-01 01:00:00")}},
		},
		"raw is gone, and the step is odd": {
			from: "2026-05-01 00:00:00", to: "2026-05-01 01:00:30", step: 90 * time.Second, coverage: kept, wantStep: 2 * time.Minute, coarsened: true,
			want: []storage.Part{{Resolution: storage.Minute, From: at("2026-05-01 00:00:00"), To: at("2026-05-01 01:02:00")}},
		},
		"minutes and hours are gone": {
			from: "2020-05-01 00:00:00", to: "2020-05-01 01:00:00", step: time.Minute, coverage: kept, wantStep: 24 * time.Hour, coarsened: true,
			want: []storage.Part{{Resolution: storage.Day, From: at("2020-05-01 00:00:00"), To: at("2020-05-02 00:00:00")}},
		},
		"nothing is rolled up yet, and older than retention": {
			from: "2026-05-01 00:00:00", to: "2026-05-02 00:00:00", step: time.Hour,
			coverage: []storage.Coverage{{Resolution: storage.Raw, From: at("2026-05-10 12:00:00")}, {Resolution: storage.Minute}, {Resolution: storage.Hour}, {Resolution: storage.Day}},
			want:     []storage.Part{{Resolution: storage.Raw, From: at("2026-05-01 00:00:00"), To: at("2026-05-02 00:00:00")}},
		},
		"no rollups at all": {
			from: "2026-05-01 00:00:00", to: "2026-05-02 00:00:00", step: time.Hour,
			want: []storage.Part{{Resolution: storage.Raw, From: at("2026-05-01 00:00:00"), To: at("2026-05-02 00:00:00")}},
		},
		"hours are kept for less long than minutes": {
			from: "2026-05-01 00:00:00", to: "2026-05-01 06:00:00", step: time.Hour,
			coverage: []storage.Coverage{
				{Resolution: storage.Minute, Until: at("2026-05-02 00:00:00")},
				{Resolution: storage.Hour, From: at("2026-05-01 02:30:00"), Until: at("2026-05-01 05:00:00")},
			},
			want: []storage.Part{
				{Resolution: storage.Minute, From: at("2026-05-01 00:00:00"), To: at("2026-05-01 03:00:00")},
				{Resolution: storage.Hour, From: at("2026-05-01 03:00:00"), To: at("2026-05-01 05:00:00")},
				{Resolution: storage.Minute, From: at("2026-05-01 05:00:00"), To: at("2026-05-01 06:00:00")},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := makePlan(window{from: at(c.from), to: at(c.to), step: c.step}, c.coverage)
			require.Equal(t, c.want, p.parts)
			require.Equal(t, c.coarsened, p.coarsened)
			if c.wantStep == 0 {
				c.wantStep = c.step
			}
			require.Equal(t, c.wantStep, p.step)
		})
	}
}

func TestThinReadsLessForManyHosts(t *testing.T) {
	for name, c := range map[string]struct {
		hosts    int
		from     string
		step     time.Duration
		wantStep time.Duration
		source   string
	}{
		"a few hosts":               {hosts: 100, from: "2026-05-17 00:00:00", step: 2 * time.Minute, wantStep: 2 * time.Minute, source: "1m+raw"},
		"a large fleet's half day":  {hosts: 4000, from: "2026-05-17 00:00:00", step: 2 * time.Minute, wantStep: time.Hour, source: "1h+1m+raw"},
		"its last hour":             {hosts: 4000, from: "2026-05-17 11:00:00", step: 10 * time.Second, wantStep: time.Minute, source: "1m+raw"},
		"its quarter":               {hosts: 4000, from: "2026-02-17 00:00:00", step: 6 * time.Hour, wantStep: 24 * time.Hour, source: "1d+1h+1m+raw"},
		"so many that nothing does": {hosts: 4_000_000, from: "2026-05-17 11:58:00", step: 10 * time.Second, wantStep: 10 * time.Second, source: "raw"},
	} {
		t.Run(name, func(t *testing.T) {
			p := makePlan(window{from: at(c.from), to: at("2026-05-17 12:00:00"), step: c.step}, kept)
			thin, thinned := p.thin(c.hosts, 10*time.Second, at("2026-05-17 12:00:00"), kept)
			require.Equal(t, c.wantStep != c.step, thinned)
			require.Equal(t, c.wantStep, thin.step)
			require.Equal(t, c.source, thin.source())
		})
	}
}

// TestOffsetHasOneStepForBothPeriods: where the earlier one is kept less finely, both are widened.
func TestOffsetHasOneStepForBothPeriods(t *testing.T) {
	service := startMany(t, Limits{})
	service.options.Store = &covered{Store: service.options.Store.(storage.Store), coverage: kept}
	service.options.Now = func() time.Time { return at("2026-05-17 12:00:00") }
	request := &gohubv1.QueryRangeRequest{Metrics: []string{"load1"}, Selector: "*", Step: 10, Offset: 30 * 86400}
	q, err := service.readQuery(t.Context(), request)
	require.NoError(t, err)
	require.NoError(t, service.planQuery(t.Context(), q))
	require.Equal(t, time.Minute, q.step)
	require.Equal(t, time.Minute, q.earlier.step)
	require.Equal(t, "1m+raw", q.source())
	require.Equal(t, "1m", q.earlier.source())
	require.Equal(t, []string{"so far back nothing finer than 1m is kept: the step is 1m0s"}, q.notes)

	request.Offset = 3*365*86400 + 10
	q, err = service.readQuery(t.Context(), request)
	require.NoError(t, err)
	require.ErrorContains(t, service.planQuery(t.Context(), q), "is not a multiple of the step (24h0m0s)")
}

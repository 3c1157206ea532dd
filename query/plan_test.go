package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

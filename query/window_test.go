package query

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

var now = time.Date(2026, 5, 17, 12, 34, 56, 789e6, time.UTC)

func TestPlanWindow(t *testing.T) {
	at := func(clock string) float64 {
		parsed, err := time.Parse(time.RFC3339, "2026-05-17T"+clock+"Z")
		require.NoError(t, err)
		return float64(parsed.Unix())
	}
	for name, c := range map[string]struct {
		request  *gohubv1.QueryRangeRequest
		interval time.Duration
		from, to float64
		step     time.Duration
	}{
		"nothing asked: the last hour": {&gohubv1.QueryRangeRequest{}, 10 * time.Second, at("11:34:50"), at("12:35:00"), 10 * time.Second},
		"an agent every second":        {&gohubv1.QueryRangeRequest{From: at("12:30:00"), To: at("12:34:00")}, time.Second, at("12:30:00"), at("12:34:00"), time.Second},
		"a day in 500 points":          {&gohubv1.QueryRangeRequest{From: at("00:00:00"), To: at("12:00:00")}, 10 * time.Second, at("00:00:00"), at("12:00:00"), 2 * time.Minute},
		"few points":                   {&gohubv1.QueryRangeRequest{From: at("00:00:00"), To: at("12:00:00"), MaxPoints: 12}, 10 * time.Second, at("00:00:00"), at("12:00:00"), time.Hour},
		"own step, borders widened":    {&gohubv1.QueryRangeRequest{From: at("10:00:30"), To: at("10:59:30"), Step: 60}, 10 * time.Second, at("10:00:00"), at("11:00:00"), time.Minute},
		"borders on buckets stay":      {&gohubv1.QueryRangeRequest{From: at("10:00:00"), To: at("11:00:00"), Step: 600}, 10 * time.Second, at("10:00:00"), at("11:00:00"), 10 * time.Minute},
		"ten years":                    {&gohubv1.QueryRangeRequest{From: 1463486400, To: 1779019200}, 10 * time.Second, 0, 0, 10 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := planWindow(c.request, c.interval, 0, now)
			require.NoError(t, err)
			require.Equal(t, c.step, w.step)
			require.Zero(t, w.from.UnixMilli()%w.step.Milliseconds())
			if c.to != 0 {
				require.InDelta(t, c.from, seconds(w.from), 0)
				require.InDelta(t, c.to, seconds(w.to), 0)
			}
		})
	}
}

func TestPlanWindowRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		request *gohubv1.QueryRangeRequest
		text    string
	}{
		"inverted":        {&gohubv1.QueryRangeRequest{From: 2000, To: 1000}, "is not before to"},
		"empty":           {&gohubv1.QueryRangeRequest{From: 1000, To: 1000}, "is not before to"},
		"negative":        {&gohubv1.QueryRangeRequest{From: -5}, "from is -5"},
		"NaN":             {&gohubv1.QueryRangeRequest{To: math.NaN()}, "to is NaN"},
		"infinite":        {&gohubv1.QueryRangeRequest{To: math.Inf(1)}, "to is +Inf"},
		"milliseconds":    {&gohubv1.QueryRangeRequest{To: 1779019200000}, "not a Unix time in seconds"},
		"too long":        {&gohubv1.QueryRangeRequest{From: 1, To: 1779019200}, "over the limit of 3660"},
		"tiny step":       {&gohubv1.QueryRangeRequest{Step: 0.001}, "step is 0.001"},
		"negative step":   {&gohubv1.QueryRangeRequest{Step: -1}, "step is -1"},
		"NaN step":        {&gohubv1.QueryRangeRequest{Step: math.NaN()}, "step is NaN"},
		"under interval":  {&gohubv1.QueryRangeRequest{Step: 5}, "a step of 5s is shorter than the hosts' samples are apart, 10s"},
		"too many points": {&gohubv1.QueryRangeRequest{From: 1778000000, To: 1779000000, Step: 10}, "ask for a step of 2m0s or longer"},
		"huge max_points": {&gohubv1.QueryRangeRequest{MaxPoints: 10_000_000}, "max_points 10000000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planWindow(c.request, 10*time.Second, 10*time.Second, now)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func FuzzPlanWindow(f *testing.F) {
	f.Add(0.0, 0.0, 0.0, uint32(0), int64(10_000))
	f.Add(1779019200.5, 1779022800.25, 60.0, uint32(500), int64(1000))
	f.Add(math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, uint32(math.MaxUint32), int64(-1))
	f.Fuzz(func(t *testing.T, from, to, step float64, points uint32, intervalMillis int64) {
		interval := time.Duration(intervalMillis%3_600_000) * time.Millisecond
		w, err := planWindow(&gohubv1.QueryRangeRequest{From: from, To: to, Step: step, MaxPoints: points}, interval, interval, now)
		if err != nil {
			return
		}
		require.True(t, w.from.Before(w.to), "%v", w)
		require.GreaterOrEqual(t, w.step, time.Second)
		require.LessOrEqual(t, w.to.Sub(w.from)/w.step, time.Duration(maxPoints+2))
	})
}

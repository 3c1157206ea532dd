package storage

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClockThatRanOnIsBelieved has no round come through for a month, in which the server runs: nothing is asked of samples.
func TestClockThatRanOnIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewClock(slog.New(slog.DiscardHandler))
		until := time.Now().UTC().Round(0).Add(-RollupLag)
		for range 2 {
			now := time.Now()
			judged, err := clock.Judge(now, until, func(_, _ time.Time) ([]time.Time, error) { return nil, errors.New("asked for") })
			require.NoError(t, err)
			require.Equal(t, now.UTC().Round(0), judged)
			time.Sleep(30 * 24 * time.Hour)
		}
	})
}

func TestTakeBackLeavesWhatCanNotBeMadeAgain(t *testing.T) {
	at := func(day, minute int) time.Time { return time.Date(2026, 3, day, 0, minute, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		level       Level
		target      time.Time
		until, gone time.Time
	}{
		"ahead, and samples are there": {Level{Until: at(30, 0), Gone: at(23, 0), OldestFiner: at(2, 0)}, at(3, 5), at(3, 5), at(2, 0)},
		"ahead by a little":            {Level{Until: at(4, 0), Gone: at(1, 0), OldestFiner: at(1, 0)}, at(3, 5), at(3, 5), at(1, 0)},
		"the clock is far back":        {Level{Until: at(9, 0), Gone: at(2, 0), OldestFiner: at(2, 1).Add(time.Second)}, at(1, 0).AddDate(-20, 0, 0), at(2, 2), at(2, 0)},
		"far back, and no samples":     {Level{Until: at(9, 0), Gone: at(2, 0), NewestBucket: at(1, 7)}, at(1, 0).AddDate(-20, 0, 0), at(1, 8), at(1, 8)},
		"samples are ahead as well":    {Level{Until: at(30, 0), Gone: at(23, 0), OldestFiner: at(29, 0)}, at(3, 5), at(29, 0), at(23, 0)},
		"samples began just now":       {Level{Until: at(30, 0), Gone: at(23, 0), OldestFiner: at(3, 5).Add(time.Second)}, at(3, 5), at(3, 5), at(3, 5).Add(time.Second)},
		"never made":                   {Level{OldestFiner: at(2, 0)}, at(3, 5), time.Time{}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			until, gone := c.level.TakeBack(Minute, c.target)
			require.Equal(t, c.until, until)
			require.Equal(t, c.gone, gone)
		})
	}
}

func TestLateIsNotedOfWhatAWrongClockTookForGone(t *testing.T) {
	clock := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	keep := 7 * 24 * time.Hour
	since, old := clock.Add(-keep), clock.Add(-30*24*time.Hour)
	for name, c := range map[string]struct {
		level Level
		keep  time.Duration
		late  Span
	}{
		"two hours":                {Level{Until: clock.Add(2*time.Hour - 2*time.Minute), Gone: since.Add(2 * time.Hour), OldestFiner: old}, keep, Span{since, since.Add(2*time.Hour + time.Minute)}},
		"two hours, and it is new": {Level{Until: clock.Add(2 * time.Hour), OldestFiner: clock.Add(-time.Hour)}, keep, Span{}},
		"a month":                  {Level{Until: clock.Add(30 * 24 * time.Hour), Gone: clock.Add(23 * 24 * time.Hour), OldestFiner: old}, keep, Span{since, clock}},
		"for ever":                 {Level{Until: clock.Add(2 * time.Hour), OldestFiner: old}, 0, Span{}},
		"for ever since":           {Level{Until: clock.Add(2 * time.Hour), Gone: since, OldestFiner: old}, 0, Span{old, since}},
		"nothing is there":         {Level{Until: clock.Add(30 * 24 * time.Hour), Gone: clock}, keep, Span{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.late, c.level.Late(clock, clock, c.keep)) })
	}
}

// TestTakingBackWaitsTenMinutesOfTheMonotonicClock has the clock be set on, and stay behind.
func TestTakingBackWaitsTenMinutesOfTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := NewClock(slog.New(slog.DiscardHandler))
		until := time.Now().Add(24 * time.Hour)
		for minute := range 12 {
			now := time.Now()
			require.Equal(t, minute >= 10, clock.TakesBack(now, now, until), minute)
			time.Sleep(time.Minute)
		}
		require.False(t, clock.TakesBack(time.Now(), until, until), "the database's clock is not behind")
		require.False(t, clock.TakesBack(time.Now(), time.Now(), until), "it begins anew")
	})
}

func TestMedianIsConfirmedByMost(t *testing.T) {
	times := func(seconds ...int64) (all []time.Time) {
		for _, one := range seconds {
			all = append(all, time.Unix(one, 0))
		}
		return all
	}
	require.Zero(t, median(nil))
	for seconds, all := range map[int64][]time.Time{1: times(1), 2: times(9, 2), 3: times(3, 1, 9), 4: times(9, 4, 1, 9), 5: times(9, 1, 2, 5, 9)} {
		require.Equal(t, time.Unix(seconds, 0), median(all))
	}
}

func TestClockIsNotBelievedWhileAgentsContradictIt(t *testing.T) {
	c := NewClock(slog.New(slog.DiscardHandler))
	last := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	none := func(time.Time, time.Time) ([]time.Time, error) { return nil, nil }
	judge := func(clock time.Time) time.Time {
		now, err := c.Judge(clock, last, none)
		require.NoError(t, err)
		return now
	}
	fast := last.Add(30 * 24 * time.Hour)
	for range 10 {
		c.Contradict()
		require.NotEqual(t, fast, judge(fast))
		fast = fast.Add(24 * time.Hour)
	}
	for range 6 {
		require.NotEqual(t, fast, judge(fast))
		fast = fast.Add(24 * time.Hour)
	}
	require.Equal(t, fast, judge(fast), "nobody has said anything for a week")
}

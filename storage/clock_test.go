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
			judged, err := clock.Judge(now, until, func() (time.Time, error) { return time.Time{}, errors.New("asked for") })
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
		"never made":                   {Level{OldestFiner: at(2, 0)}, at(3, 5), time.Time{}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			until, gone := c.level.TakeBack(Minute, c.target)
			require.Equal(t, c.until, until)
			require.Equal(t, c.gone, gone)
		})
	}
}

package agent

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// steppedClock is a clock whose every Sleep takes exactly its time, and which may be set between two of them.
type steppedClock struct {
	now    time.Time
	steps  map[int]time.Duration // added during the sleep of that number
	sleeps int
	end    int
}

func (c *steppedClock) Now() time.Time { return c.now }

func (c *steppedClock) Sleep(_ context.Context, d time.Duration) bool {
	c.sleeps++
	if c.sleeps > c.end {
		return false
	}
	c.now = c.now.Add(d + c.steps[c.sleeps])
	return true
}

func TestSchedule(t *testing.T) {
	const at = 1_700_000_003 // 3 s past a boundary of 10 s
	for _, c := range []struct {
		name  string
		steps map[int]time.Duration
		end   int
		want  []int64 // dates in seconds after the boundary before the start
	}{
		{"runs", nil, 4, []int64{10, 20, 30, 40}},
		{"jumps ahead: boundaries are left out", map[int]time.Duration{2: 35 * time.Second}, 3, []int64{10, 50, 60}},
		{"steps back a little: waits until it is past the last date", map[int]time.Duration{3: -25 * time.Second}, 6, []int64{10, 20, 30}},
		{"steps far back: begins again", map[int]time.Duration{3: -time.Hour}, 4, []int64{10, 20, 30 - 3600, 40 - 3600}},
		{"wakes a moment early", map[int]time.Duration{2: -time.Millisecond}, 4, []int64{10, 20, 30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := &steppedClock{now: time.Unix(at, 0), steps: c.steps, end: c.end}
			s := schedule{interval: 10 * time.Second, log: slog.New(slog.DiscardHandler)}
			var got []int64
			s.every(t.Context(), clock, func(date time.Time) { got = append(got, date.Unix()-(at-3)) })
			if !slices.Equal(got, c.want) {
				t.Errorf("dates %v, want %v", got, c.want)
			}
		})
	}
}

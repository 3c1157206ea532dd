package agent

import (
	"context"
	"log/slog"
	"time"
)

// longestHold is how far the clock may step back for the agent to wait until it is there again. After a longer step, the
// clock was wrong before it: waiting would leave the machine unwatched for as long as it was wrong.
const longestHold = 5 * time.Minute

// schedule says when to take samples, and how to date them: on the multiples of the interval since the Unix epoch.
//
//	wall clock    behaviour
//	runs          one sample an interval, each dated with the boundary just passed
//	jumps ahead   the boundaries in between have no sample (so too after a suspend)
//	steps back    no sample until it has passed the last one's date, so that dates only grow;
//	              after a step of more than longestHold, dates begin again at the new time
//
// Its times are wall clock times; rates do not depend on them.
type schedule struct {
	interval time.Duration
	last     int64 // date of the last sample, Unix milliseconds; 0 for none
	holding  bool
	log      *slog.Logger
}

// untilNext is how long to wait for the next boundary. It is never longer than the interval, so that a step of the clock
// is noticed.
func (s *schedule) untilNext(now time.Time) time.Duration {
	into := time.Duration(now.UnixNano()) % s.interval
	return s.interval - into
}

// tick returns the date of the sample to take now; ok is false if it is not time for one.
func (s *schedule) tick(now time.Time) (date time.Time, ok bool) {
	millis := now.UnixMilli()
	millis -= millis % s.interval.Milliseconds()
	behind := time.Duration(s.last-millis) * time.Millisecond
	switch {
	case s.last == 0 || behind < 0:
		if s.holding {
			s.log.Info("the clock has caught up; sampling goes on", "now", now.UTC())
		}
	case behind == 0: // woken a moment early
		return time.Time{}, false
	case behind <= longestHold:
		if !s.holding {
			s.log.Warn("the clock stepped back; no samples until it has passed the last one's time", "behind", behind, "now", now.UTC())
			s.holding = true
		}
		return time.Time{}, false
	default:
		s.log.Warn("the clock stepped far back; samples are dated by the new time from here", "behind", behind, "now", now.UTC())
	}
	s.holding = false
	s.last = millis
	return time.UnixMilli(millis).UTC(), true
}

// clock is the wall clock and a timer, for tests to replace.
type clock interface {
	Now() time.Time
	// Sleep waits for d, and returns false if the context ended first.
	Sleep(ctx context.Context, d time.Duration) bool
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// every calls take at each tick of the schedule until the context ends.
func (s *schedule) every(ctx context.Context, c clock, take func(date time.Time)) {
	for c.Sleep(ctx, s.untilNext(c.Now())) {
		if date, ok := s.tick(c.Now()); ok {
			take(date)
		}
	}
}

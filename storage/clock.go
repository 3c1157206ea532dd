package storage

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// A clock may be this much ahead of the last round of rolling up, and is believed: least of all retentions are two days.
	longestStep = 24 * time.Hour
	// A sample that is so near to the clock confirms it.
	confirms = time.Hour
	// A clock that nothing speaks against is believed after this time: agents that are all silent must not end retention.
	patience = 7 * 24 * time.Hour
	// Ahead is how far rollups may be ahead of the clock: what comes meanwhile is late, which costs more and is right.
	ahead = time.Hour
)

// Clock says what the time is for rollups and retention, of a server's clock that may be wrong. To believe one that is a month
// ahead, once, is to drop all samples.
//
// The last round's time is kept by the minutes' progress. A clock that is more than a day after it, at a start or by a step that
// the monotonic clock does not confirm, is doubtful, for the server may as well have been off. Until the doubt ends, the newest
// stored sample's time stands for the clock's, or the last round's if that is later: nothing is claimed or dropped for what only
// the clock says. The doubt ends when the clock is back, when a sample is stored that is within an hour of it, or when none has
// come for a week of the server's running: then the agents are silent, and their samples old. A database that was never rolled up
// has nothing to lose, and believes the clock.
//
// Where a clock was wrong by less, or an agent of the same machine confirmed it, rollups are AheadOf the right one, and taken back.
type Clock struct {
	log *slog.Logger

	mu sync.Mutex // guards all below
	// at is the clock at the last round, believed whether it was. They have what the monotonic clock said, unless a test's clock is without.
	at       time.Time
	believed bool
	// doubted is since when no sample has come while the clock was doubtful, zero if it is not, and newest the last one.
	doubted, newest time.Time
}

// NewClock tells the logger when a doubt begins and ends.
func NewClock(log *slog.Logger) *Clock { return &Clock{log: log} }

// Judge returns the time to go by. until is how far minutes are rolled up, zero if they never were; newest reads the time of the
// newest sample, and is called in doubt only.
func (c *Clock) Judge(clock, until time.Time, newest func() (time.Time, error)) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	steady := c.believed && clock.Round(0).Sub(c.at.Round(0))-clock.Sub(c.at) <= longestStep
	c.at = clock
	last := until.Add(RollupLag)
	if steady || until.IsZero() || clock.Sub(last) <= longestStep {
		c.believe("the clock is no more ahead of what was rolled up last")
		return clock.UTC().Round(0), nil
	}
	c.believed = false
	sample, err := newest()
	if err != nil {
		return time.Time{}, err
	}
	if clock.Sub(sample) <= confirms {
		c.believe("a sample confirms the clock")
		return clock.UTC().Round(0), nil
	}
	if c.doubted.IsZero() {
		c.log.Warn("the clock is more than a day ahead of what was rolled up last, and no sample confirms it; rollups and retention go by the samples until one does, the clock is back, or a week is over",
			"clock", clock, "last", last, "newest_sample", sample)
	}
	if c.doubted.IsZero() || sample.After(c.newest) {
		c.doubted, c.newest = clock, sample
	}
	if clock.Sub(c.doubted) >= patience {
		c.believe("no sample has come for a week")
		return clock.UTC().Round(0), nil
	}
	if sample.After(last) {
		return sample.UTC(), nil
	}
	return last.UTC(), nil
}

func (c *Clock) believe(why string) {
	if !c.doubted.IsZero() {
		c.log.Info("rollups and retention go by the clock again", "reason", why)
	}
	c.believed, c.doubted, c.newest = true, time.Time{}, time.Time{}
}

// AheadOf tells whether rollups are so far ahead of a clock that another one, which was wrong, must have made them.
func AheadOf(clock, until time.Time) bool { return until.After(clock.Add(ahead)) }

// Level is how a resolution stands that is ahead of the clock.
type Level struct {
	// Until is how far it is rolled up, Gone up to where finer rows are said to be gone; zero for nothing.
	Until, Gone time.Time
	// OldestFiner is the oldest row of the finer resolution, NewestBucket the newest one of this; zero if there is none.
	OldestFiner, NewestBucket time.Time
}

// TakeBack returns how far the resolution is to count as rolled up, when the finer one is so up to target, and what of the finer
// one is gone. What is rolled up after that is to be deleted where it would be made twice, and can be made again: its finer rows are
// there.
func (l Level) TakeBack(r Resolution, target time.Time) (until, gone time.Time) {
	there := Ceil(r, l.OldestFiner)
	if l.OldestFiner.IsZero() {
		if there = r.Floor(target); !l.NewestBucket.IsZero() {
			there = l.NewestBucket.Add(r.Step())
		}
	}
	until = r.Floor(target)
	if there.After(until) {
		until = there
	}
	if until.After(l.Until) {
		until = l.Until
	}
	gone = l.OldestFiner
	if gone.IsZero() {
		gone = until
	}
	if gone.After(l.Gone) {
		gone = l.Gone
	}
	return until, gone
}

package storage

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// A clock may be this much ahead of the last round of rolling up, and is believed: least of all retentions are two days.
	longestStep = 24 * time.Hour
	// Samples that are so near to the clock confirm it.
	confirms = time.Hour
	// A host counts whose newest sample is no older than this before the last round: others may be gone for good.
	lately = 24 * time.Hour
	// A clock that nothing speaks against is believed after this time: agents that are all silent must not end retention.
	patience = 7 * 24 * time.Hour
	// Ahead is how far rollups may be ahead of the clock: what comes meanwhile is late, which costs more and is right.
	ahead = time.Hour
	// Rollups that have been ahead of the clock for so long are taken back. A machine that has no clock of its own starts in the past,
	// and is told the time by the network within minutes.
	settles = 10 * time.Minute
)

// Clock says what the time is for rollups and retention, of a server's clock that may be wrong. To believe one that is a month
// ahead, once, is to drop all samples.
//
// The last round's time is kept by the minutes' progress. A clock that is more than a day after it, at a start or by a step that
// the monotonic clock does not confirm, is doubtful, for the server may as well have been off. Until the doubt ends, the median of
// the hosts' newest samples stands for the clock, or the last round's time if that is later: nothing is claimed or dropped for what
// only the clock says. Hosts that were silent for a day before the last round do not count, nor do samples that are ahead of the clock.
// The doubt ends when the clock is back, when most of these hosts have a sample within an hour of it, or when none that speaks against
// it, and no agent that does, has come for a week of the server's running: then the agents are silent, and their samples old. A database that was never rolled
// up has nothing to lose, and believes the clock.
//
// Where there is one host only, and that is the server's own machine, it confirms whatever the clock says. Where such a clock was
// believed, or one that was wrong by less, rollups are AheadOf the right one, and taken back.
type Clock struct {
	log *slog.Logger

	mu sync.Mutex // guards all below
	// at is the clock at the last round, believed whether it was. They have what the monotonic clock said, unless a test's clock is without.
	at       time.Time
	believed bool
	// doubted is since when no sample has come that speaks against a clock that is doubtful, zero if it is not, and newest the last one.
	doubted, newest time.Time
	// contradicted is whether agents' clocks have spoken against this one since the last round.
	contradicted bool
	// behind is the clock when rollups were first seen to be ahead of it, zero if they are not.
	behind time.Time
}

// NewClock tells the logger when a doubt begins and ends.
func NewClock(log *slog.Logger) *Clock { return &Clock{log: log} }

// Judge returns the time to go by. until is how far minutes are rolled up, zero if they never were; newest reads the time of each host's
// newest sample between two times, both included, where it has one, and is called in doubt only.
func (c *Clock) Judge(clock, until time.Time, newest func(from, to time.Time) ([]time.Time, error)) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	contradicted := c.contradicted
	c.contradicted = false
	steady := c.believed && clock.Round(0).Sub(c.at.Round(0))-clock.Sub(c.at) <= longestStep
	c.at = clock
	last := until.Add(RollupLag)
	if steady || until.IsZero() || clock.Sub(last) <= longestStep {
		c.believe("the clock is no more ahead of what was rolled up last")
		return clock.UTC().Round(0), nil
	}
	c.believed = false
	samples, err := newest(last.Add(-lately).UTC(), clock.UTC().Round(0))
	if err != nil {
		return time.Time{}, err
	}
	sample := median(samples)
	if clock.Sub(sample) <= confirms {
		c.believe("samples of most hosts confirm the clock")
		return clock.UTC().Round(0), nil
	}
	if c.doubted.IsZero() {
		c.log.Warn("the clock is more than a day ahead of what was rolled up last, and the samples of most hosts do not confirm it; rollups and retention go by the samples until they do, the clock is back, or a week is over",
			"clock", clock, "last", last, "hosts", len(samples), "median_sample", sample)
	}
	var against time.Time
	for _, one := range samples {
		if clock.Sub(one) > confirms && one.After(against) {
			against = one
		}
	}
	if c.doubted.IsZero() || contradicted || against.After(c.newest) {
		c.doubted, c.newest = clock, against
	}
	if clock.Sub(c.doubted) >= patience {
		c.believe("nothing has spoken against it for a week")
		return clock.UTC().Round(0), nil
	}
	if sample.After(last) {
		return sample.UTC(), nil
	}
	return last.UTC(), nil
}

// Contradict tells that agents' clocks say that this one is ahead.
func (c *Clock) Contradict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.contradicted = true
}

// median is a time that most are not before; zero of none.
func median(times []time.Time) time.Time {
	if len(times) == 0 {
		return time.Time{}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times[(len(times)-1)/2]
}

func (c *Clock) believe(why string) {
	if !c.doubted.IsZero() {
		c.log.Info("rollups and retention go by the clock again", "reason", why)
	}
	c.believed, c.doubted, c.newest = true, time.Time{}, time.Time{}
}

// AheadOf tells whether rollups are so far ahead of a clock that another one, which was wrong, must have made them.
func AheadOf(clock, until time.Time) bool { return until.After(clock.Add(ahead)) }

// TakesBack is asked in every round, and tells whether rollups up to until are to be taken back: they have been ahead of the latest
// clock that is known of for ten minutes, as the server's clock tells how time passes.
func (c *Clock) TakesBack(clock, latest, until time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !AheadOf(latest, until) {
		c.behind = time.Time{}
		return false
	}
	if c.behind.IsZero() {
		c.behind = clock
		c.log.Warn("rollups were made up to a time that is ahead of the clock; in ten minutes they are made anew from there, unless the clock is set", "clock", latest, "until", until)
	}
	return clock.Sub(c.behind) >= settles
}

// TookBack tells what was taken back.
func (c *Clock) TookBack(all []TakenBack) {
	for _, one := range all {
		c.log.Warn("rollups that were ahead of the clock are taken back", "resolution", one.Resolution, "until", one.Level.Until, "now_until", one.Until,
			"gone", one.Level.Gone, "now_gone", one.Gone, "late_from", one.Late.From, "late_to", one.Late.To)
	}
}

// TakenBack is what became of a resolution.
type TakenBack struct {
	Resolution Resolution
	Level      Level
	// Until and Gone are as TakeBack has them.
	Until, Gone time.Time
	// Late is of when samples are noted as late.
	Late Span
}

// Progress is how far rollups are, in a transaction of a driver.
type Progress interface {
	// Level reads how a resolution stands.
	Level(Resolution) (Level, error)
	// SetBack has a resolution count as rolled up until a time, and finer rows as gone up to another. Rows stay until they are made again.
	SetBack(r Resolution, until, gone time.Time) error
	// NoteLate notes that hosts' samples of a span may have come late, in notes of a day at most, so that a transaction that deals with some
	// of them does not take long.
	NoteLate(Span) error
}

// TakeBack has nothing count as rolled up or gone that is after the clock, and those samples as late whose notes may have been deleted,
// where samples are kept for so long, or for ever (0). It returns what it took back.
func TakeBack(p Progress, clock time.Time, keep time.Duration) (taken []TakenBack, err error) {
	target := clock.Add(-RollupLag)
	for _, r := range Resolutions[1:] {
		one := TakenBack{Resolution: r}
		if one.Level, err = p.Level(r); err != nil {
			return nil, err
		}
		one.Until, one.Gone = one.Level.TakeBack(r, target)
		target = one.Until
		if one.Until.Equal(one.Level.Until) {
			continue
		}
		if err := p.SetBack(r, one.Until, one.Gone); err != nil {
			return nil, err
		}
		if r == Minute {
			one.Late = one.Level.Late(clock, one.Until, keep)
		}
		if one.Late.From.Before(one.Late.To) {
			if err := p.NoteLate(one.Late); err != nil {
				return nil, fmt.Errorf("note samples as late: %w", err)
			}
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// Level is how a resolution stands that is ahead of the clock.
type Level struct {
	// Until is how far it is rolled up, Gone up to where finer rows are said to be gone; zero for nothing.
	Until, Gone time.Time
	// OldestFiner is the oldest row of the finer resolution, NewestBucket the newest one of this, which counts where there is none finer;
	// zero if there is none.
	OldestFiner, NewestBucket time.Time
}

// TakeBack returns how far the resolution is to count as rolled up, when the finer one is so up to target, and what of the finer
// one is gone. What is rolled up after that stays until it is made again, and for good where its finer rows are not there.
func (l Level) TakeBack(r Resolution, target time.Time) (until, gone time.Time) {
	there := Ceil(r, l.OldestFiner)
	if l.OldestFiner.IsZero() {
		if there = r.Floor(target); !l.NewestBucket.IsZero() {
			there = l.NewestBucket.Add(r.Step())
		}
	}
	// A bucket that is not over is made of what there is: one that counted as made would miss what comes yet.
	until = r.Floor(target)
	if there.After(until.Add(r.Step())) {
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

// Late is of when minutes' samples may have come late in vain, when the resolution is taken back to until: a note of what is older than
// samples are kept is deleted, and by the clock that was ahead more was so. It is empty if no such sample is there that is to be kept.
func (l Level) Late(clock, until time.Time, keep time.Duration) Span {
	late := Span{From: l.OldestFiner, To: l.Gone}
	if keep > 0 {
		if since := clock.Add(-keep); since.After(late.From) {
			late.From = since.UTC().Round(0)
		}
		// The clock was at most this much ahead of what it had rolled up.
		if was := l.Until.Add(RollupLag + Minute.Step() - keep); was.After(late.To) {
			late.To = was
		}
	}
	if late.To.After(until) {
		late.To = until
	}
	if l.OldestFiner.IsZero() || !late.From.Before(late.To) {
		return Span{}
	}
	return late
}

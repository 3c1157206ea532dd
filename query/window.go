package query

import (
	"fmt"
	"math"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Limits of a range query's window.
const (
	maxPoints     = 11_000 // a point a minute for a week, and some
	defaultPoints = 500    // about one in two pixels of a wide chart
	longestRange  = 10 * 366 * 24 * time.Hour
	shortestStep  = time.Second
)

const day = 24 * time.Hour

// niceSteps are the widths of buckets that are picked for a number of points: they divide what people count in.
var niceSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 5 * day, 10 * day,
}

// window is the part of time that a query covers, in whole buckets.
type window struct {
	from, to time.Time
	// step is the width of a bucket; that of the widest where edges has others.
	step time.Duration
	// edges are the borders of the buckets, none if all are of one width and counted from the Unix epoch.
	edges []time.Time
	// calendar made the edges.
	calendar *calendar
}

// planWindow checks the request's times and picks its step, which is not below usual, how often the hosts take a sample. shortest is how
// often the most eager of them does: a finer step would leave every other bucket empty.
func planWindow(request *gohubv1.QueryRangeRequest, usual, shortest time.Duration, now time.Time) (window, error) {
	to, err := parseSeconds("to", request.GetTo(), now)
	if err != nil {
		return window{}, err
	}
	from, err := parseSeconds("from", request.GetFrom(), to.Add(-time.Hour))
	if err != nil {
		return window{}, err
	}
	length := to.Sub(from)
	if length <= 0 {
		return window{}, fmt.Errorf("from (%s) is not before to (%s)", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if length > longestRange {
		return window{}, fmt.Errorf("the range of %.0f days is over the limit of %.0f", length.Hours()/24, longestRange.Hours()/24)
	}
	points := int(request.GetMaxPoints())
	if points == 0 {
		points = defaultPoints
	}
	if points > maxPoints {
		return window{}, fmt.Errorf("max_points %d is over the limit of %d", request.GetMaxPoints(), maxPoints)
	}
	step, err := parseStep(request.GetStep())
	if err != nil {
		return window{}, err
	}
	switch {
	case step == 0:
		step = pickStep(length, points, usual)
	case step < shortest:
		return window{}, fmt.Errorf("a step of %s is shorter than the hosts' samples are apart, %s; ask for that or more", step, shortest)
	case int64(length/step) > maxPoints:
		return window{}, fmt.Errorf("a step of %s makes %d points of this range, the limit is %d; ask for a step of %s or longer",
			step, int64(length/step), maxPoints, pickStep(length, maxPoints, usual))
	}
	c, err := readCalendar(request, step)
	if err != nil {
		return window{}, err
	}
	if c != nil {
		return c.window(from, to), nil
	}
	return window{from: floor(from, step), to: ceil(to, step), step: step}, nil
}

// parseSeconds reads a Unix time, absent meaning the default.
func parseSeconds(name string, value float64, absent time.Time) (time.Time, error) {
	if value == 0 {
		return absent.UTC().Truncate(time.Millisecond), nil
	}
	const year10000 = 253402300800
	if math.IsNaN(value) || value < 0 || value >= year10000 {
		return time.Time{}, fmt.Errorf("%s is %v, not a Unix time in seconds", name, value)
	}
	return time.UnixMilli(int64(math.Round(value * 1000))).UTC(), nil
}

func parseStep(value float64) (time.Duration, error) {
	if value == 0 {
		return 0, nil
	}
	if math.IsNaN(value) || value < shortestStep.Seconds() || value > longestRange.Seconds() {
		return 0, fmt.Errorf("step is %v, not a number of seconds between %v and %v", value, shortestStep.Seconds(), longestRange.Seconds())
	}
	return time.Duration(math.Round(value*1000)) * time.Millisecond, nil
}

// pickStep returns the finest nice step that makes at most so many points and is not finer than the samples.
func pickStep(length time.Duration, points int, interval time.Duration) time.Duration {
	for _, step := range niceSteps {
		if step >= interval && length <= time.Duration(points)*step {
			return step
		}
	}
	days := (length/time.Duration(points) + day - 1) / day
	return max(days, 1) * day
}

// widen returns the window in steps that are the least multiple of a wider one. Days and months of a time zone become
// those of UTC, which whole days make.
func (w window) widen(step time.Duration) window {
	if w.calendar != nil {
		inUTC := *w.calendar
		inUTC.zone = time.UTC
		return inUTC.window(w.from, w.to)
	}
	wide := (w.step + step - 1) / step * step
	return window{from: floor(w.from, wide), to: ceil(w.to, wide), step: wide}
}

// shift returns the window so much later.
func (w window) shift(by time.Duration) window {
	w.from, w.to = w.from.Add(by), w.to.Add(by)
	return w
}

// buckets calls with the start of each bucket.
func (w window) buckets(see func(time.Time)) {
	if len(w.edges) > 0 {
		for _, edge := range w.edges[:len(w.edges)-1] {
			see(edge)
		}
		return
	}
	for t := w.from; t.Before(w.to); t = t.Add(w.step) {
		see(t)
	}
}

// floor returns the start of the bucket that t is in. Buckets are counted from the Unix epoch.
func floor(t time.Time, step time.Duration) time.Time {
	millis := t.UnixMilli()
	return time.UnixMilli(millis - millis%step.Milliseconds()).UTC()
}

// ceil returns the first border of buckets that is not before t. The zero time stays as it is.
func ceil(t time.Time, step time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return floor(t.Add(step-time.Millisecond), step)
}

package query

import (
	"errors"
	"fmt"
	"strings"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// calendar makes buckets of whole days or months of a time zone. Where clocks change, a day has 23 or 25 hours.
type calendar struct {
	zone *time.Location
	// days is how many make a bucket, counted from 1970-01-01; 0 for months.
	days int
}

// readCalendar returns the calendar that a request asks for, nil if its buckets are all of one width.
func readCalendar(request *gohubv1.QueryRangeRequest, step time.Duration) (*calendar, error) {
	zone := time.UTC
	if name := request.GetTimezone(); name != "" {
		var err error
		// "Local" would be the server's own, which no asker knows.
		if len(name) > 64 || name == "Local" || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("timezone is %q, not the name of a time zone as Europe/Berlin", clip(name))
		}
		if zone, err = time.LoadLocation(name); err != nil {
			return nil, fmt.Errorf("timezone is %q, not the name of a time zone as Europe/Berlin", clip(name))
		}
	}
	switch request.GetCalendar() {
	case "":
	case "month":
		if request.GetStep() != 0 {
			return nil, errors.New("step is given beside calendar=month; leave one out")
		}
		return &calendar{zone: zone}, nil
	default:
		return nil, fmt.Errorf("calendar is %q; it is month, or empty", clip(request.GetCalendar()))
	}
	if zone == time.UTC || step%day != 0 {
		return nil, nil
	}
	return &calendar{zone: zone, days: int(step / day)}, nil
}

// window returns the buckets that have something between two times.
func (c calendar) window(from, to time.Time) window {
	w := window{calendar: &c}
	edge := c.start(from)
	w.edges = append(w.edges, edge)
	// The data of zones come from the machine. Whatever they say, the list ends: a range of the longest length has fewer days.
	for edge.Before(to) && len(w.edges) <= maxPoints {
		next := c.next(edge)
		if !next.After(edge) {
			next = edge.Add(day)
		}
		w.step = max(w.step, next.Sub(edge))
		edge = next
		w.edges = append(w.edges, edge)
	}
	w.from, w.to = w.edges[0], edge
	return w
}

// start returns the start of the bucket that a time is in.
func (c calendar) start(t time.Time) time.Time {
	year, month, date := c.first(t)
	return c.midnight(year, month, date)
}

// next returns the start of the bucket after the one that begins at an edge.
func (c calendar) next(edge time.Time) time.Time {
	year, month, date := c.first(edge)
	if c.days == 0 {
		return c.midnight(year, month+1, 1)
	}
	return c.midnight(year, month, date+c.days)
}

// first returns the first date of the bucket that a time is in. The date may be one that the zone skipped.
func (c calendar) first(t time.Time) (year int, month time.Month, date int) {
	year, month, date = t.In(c.zone).Date()
	if c.days == 0 {
		return year, month, 1
	}
	// West of Greenwich the range may begin before 1970-01-01.
	days := int(time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	return year, month, date - (days%c.days+c.days)%c.days
}

// midnight returns the first moment of a date, or of the next one that there is: Samoa had no 2011-12-30. In some zones clocks change
// at midnight, which then does not exist, or twice.
func (c calendar) midnight(year int, month time.Month, date int) time.Time {
	wanted := time.Date(year, month, date, 0, 0, 0, 0, time.UTC)
	// Between two changes of its clocks a zone is off by the same, and no zone is by more than a day.
	t := wanted.Add(-2 * day).In(c.zone)
	for {
		_, offset := t.Zone()
		midnight := wanted.Add(-time.Duration(offset) * time.Second)
		if midnight.Before(t) { // the clocks jumped over it
			return t.UTC()
		}
		_, change := t.ZoneBounds()
		if change.IsZero() || midnight.Before(change) {
			return midnight
		}
		t = change
	}
}

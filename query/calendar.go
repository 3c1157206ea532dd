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
	for w.edges = append(w.edges, edge); edge.Before(to); w.edges = append(w.edges, edge) {
		next := c.next(edge)
		w.step = max(w.step, next.Sub(edge))
		edge = next
	}
	w.from, w.to = w.edges[0], edge
	return w
}

// start returns the start of the bucket that a time is in.
func (c calendar) start(t time.Time) time.Time {
	year, month, date := t.In(c.zone).Date()
	if c.days == 0 {
		return c.midnight(year, month, 1)
	}
	count := int(time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	return c.midnight(year, month, date-count%c.days)
}

func (c calendar) next(edge time.Time) time.Time {
	year, month, date := edge.In(c.zone).Date()
	if c.days == 0 {
		return c.midnight(year, month+1, 1)
	}
	return c.midnight(year, month, date+c.days)
}

// midnight returns the first moment of a date. In some zones clocks change at midnight, and it does not exist, or twice.
func (c calendar) midnight(year int, month time.Month, date int) time.Time {
	t := time.Date(year, month, date, 0, 0, 0, 0, c.zone)
	want := time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Day()
	if t.Day() != want {
		t = t.Add(time.Hour)
	}
	if before := t.Add(-time.Hour); before.Day() == want {
		t = before
	}
	return t.UTC()
}

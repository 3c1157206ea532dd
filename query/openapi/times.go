package openapi

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// firstMoment stands for 1970-01-01 00:00, as 0 would mean that no time is given.
const firstMoment = "0.001"

// isTime tells whether the number is a time, and isDuration whether it is a stretch of time, which the document does not.
func (p *parameter) isTime() bool { return p.Type == "number" && (p.Name == "from" || p.Name == "to") }

func (p *parameter) isDuration() bool {
	return p.Type == "number" && (p.Name == "step" || p.Name == "offset")
}

// parseTime reads a time into Unix seconds, and returns false if it is none: by RFC 3339; a date, whose beginning in UTC is meant; or now, and
// how long before it, as now-6h.
func parseTime(value string, now time.Time) (string, bool) {
	if after, relative := strings.CutPrefix(value, "now"); relative {
		if after != "" {
			before, ok := parseDuration(strings.TrimPrefix(after, "-"))
			if !ok || after[0] != '-' {
				return "", false
			}
			now = now.Add(-before)
		}
		return unixSeconds(now), true
	}
	// The + of a zone stands for a blank in a URL, where no time has one.
	at, err := time.Parse(time.RFC3339, strings.ReplaceAll(value, " ", "+"))
	if err != nil {
		at, err = time.Parse(time.DateOnly, value)
	}
	if err != nil {
		return "", false
	}
	return unixSeconds(at), true
}

func unixSeconds(at time.Time) string {
	millis := at.UnixMilli()
	if millis == 0 {
		return firstMoment
	}
	return strconv.FormatFloat(float64(millis)/1000, 'f', -1, 64)
}

var (
	durationForm  = regexp.MustCompile(`^([0-9]{1,9})(s|m|h|d|w)$`)
	durationUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
)

// parseDuration reads a number with a unit, as 90s, 5m, 6h, 1d or 2w, and returns false if it is none, or longer than there are dates.
func parseDuration(text string) (time.Duration, bool) {
	found := durationForm.FindStringSubmatch(text)
	if found == nil {
		return 0, false
	}
	number, err := strconv.ParseInt(found[1], 10, 64)
	unit := durationUnits[found[2]]
	if err != nil || number > math.MaxInt64/int64(unit) {
		return 0, false
	}
	return time.Duration(number) * unit, true
}

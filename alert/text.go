package alert

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// summary says what is wrong, as "filesystem_used_percent of /var on web-1 is 91.2 % (> 85 %)".
func (s *state) summary() string {
	if s.rule.Silent {
		if s.lastSample.IsZero() {
			return s.hostname + " sends nothing"
		}
		return fmt.Sprintf("%s sends nothing; its last sample is of %s", s.hostname,
			s.lastSample.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	unit := s.rule.metric.Unit
	return fmt.Sprintf("%s is %s (%s %s)", s.subject(), quantity(s.value, unit), s.rule.Op, quantity(*s.rule.Threshold, unit))
}

// ended says how a firing alert ended; why is empty if the condition is over.
func (s *state) ended(why string) string {
	switch {
	case why != "":
		return s.subject() + ": " + why
	case s.rule.Silent:
		return s.hostname + " sends again"
	default:
		return fmt.Sprintf("%s is %s", s.subject(), quantity(s.value, s.rule.metric.Unit))
	}
}

// subject names what the alert is about.
func (s *state) subject() string {
	if s.rule.Silent {
		return s.hostname
	}
	if len(s.labels) == 0 {
		return s.rule.Metric + " on " + s.hostname
	}
	// The first label of a family names the instance well enough where there are several.
	name := s.rule.metric.Family.Labels[0].Name
	value, ok := s.labels[name]
	if !ok {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(s.labels)) {
			all = append(all, name+"="+s.labels[name])
		}
		value = strings.Join(all, ",")
	}
	return fmt.Sprintf("%s of %s on %s", s.rule.Metric, value, s.hostname)
}

// quantity writes a value with its unit, to three or four digits.
func quantity(v float64, unit gohubv1.Unit) string {
	switch unit {
	case gohubv1.Unit_UNIT_PERCENT:
		return number(v) + " %"
	case gohubv1.Unit_UNIT_BYTES:
		return byteCount(v)
	case gohubv1.Unit_UNIT_BYTES_PER_SECOND:
		return byteCount(v) + "/s"
	case gohubv1.Unit_UNIT_PER_SECOND:
		return number(v) + "/s"
	case gohubv1.Unit_UNIT_CELSIUS:
		return number(v) + " °C"
	case gohubv1.Unit_UNIT_SECONDS:
		if v >= 60 && v < 1e9 {
			return Duration(time.Duration(v) * time.Second).String()
		}
		return number(v) + " s"
	default:
		return number(v)
	}
}

// number writes at most two decimals, and none that are zero.
func number(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

func byteCount(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return number(v) + " " + units[i]
}

package notify

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a time.Duration that configuration files write as text with a unit: "30s", "5m", "1h30m", "2d".
// A bare number is refused, because nobody can tell its unit.
type Duration time.Duration

// maxDays keeps a count of days well inside the range of time.Duration.
const maxDays = 36500

// ParseDuration reads what time.ParseDuration reads, and whole days in front of it: "2d", "1d12h".
func ParseDuration(text string) (Duration, error) {
	rest := text
	var days time.Duration
	if count, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil || n > maxDays {
			return 0, fmt.Errorf("%q is not a duration such as 30s, 5m or 2d", text)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return Duration(days), nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || (days > 0 && d < 0) || days+d < days && d > 0 {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 5m or 2d", text)
	}
	return Duration(days + d), nil
}

// UnmarshalYAML reads the text form.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" {
		return fmt.Errorf("line %d: %q is not a duration with a unit, such as 30s, 5m or 2d", node.Line, node.Value)
	}
	parsed, err := ParseDuration(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*d = parsed
	return nil
}

// MarshalYAML writes the text form.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// String is the text form without idle parts: "5m", not "5m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

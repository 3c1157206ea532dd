package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// retention is the configuration's, checked.
func (c *Config) retention() (keep storage.Retention, err error) {
	for _, one := range []struct {
		name, text string
		value      *time.Duration
	}{
		{"retention_raw", c.RetentionRaw, &keep.Raw},
		{"retention_minute", c.RetentionMinute, &keep.Minute},
		{"retention_hour", c.RetentionHour, &keep.Hour},
		{"retention_day", c.RetentionDay, &keep.Day},
	} {
		if *one.value, err = parseAge(one.text); err != nil {
			return keep, fmt.Errorf("%s is %q, which is no time such as 48h, 90d, 2y or forever", one.name, one.text)
		}
	}
	return keep, keep.Check()
}

// oldestSample is how old a sample may be when it comes: a little less than samples are kept, so that there is time to roll it
// up. Where they are kept for ever, it is far older than any agent's spool, and young enough to be no mistake of a clock.
func (c *Config) oldestSample() time.Duration {
	keep, _ := c.retention() // it was checked
	return cmp.Or(keep.Raw, 10*365*24*time.Hour) - time.Hour
}

// forever is the age that nothing reaches.
const forever = "forever"

// parseAge reads a number of hours (h), days (d) or years (y, of 365 days), or forever, which is 0.
func parseAge(text string) (time.Duration, error) {
	if text == forever {
		return 0, nil
	}
	const day = 24 * time.Hour
	for unit, width := range map[string]time.Duration{"h": time.Hour, "d": day, "y": 365 * day} {
		number, found := strings.CutSuffix(text, unit)
		if !found {
			continue
		}
		// A century is longer than any disk lasts, and far from where a Duration ends.
		count, err := strconv.ParseUint(number, 10, 32)
		if err != nil || count == 0 || time.Duration(count) > 100*365*day/width {
			break
		}
		return time.Duration(count) * width, nil
	}
	return 0, strconv.ErrSyntax
}

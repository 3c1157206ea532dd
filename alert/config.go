package alert

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gohub-io/gohub/alert/notify"
)

// DefaultInterval is the time between two evaluations: as often as agents usually send.
const DefaultInterval = 5 * time.Second

// Config is the part `alerts` of the server's configuration. It is decoded from YAML with unknown keys refused.
type Config struct {
	// Rules replace the default rules. Absent, the default rules hold; an empty list is no rules.
	Rules []Rule `yaml:"rules"`
	// Defaults says whether the default rules hold beside Rules. A rule of the same name takes the default one's place.
	// Absent is true without Rules, and false with them.
	Defaults *bool `yaml:"defaults"`
	// Interval is the time between two evaluations, default DefaultInterval.
	Interval Duration      `yaml:"interval"`
	Notify   notify.Config `yaml:"notify"`
}

// EffectiveRules returns the rules that hold: the default ones, the given ones, or both.
func (c Config) EffectiveRules() []Rule {
	defaults := c.Rules == nil
	if c.Defaults != nil {
		defaults = *c.Defaults
	}
	if !defaults {
		return c.Rules
	}
	rules := slices.DeleteFunc(DefaultRules(), func(d Rule) bool {
		return slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Name == d.Name })
	})
	return append(rules, c.Rules...)
}

// Validate returns every mistake in the configuration, in the words of its keys. It reads no file.
func (c Config) Validate() error {
	_, err := compileRules(c.EffectiveRules())
	var errInterval error
	if c.Interval < 0 || (c.Interval > 0 && time.Duration(c.Interval) < time.Second) {
		errInterval = fmt.Errorf("interval: %s is less than a second", c.Interval)
	}
	return errors.Join(err, errInterval, c.Notify.Validate())
}

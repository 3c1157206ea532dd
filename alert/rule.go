package alert

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gohub-io/gohub/alert/notify"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Duration is written as text with a unit: "30s", "5m", "1h30m", "2d".
type Duration = notify.Duration

// Severity is "warning" or "critical".
type Severity = notify.Severity

// The severities.
const (
	Warning  = notify.Warning
	Critical = notify.Critical
)

// Op compares a value with a threshold.
type Op string

// The comparisons.
const (
	Above   Op = ">"
	AtLeast Op = ">="
	Below   Op = "<"
	AtMost  Op = "<="
)

// holds tells whether "value op threshold" is true. It is false for NaN.
func (o Op) holds(value, threshold float64) bool {
	switch o {
	case Above:
		return value > threshold
	case AtLeast:
		return value >= threshold
	case Below:
		return value < threshold
	case AtMost:
		return value <= threshold
	default:
		return false
	}
}

// Rule is a condition that is checked on every host: a metric held against a threshold, or silence.
type Rule struct {
	// Name is unique; alerts are known by it. 1 to 100 letters, digits and " ._:/()%-".
	Name string `yaml:"name"`
	// Metric is a name of the catalogue. For a metric of filesystems, disks and so on, every one of them is an alert
	// of its own.
	Metric string `yaml:"metric"`
	// Labels pick among the instances of the metric's family. Absent picks all.
	Labels map[string]Matcher `yaml:"labels"`
	Op     Op                 `yaml:"op"`
	// Threshold is in the metric's unit.
	Threshold *float64 `yaml:"threshold"`
	// Resolve is the value that ends a firing alert, where it is not the threshold: with op ">" and threshold 90, a
	// resolve of 80 keeps the alert firing until the value is 80 or less, so that it doesn't flap.
	Resolve *float64 `yaml:"resolve"`
	// For is how long the condition must hold before the alert fires. 0 fires at the first sample.
	For Duration `yaml:"for"`
	// Severity is a warning by default.
	Severity Severity `yaml:"severity"`
	// Silent makes it a rule about hosts that send nothing for the time of For. It has no metric.
	Silent bool `yaml:"silent"`
	// Hosts picks hosts by their names. Absent picks all.
	Hosts *Matcher `yaml:"hosts"`
}

// DefaultRules are what nearly everybody wants to know, with thresholds that a healthy machine seldom crosses for long.
// Each ends a little below where it began, so that a value about the threshold makes one alert, not many.
func DefaultRules() []Rule {
	// Images that can not be written are always full: snap packages, CDs, initramfs.
	writable := map[string]Matcher{
		"fstype": {Pattern: "squashfs|iso9660|udf|erofs|cramfs|romfs|cd9660|cddafs|CDFS|UDF", Regexp: true, Not: true},
	}
	return []Rule{
		{
			Name: "cpu-high", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0), Resolve: new(85.0),
			For: Duration(10 * time.Minute), Severity: Warning,
		},
		{
			Name: "memory-high", Metric: "memory_used_percent", Op: Above, Threshold: new(90.0), Resolve: new(87.0),
			For: Duration(10 * time.Minute), Severity: Warning,
		},
		{
			Name: "filesystem-filling", Metric: "filesystem_used_percent", Op: Above, Threshold: new(85.0), Resolve: new(83.0),
			For: Duration(15 * time.Minute), Severity: Warning, Labels: writable,
		},
		{
			Name: "filesystem-full", Metric: "filesystem_used_percent", Op: Above, Threshold: new(95.0), Resolve: new(93.0),
			For: Duration(5 * time.Minute), Severity: Critical, Labels: writable,
		},
		{Name: "host-silent", Silent: true, For: Duration(2 * time.Minute), Severity: Critical},
	}
}

// compiled is a rule that was found right, ready to be checked. It is not changed.
type compiled struct {
	Rule
	// metric is nil for a rule on silence.
	metric *catalogue.Metric
	// hosts is nil for all.
	hosts  func(string) bool
	labels []labelMatcher
}

type labelMatcher struct {
	// index is the label's place in the family's labels.
	index int
	match func(string) bool
}

var (
	ruleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/()%-]{0,99}$`)
	// hostPattern are characters that no hostname has, but a pattern that was meant to be one does.
	hostPattern = regexp.MustCompile(`[*?^$|()\[\]{}+\\]`)
)

// compileRules checks rules; the error lists every mistake.
func compileRules(rules []Rule) ([]*compiled, error) {
	var errs []error
	names := map[string]int{}
	out := make([]*compiled, 0, len(rules))
	for i, rule := range rules {
		c, ruleErrs := rule.compile()
		if first, taken := names[rule.Name]; taken && rule.Name != "" {
			ruleErrs = append(ruleErrs, fmt.Errorf("the name is taken by rule %d", first+1))
		} else {
			names[rule.Name] = i
		}
		for _, err := range ruleErrs {
			errs = append(errs, fmt.Errorf("rule %d %q: %w", i+1, rule.Name, err))
		}
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

// Validate returns every mistake in the rule.
func (r Rule) Validate() error {
	_, errs := r.compile()
	return errors.Join(errs...)
}

func (r Rule) compile() (c *compiled, errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	r.Severity = cmp.Or(r.Severity, Warning)
	c = &compiled{Rule: r}
	if !ruleName.MatchString(r.Name) {
		fail("name must be 1 to 100 letters, digits, spaces and ._:/()%%-, and begin with a letter or digit")
	}
	if r.For < 0 {
		fail("for: %s is negative", r.For)
	}
	if err := r.Severity.Validate(); err != nil {
		fail("severity: %w", err)
	}
	if r.Hosts != nil {
		match, err := r.Hosts.compile()
		switch {
		case err != nil:
			fail("hosts: %w", err)
		case !r.Hosts.Regexp && hostPattern.MatchString(r.Hosts.Pattern):
			fail("hosts: %q is not a hostname; a pattern is written {regexp: …}", r.Hosts.Pattern)
		}
		c.hosts = match
	}
	if r.Silent {
		if r.For == 0 {
			fail("for is missing: how long a host must send nothing")
		}
		if r.Metric != "" || r.Op != "" || r.Threshold != nil || r.Resolve != nil || len(r.Labels) > 0 {
			fail("a rule on silence has no metric, labels, op, threshold or resolve")
		}
		return c, errs
	}
	c.metric, errs = r.findMetric(errs)
	errs = append(errs, r.checkThresholds()...)
	if c.metric != nil {
		for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
			match, err := r.Labels[name].compile()
			if err != nil {
				fail("labels: %s: %w", name, err)
			}
			known := labelNames(c.metric.Family)
			index := slices.Index(known, name)
			if index < 0 {
				fail("labels: %s has no label %q; it has %s", r.Metric, name, cmp.Or(strings.Join(known, ", "), "none"))
			}
			c.labels = append(c.labels, labelMatcher{index, match})
		}
	}
	return c, errs
}

func (r Rule) findMetric(errs []error) (*catalogue.Metric, []error) {
	metric, ok := catalogue.MetricByName(r.Metric)
	switch {
	case ok:
		return metric, errs
	case r.Metric == "":
		return nil, append(errs, errors.New("metric is missing (or silent: true)"))
	}
	if near := catalogue.Nearest(r.Metric); len(near) > 0 {
		return nil, append(errs, fmt.Errorf("unknown metric %q; did you mean %s?", r.Metric, strings.Join(near, ", ")))
	}
	return nil, append(errs, fmt.Errorf("unknown metric %q", r.Metric))
}

func (r Rule) checkThresholds() (errs []error) {
	if !slices.Contains([]Op{Above, AtLeast, Below, AtMost}, r.Op) {
		errs = append(errs, fmt.Errorf("unknown op %q; it is >, >=, < or <=", string(r.Op)))
	}
	if r.Threshold == nil {
		return append(errs, errors.New("threshold is missing"))
	}
	if !isFinite(*r.Threshold) {
		errs = append(errs, errors.New("threshold is not a finite number"))
	}
	if r.Resolve == nil {
		return errs
	}
	up := r.Op == Above || r.Op == AtLeast
	switch {
	case !isFinite(*r.Resolve):
		errs = append(errs, errors.New("resolve is not a finite number"))
	case up && *r.Resolve > *r.Threshold:
		errs = append(errs, fmt.Errorf("resolve %g is above the threshold %g, so the alert would end while the condition holds", *r.Resolve, *r.Threshold))
	case !up && *r.Resolve < *r.Threshold:
		errs = append(errs, fmt.Errorf("resolve %g is below the threshold %g, so the alert would end while the condition holds", *r.Resolve, *r.Threshold))
	}
	return errs
}

// breached tells whether the condition holds; firing alerts are held against Resolve.
func (c *compiled) breached(value float64, firing bool) bool {
	if firing && c.Resolve != nil {
		return c.Op.holds(value, *c.Resolve)
	}
	return c.Op.holds(value, *c.Threshold)
}

// picks tells whether the rule is about an instance, the row of the metric's family.
func (c *compiled) picks(current Host, row int) bool {
	for _, l := range c.labels {
		if !l.match(current.Label(c.metric.Family, row, l.index)) {
			return false
		}
	}
	return true
}

// concerns tells whether the rule is about a host of that name.
func (c *compiled) concerns(hostname string) bool { return c.hosts == nil || c.hosts(hostname) }

// limit is the threshold that an alert shows: seconds for a rule on silence.
func (c *compiled) limit() float64 {
	if c.Silent {
		return time.Duration(c.For).Seconds()
	}
	return *c.Threshold
}

// proto is the rule in the contract.
func (c *compiled) proto() *gohubv1.Rule {
	rule := &gohubv1.Rule{
		Name: c.Name, Severity: c.Severity.Proto(), Metric: c.Metric, Op: string(c.Op),
		ForSeconds: time.Duration(c.For).Seconds(), Silent: c.Silent,
	}
	if c.Threshold != nil {
		rule.Threshold = *c.Threshold
	}
	return rule
}

func labelNames(family *catalogue.Family) []string {
	var names []string
	for _, label := range family.Labels {
		names = append(names, label.Name)
	}
	return names
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

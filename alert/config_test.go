package alert

import (
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/gohub-io/gohub/alert/notify"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// parse reads a configuration as the server does: unknown keys are mistakes.
func parse(text string) (Config, error) {
	var c Config
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, err
	}
	return c, c.Validate()
}

const fullConfig = `
interval: 10s
defaults: true
rules:
  - name: filesystem-full
    metric: filesystem_used_percent
    labels:
      mountpoint: /
      device: {not: /dev/sr0}
      fstype: {not_regexp: squashfs|iso.*}
    op: ">="
    threshold: 97.5
    resolve: 95
    for: 1h30m
    severity: critical
    hosts: {regexp: "db-[0-9]+"}
  - {name: gone, silent: true, for: 1d}
notify:
  repeat_interval: 1d12h
  email:
    - name: ops-mail
      host: smtp.example.com
      port: 2525
      tls: starttls
      username: gohub
      password: correct horse
      from: GoHub <gohub@example.com>
      to: [ops@example.com, "Night Shift <night@example.com>"]
      min_severity: critical
      timeout: 20s
  telegram:
    - {name: ops-chat, token: "123:abc", chat_ids: [-1001234567890, "@ops"], api_url: "http://bot-api:8081"}
  webhooks:
    - name: ops-hook
      url: https://hooks.example.com/T000/key
      secret: s3cret
      headers: {Authorization: Bearer x}
      allow_private: true
`

func TestConfigFromYAML(t *testing.T) {
	c, err := parse(fullConfig)
	require.NoError(t, err)
	require.Equal(t, Rule{
		Name: "filesystem-full", Metric: "filesystem_used_percent",
		Labels: map[string]Matcher{
			"mountpoint": {Pattern: "/"}, "device": {Pattern: "/dev/sr0", Not: true},
			"fstype": {Pattern: "squashfs|iso.*", Regexp: true, Not: true},
		},
		Op: AtLeast, Threshold: new(97.5), Resolve: new(95.0), For: Duration(90 * time.Minute), Severity: Critical,
		Hosts: &Matcher{Pattern: "db-[0-9]+", Regexp: true},
	}, c.Rules[0])
	require.Equal(t, Duration(24*time.Hour), c.Rules[1].For)
	require.Equal(t, 36*time.Hour, c.Notify.Repeat())
	require.Equal(t, []string{"-1001234567890", "@ops"}, c.Notify.Telegram[0].ChatIDs)
	require.Equal(t, Critical, c.Notify.Email[0].MinSeverity)

	var names []string
	for _, rule := range c.EffectiveRules() {
		names = append(names, rule.Name)
	}
	require.Equal(t, []string{"cpu-high", "memory-high", "filesystem-filling", "host-silent", "filesystem-full", "gone"}, names,
		"a rule of one's own takes the place of the default one")

	written, err := yaml.Marshal(c)
	require.NoError(t, err)
	for _, secret := range []string{"correct horse", "123:abc", "s3cret", "T000", "Bearer x"} {
		require.NotContains(t, string(written), secret)
	}
	require.Contains(t, string(written), "for: 1h30m\n")
	require.Contains(t, string(written), "not_regexp: squashfs|iso.*\n")
}

func TestWhichRulesHold(t *testing.T) {
	own := "\nrules: [{name: a, silent: true, for: 1m}]"
	for text, want := range map[string]int{
		"":                          len(DefaultRules()),
		"interval: 5s":              len(DefaultRules()),
		"defaults: true":            len(DefaultRules()),
		"defaults: false":           0,
		"rules: []":                 0,
		"rules: []\ndefaults: true": len(DefaultRules()),
		own:                         1,
		"defaults: true" + own:      len(DefaultRules()) + 1,
		"defaults: false" + own:     1,
	} {
		c, err := parse(text)
		require.NoError(t, err, text)
		require.Len(t, c.EffectiveRules(), want, text)
	}
}

func TestConfigMistakes(t *testing.T) {
	rule := func(fields string) string { return "rules: [{name: a, " + fields + "}]" }
	cpu := "metric: cpu_usage_percent, op: '>', threshold: 90"
	hook := func(fields string) string { return "notify: {webhooks: [{name: a, " + fields + "}]}" }
	mail := func(fields string) string {
		return "notify: {email: [{name: a, host: h, from: a@b.c, to: [a@b.c], " + fields + "}]}"
	}
	for text, want := range map[string]string{
		rule("metric: cpu_usage_precent, op: '>', threshold: 90"):                          `rule 1 "a": unknown metric "cpu_usage_precent"; did you mean cpu_usage_percent, `,
		rule("metric: used_percent, op: '>', threshold: 90"):                               "did you mean memory_used_percent, swap_used_percent, filesystem_used_percent?",
		rule("metric: nonsense, op: '>', threshold: 90"):                                   `unknown metric "nonsense"`,
		rule("op: '>', threshold: 90"):                                                     "metric is missing (or silent: true)",
		rule("metric: load1, op: '=>', threshold: 90"):                                     `unknown op "=>"; it is >, >=, < or <=`,
		rule("metric: load1, op: '>'"):                                                     "threshold is missing",
		rule("metric: load1, op: '>', threshold: .nan"):                                    "threshold is not a finite number",
		rule("metric: load1, op: '>', threshold: ninety"):                                  "cannot unmarshal",
		rule("metric: load1, op: '>', threshold: 5, resolve: 6"):                           "resolve 6 is above the threshold 5",
		rule("metric: load1, op: '<', threshold: 5, resolve: 4"):                           "resolve 4 is below the threshold 5",
		rule(cpu + ", resolve: .inf"):                                                      "resolve is not a finite number",
		rule(cpu + ", for: -5m"):                                                           "for: -5m is negative",
		rule(cpu + ", for: 300"):                                                           `"300" is not a duration with a unit, such as 30s, 5m or 2d`,
		rule(cpu + ", for: 5 minutes"):                                                     `"5 minutes" is not a duration such as 30s, 5m or 2d`,
		rule(cpu + ", for: 99999999999d"):                                                  "is not a duration",
		rule(cpu + ", severity: fatal"):                                                    `unknown severity "fatal"; it is warning or critical`,
		rule(cpu + ", labels: {core: '0'}"):                                                `cpu_usage_percent has no label "core"; it has none`,
		rule(cpu + ", hosts: web-*"):                                                       `"web-*" is not a hostname; a pattern is written {regexp: …}`,
		rule(cpu + ", hosts: {regexp: '('}"):                                               "missing closing )",
		rule(cpu + ", hosts: {glob: 'a*'}"):                                                `unknown key "glob"; it is not, regexp or not_regexp`,
		rule(cpu + ", hosts: {not: a, regexp: b}"):                                         "give a text, or one of not, regexp and not_regexp",
		rule(cpu + ", hosts: {not: }"):                                                     "a text to match is missing",
		rule(cpu + ", tresh: 1"):                                                           "field tresh not found",
		rule("metric: filesystem_used_percent, op: '>', threshold: 1, labels: {mount: /}"): `has no label "mount"; it has mountpoint, device, fstype`,
		rule("silent: true"):                                                               "for is missing: how long a host must send nothing",
		rule("silent: true, for: 1m, metric: load1"):                                       "a rule on silence has no metric",
		"rules: [{silent: true, for: 1m}]":                                                 "name must be 1 to 100 letters",
		"rules: [{name: 'a|b', silent: true, for: 1m}]":                                    "name must be 1 to 100 letters",
		"rules: [{name: a, silent: true, for: 1m}, {name: a, silent: true, for: 2m}]":      "the name is taken by rule 1",
		"interval: 10ms":                                                                   "interval: 10ms is less than a second",
		"notify: {repeat_interval: -1h}":                                                   "notify.repeat_interval: -1h is negative",
		hook(""):                                                                           `notify.webhooks[0] "a": url or url_file is missing`,
		hook("url: 'ftp://x/y'"):                                                           "url: not a URL that begins with https:// or http://",
		hook("url: 'http://x', url_file: /x"):                                              "give url or url_file, not both",
		hook("url: 'http://x', headers: {Host: x}"):                                        "headers: Host can not be set",
		hook(`url: 'http://x', headers: {X: "a\nb"}`):                                      "the value of X has a control character",
		hook("url: 'http://x', headers: {'a b': x}"):                                       `"a b" is not a header's name`,
		hook("url: 'http://x', min_severity: low"):                                         `unknown severity "low"`,
		hook("url: 'http://x', timeout: -1s"):                                              "timeout: -1s is negative",
		hook("url: 'http://x'}, {name: a, url: 'http://y'"):                                "the name is taken by another receiver",
		"notify: {webhooks: [{url: 'http://x'}]}":                                          "name must be 1 to 63",
		mail("username: u"):                                                                "password or password_file is missing",
		mail("password: p"):                                                                "a password without username",
		mail("tls: ssl"):                                                                   `unknown tls "ssl"; it is starttls, tls or none`,
		mail("port: 70000"):                                                                "port 70000 is not a TCP port",
		"notify: {email: [{name: a}]}":                                                     "host is missing",
		"notify: {email: [{name: a, host: h, from: x, to: [y]}]}":                          `to: "y" is not an e-mail address`,
		"notify: {telegram: [{name: a}]}":                                                  "token or token_file is missing",
		"notify: {telegram: [{name: a, token: 'a b', chat_ids: [x]}]}":                     "token is not a bot token",
		"notify: {telegram: [{name: a, token: 'a:b', chat_ids: [ops]}]}":                   `chat id "ops" is neither a number nor a @channel`,
		"notify: {telegram: [{name: a, token: 'a:b', chat_ids: [1], api_url: 'x'}]}":       "api_url: not a URL",
	} {
		_, err := parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestMistakesAreToldTogether(t *testing.T) {
	_, err := parse("rules: [{name: a, metric: x}, {name: b, silent: true}]\ninterval: -1s")
	require.ErrorContains(t, err, `rule 1 "a": unknown op`)
	require.ErrorContains(t, err, `rule 2 "b": for is missing`)
	require.ErrorContains(t, err, "interval: -1s")
}

func TestDefaultRulesAreRight(t *testing.T) {
	rules, err := compileRules(DefaultRules())
	require.NoError(t, err)
	filesystems := shown{newHost(1, "web-1")}
	filesystems.Latest = &gohubv1.Reading{Instances: []*gohubv1.Instance{
		{Family: "filesystem", Labels: map[string]string{"fstype": "ext4"}},
		{Family: "filesystem", Labels: map[string]string{"fstype": "squashfs"}},
	}}
	require.True(t, rules[2].picks(filesystems, 0))
	require.False(t, rules[2].picks(filesystems, 1), "snap packages are always full")

	w := newWorld(t)
	w.play("99*61")
	var names []string
	for _, a := range w.alerts() {
		if a.GetState() == firing {
			names = append(names, a.GetRule())
		}
	}
	require.Equal(t, []string{"filesystem-full"}, names, "5 minutes of 99 %% in all")
	response, err := w.engine.ListRules(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, response.GetRules(), len(rules))
	require.Equal(t, 120.0, response.GetRules()[4].GetForSeconds())
	require.True(t, response.GetRules()[4].GetSilent())
}

func TestQuantities(t *testing.T) {
	for want, got := range map[string]string{
		"91.25 %": quantity(91.25, gohubv1.Unit_UNIT_PERCENT),
		"90 %":    quantity(90, gohubv1.Unit_UNIT_PERCENT),
		"1.5 GiB": quantity(1.5*(1<<30), gohubv1.Unit_UNIT_BYTES),
		"100 B":   quantity(100, gohubv1.Unit_UNIT_BYTES),
		"2 MiB/s": quantity(2<<20, gohubv1.Unit_UNIT_BYTES_PER_SECOND),
		"1h30m":   quantity(5400, gohubv1.Unit_UNIT_SECONDS),
		"12 s":    quantity(12, gohubv1.Unit_UNIT_SECONDS),
		"70.5 °C": quantity(70.5, gohubv1.Unit_UNIT_CELSIUS),
		"3/s":     quantity(3, gohubv1.Unit_UNIT_PER_SECOND),
		"-0.01":   quantity(-0.01, gohubv1.Unit_UNIT_NONE),
		"1000":    quantity(1000, gohubv1.Unit_UNIT_NONE),
	} {
		require.Equal(t, want, got)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0} {
		d, err := notify.ParseDuration(text)
		require.NoError(t, err)
		require.Equal(t, Duration(want), d)
	}
	require.Equal(t, "1h", Duration(time.Hour).String())
	require.Equal(t, "0s", Duration(0).String())
	require.Equal(t, "20m", Duration(20*time.Minute).String())
	for _, text := range []string{"", "d", "5", "1d-2h", "-1d", "1.5d", "5m1d", "36500d9999999h", "100y"} {
		_, err := notify.ParseDuration(text)
		require.Error(t, err, text)
	}
}

// FuzzConfig: whatever a configuration says, it is refused, or its rules can be evaluated and written again.
func FuzzConfig(f *testing.F) {
	f.Add(fullConfig)
	f.Add("rules: [{name: a, metric: load1, op: '<', threshold: 1e300, resolve: 1e308, for: 1ns}]")
	f.Add("rules: [{name: a, metric: process_cpu_percent, op: '>', threshold: -1, labels: {pid: {regexp: '.*'}}}]")
	f.Add("rules: [{name: a, hosts: {not_regexp: ''}, silent: true, for: 9d}]\nnotify: {telegram: []}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err != nil {
			return
		}
		rules, err := compileRules(c.EffectiveRules())
		require.NoError(t, err)
		e := &Engine{
			rules: rules, interval: time.Second, hosts: map[uint32]*host{}, states: map[key]map[string]*state{},
			out: changes{save: map[string]*gohubv1.Alert{}},
		}
		at := time.Unix(1e9, 0)
		for _, value := range []float64{0, 100, math.NaN(), math.Inf(1), -5} {
			h := newHost(1, "web-1")
			sample(h, at, value)
			e.source = messages{h}
			e.evaluate(at)
			e.list()
			at = at.Add(time.Second)
		}
		written, err := yaml.Marshal(Config{Rules: c.Rules})
		require.NoError(t, err)
		again, err := parse(string(written))
		require.NoError(t, err, "%s", written)
		if c.Rules != nil {
			require.Len(t, again.Rules, len(c.Rules))
		}
	})
}

// TestPlainWordsMatchAsTheExpressionDoes: alternatives of words are compared without the expression.
func TestPlainWordsMatchAsTheExpressionDoes(t *testing.T) {
	for _, pattern := range []string{"ext4", "squashfs|iso9660|udf", "a||b", "", "|"} {
		for _, not := range []bool{false, true} {
			match, err := Matcher{Pattern: pattern, Regexp: true, Not: not}.compile()
			require.NoError(t, err)
			for _, text := range []string{"", "ext4", "ext", "squashfs", "iso9660|udf", "udf", "a", "b", "|"} {
				require.Equal(t, regexp.MustCompile("^(?:"+pattern+")$").MatchString(text) != not, match(text), "%q on %q", pattern, text)
			}
		}
	}
}

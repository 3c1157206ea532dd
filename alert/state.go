package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	inactive = gohubv1.AlertState_ALERT_STATE_UNSPECIFIED
	pending  = gohubv1.AlertState_ALERT_STATE_PENDING
	firing   = gohubv1.AlertState_ALERT_STATE_FIRING
	resolved = gohubv1.AlertState_ALERT_STATE_RESOLVED
)

// state is one rule on one instance of one host. The engine's lock guards it.
//
//	             condition holds              held for the rule's "for"
//	inactive ─────────────────────▶ pending ─────────────────────────────▶ firing
//	  ▲ ▲                             │ ▲                                     │
//	  │ └──── condition is over ──────┘ │ condition holds again               │ condition is over (held against
//	  │                                 │                                     │ "resolve"), or the instance, the
//	  │            1 h later            │                                     ▼ host or the rule is gone
//	  └─────────────────────────────────┴──────────────────────────────── resolved
//
// Only a fresh sample (see host) that has the value moves it, and only such samples count for "for". A sample
// without the value, a stale one, or none hold it where it is.
type state struct {
	id       string
	rule     *compiled
	hostID   uint32
	hostname string
	labels   map[string]string

	phase gohubv1.AlertState
	// value is the newest one: in the metric's unit, or seconds of silence.
	value float64
	// since is when the condition began to hold. A time in which nothing was heard of it is taken out by moving since.
	since   time.Time
	firedAt time.Time
	// last is the alert as it was resolved: what is listed in phase resolved, and again after a pending that came to
	// nothing. It does not change any more.
	last *gohubv1.Alert

	// seenAt is when the last sample with the value was evaluated; zero for a state from the store.
	seenAt time.Time
	// missing counts the fresh samples in a row without the instance, and noValueSince is since when it is there but
	// without the value.
	missing      int
	noValueSince time.Time
	// remindAt is when receivers are to be reminded, zero for never.
	remindAt time.Time
	// lastSample is the time of the host's newest sample, by its own clock; for rules on silence.
	lastSample time.Time
	// tick is the evaluation that looked at the state last.
	tick uint64
}

// proto is the alert as it is now. The caller may keep it.
func (s *state) proto() *gohubv1.Alert {
	if s.phase == resolved {
		return s.last
	}
	alert := &gohubv1.Alert{
		Id: s.id, Rule: s.rule.Name, Severity: s.rule.Severity.Proto(), State: s.phase,
		HostId: s.hostID, Hostname: s.hostname, Labels: maps.Clone(s.labels), Metric: s.rule.Metric,
		Value: s.value, Threshold: s.rule.limit(), Summary: s.summary(),
		ActiveSince: timestamppb.New(s.since),
	}
	if s.phase == firing {
		alert.FiredAt = timestamppb.New(s.firedAt)
	}
	return alert
}

// listed tells whether there is an alert to show.
func (s *state) listed() bool { return s.phase != inactive }

// expired tells whether a resolved alert has been shown for long enough.
func (s *state) expired(now time.Time) bool {
	return s.last != nil && now.Sub(s.last.GetResolvedAt().AsTime()) >= keepResolved
}

// key names a rule on a host.
type key struct {
	rule int
	host uint32
}

// maxID bounds an alert's id in bytes; the databases index it.
const maxID = 240

// alertID is "rule|host id|label=value,…", or ends in a hash where that gets too long. Values are quoted where they
// hold a character that would make it ambiguous.
func alertID(rule string, host uint32, labels map[string]string) string {
	var b strings.Builder
	b.WriteString(rule + "|" + strconv.FormatUint(uint64(host), 10))
	separator := byte('|')
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		b.WriteByte(separator)
		separator = ','
		value := labels[name]
		if strings.ContainsAny(value, `,="|`) {
			value = strconv.Quote(value)
		}
		b.WriteString(name + "=" + value)
	}
	id := b.String()
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%s|%d|#%s", rule, host, hex.EncodeToString(sum[:16]))
}

// maxName bounds hostnames and label values in alerts, in bytes.
const maxName = 1024

// clean makes a name that a host gave fit to be stored and shown as one line: valid UTF-8 without control characters.
func clean(text string) string {
	if len(text) > maxName {
		text = text[:maxName]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// instanceLabels are the labels of a row, fit to be stored and shown; the host family has none.
func instanceLabels(family *catalogue.Family, current Host, row int) map[string]string {
	labels := make(map[string]string, len(family.Labels))
	for i, label := range family.Labels {
		labels[label.Name] = clean(current.Label(family, row, i))
	}
	return labels
}

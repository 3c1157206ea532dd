package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// maxLine bounds one alert's line in runes, for hostnames and mount points have no bound of their own.
const maxLine = 400

// subject is one line that says how many alerts changed, and which it was if there is one only.
func (m message) subject() string {
	if len(m.events) == 1 {
		alert := m.events[0].Alert
		return truncate(fmt.Sprintf("[GoHub] %s: %s on %s", headline(m.events[0]), plain(alert.GetRule()), plain(alert.GetHostname())), 200)
	}
	var counts []string
	for _, kind := range kinds {
		if n := len(m.of(kind)); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, map[Kind]string{
				Firing: "firing", Reminder: "still firing", Resolved: "resolved",
			}[kind]))
		}
	}
	return "[GoHub] " + strings.Join(counts, ", ")
}

// body is the plain text of the message, one alert a line, in at most limit UTF-16 units (as Telegram counts). What
// does not fit is counted in the last line.
func (m message) body(limit int) string {
	var b strings.Builder
	end := ""
	if m.link != "" {
		end = "\n" + m.link + "\n"
	}
	// Room for the link and for "… and 99999 more".
	room := limit - units(end) - 40
	left := len(m.events)
	for _, kind := range kinds {
		for _, event := range m.of(kind) {
			text := line(event) + "\n"
			if room -= units(text); room < 0 {
				fmt.Fprintf(&b, "… and %d more\n", left)
				return b.String() + end
			}
			b.WriteString(text)
			left--
		}
	}
	return b.String() + end
}

// line tells one event: "CRITICAL: disk is full (filesystem-full)".
func line(event Event) string {
	alert := event.Alert
	text := fmt.Sprintf("%s: %s", headline(event), plain(alert.GetSummary()))
	if event.Kind == Resolved && alert.GetFiredAt() != nil {
		text += fmt.Sprintf(", after %s", span(alert.GetResolvedAt().AsTime().Sub(alert.GetFiredAt().AsTime())))
	}
	if event.Kind == Reminder && alert.GetFiredAt() != nil {
		text += fmt.Sprintf(", since %s", alert.GetFiredAt().AsTime().UTC().Format("2006-01-02 15:04 MST"))
	}
	return truncate(text, maxLine) + fmt.Sprintf(" [%s]", truncate(plain(alert.GetRule()), 100))
}

func headline(event Event) string {
	severity := "WARNING"
	if event.Alert.GetSeverity() == gohubv1.Severity_SEVERITY_CRITICAL {
		severity = "CRITICAL"
	}
	switch event.Kind {
	case Resolved:
		return "RESOLVED"
	case Reminder:
		return "STILL " + severity
	default:
		return severity
	}
}

// span is a length of time for people: to the second below an hour, then to the minute.
func span(d time.Duration) string {
	if d >= time.Hour {
		return Duration(d.Round(time.Minute)).String()
	}
	return Duration(d.Round(time.Second)).String()
}

// plain makes text of what a host calls itself: control characters, which break lines and headers, line separators and
// the marks that turn the writing direction become a replacement character.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029',
			r == '\u200e', r == '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return utf8.RuneError
		default:
			return r
		}
	}, strings.ToValidUTF8(text, "\ufffd"))
}

// truncate cuts after limit runes.
func truncate(text string, limit int) string {
	count := 0
	for i := range text {
		if count == limit {
			return text[:i] + "…"
		}
		count++
	}
	return text
}

// units is the length in UTF-16 units.
func units(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

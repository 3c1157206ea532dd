package notify

import (
	"slices"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Kind says what an event tells of its alert.
type Kind string

// The kinds, in the order in which a message lists them.
const (
	// Firing: the alert began to fire.
	Firing Kind = "firing"
	// Reminder: the alert goes on firing.
	Reminder Kind = "reminder"
	// Resolved: the alert fires no more.
	Resolved Kind = "resolved"
)

var kinds = []Kind{Firing, Reminder, Resolved}

// Event is something that receivers are told.
type Event struct {
	Kind Kind
	// At is when it happened.
	At time.Time
	// Alert as it was then. Nobody changes it any more.
	Alert *gohubv1.Alert

	// queued is when a worker got the event.
	queued time.Time
}

// message is what one delivery carries: events of different alerts.
type message struct {
	events []Event
	// link is the address of the dashboard, empty if it is not known.
	link string
}

// of returns the events of a kind, the critical ones first.
func (m message) of(kind Kind) []Event {
	var events []Event
	for _, event := range m.events {
		if event.Kind == kind {
			events = append(events, event)
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int {
		return int(b.Alert.GetSeverity()) - int(a.Alert.GetSeverity())
	})
	return events
}

// time is when the newest of the events happened. It does not change when a delivery is tried again.
func (m message) time() time.Time {
	var newest time.Time
	for _, event := range m.events {
		if event.At.After(newest) {
			newest = event.At
		}
	}
	return newest
}

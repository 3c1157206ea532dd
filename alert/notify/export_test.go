package notify

import (
	"context"
	"net/netip"
	"time"
)

// SetWait replaces the wait between attempts. Call it before Run.
func (d *Dispatcher) SetWait(wait func(ctx context.Context, d time.Duration) bool) {
	for _, w := range d.workers {
		w.wait = wait
	}
}

// Queued returns what waits for the i-th worker.
func (d *Dispatcher) Queued(i int) []Event {
	w := d.workers[i]
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Event(nil), w.queue...)
}

// Body and Subject render a message.
func Body(link string, limit int, events ...Event) string {
	return message{events: events, link: link}.body(limit)
}

func Subject(events ...Event) string { return message{events: events}.subject() }

func Public(addr netip.Addr) bool { return public(addr) }

func Units(text string) int { return units(text) }

const MaxQueued = maxQueued

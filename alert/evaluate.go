package alert

import (
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/alert/notify"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// keepResolved is how long a resolved alert stays listed.
	keepResolved = time.Hour
	// goneAfter is how many fresh samples in a row must lack an instance (an unmounted disk) for it to be gone. One or
	// two may lack it because the agent could not read it in time.
	goneAfter = 12
	// lostAfter is how long a value may be absent from an instance that is there, or a host from the source that the
	// server has not seen since its start, before the alert is given up.
	lostAfter = time.Hour
	// minGap is the least time between samples that is taken for a gap.
	minGap = 15 * time.Second
	// restartGap is how long the server may have been away without the time being taken out of "for": the agents kept
	// what they measured meanwhile.
	restartGap = 5 * time.Minute
)

// changes is what one evaluation leads to.
type changes struct {
	// save has the changed alerts by id, nil for those that are gone.
	save   map[string]*gohubv1.Alert
	events []notify.Event
}

// evaluate checks all rules on all hosts. The caller holds mu.
func (e *Engine) evaluate(now time.Time) {
	e.tick++
	e.source.Each(func(current Host) { e.check(now, current) })
	e.absent(now)
	e.remind(now)
	e.expire(now)
}

// check holds one host against all rules.
func (e *Engine) check(now time.Time, current Host) {
	id := current.ID()
	h := e.host(id)
	if h.tick == e.tick {
		return // A host that is listed twice counts once.
	}
	h.tick, h.absentSince = e.tick, time.Time{}
	h.observe(now, current, e.interval)
	for i, rule := range e.rules {
		k := key{i, id}
		switch {
		case !rule.concerns(h.hostname):
			e.end(now, k, "the rule is not about this host any more")
		case rule.Silent:
			e.silence(now, k, h)
		case h.fresh:
			e.sample(now, k, h, current)
		}
	}
}

// host returns what is remembered of a host.
func (e *Engine) host(id uint32) *host {
	h := e.hosts[id]
	if h == nil {
		h = &host{id: id}
		e.hosts[id] = h
	}
	return h
}

// sample holds a host's fresh sample against a rule.
func (e *Engine) sample(now time.Time, k key, h *host, current Host) {
	rule := e.rules[k.rule]
	family := rule.metric.Family
	if family == catalogue.Host() && current.Rows(family) == 0 {
		e.instance(now, k, h, nil, 0, 0, false)
		return
	}
	for row := range current.Rows(family) {
		if rule.picks(current, row) {
			value, ok := current.Value(rule.metric, row)
			e.instance(now, k, h, current, row, value, ok && isFinite(value))
		}
	}
	if family == catalogue.Host() {
		return
	}
	for _, s := range e.states[k] {
		if s.tick == e.tick || (s.phase != pending && s.phase != firing) {
			continue
		}
		if s.missing++; s.missing > goneAfter {
			e.over(now, s, "it is not reported any more")
		}
	}
}

// instance moves the state of one instance, the row of current. ok tells whether the sample has the value.
func (e *Engine) instance(now time.Time, k key, h *host, current Host, row int, value float64, ok bool) {
	rule := e.rules[k.rule]
	breached := ok && rule.breached(value, false)
	if !breached && len(e.states[k]) == 0 {
		return // The usual case, without making an id.
	}
	labels := instanceLabels(rule.metric.Family, current, row)
	id := alertID(rule.Name, k.host, labels)
	s := e.states[k][id]
	if s == nil {
		if !breached {
			return
		}
		s = &state{id: id, rule: rule, hostID: k.host, labels: labels}
		e.put(k, s)
	}
	if s.tick == e.tick {
		return // Two instances with the same labels can't be told apart.
	}
	s.tick, s.missing = e.tick, 0
	s.hostname = h.name()
	if !ok {
		if s.noValueSince.IsZero() {
			s.noValueSince = now
		}
		if now.Sub(s.noValueSince) >= lostAfter {
			e.over(now, s, "its value is not reported any more")
		}
		return
	}
	s.noValueSince = time.Time{}
	s.value = value
	switch s.phase {
	case firing:
		if !rule.breached(value, true) {
			e.over(now, s, "")
		}
	case pending:
		if !breached {
			e.over(now, s, "")
			break
		}
		e.skipGap(now, s, h)
		e.mature(now, s)
	default:
		if breached {
			e.begin(s, now)
			e.mature(now, s)
		}
	}
	s.seenAt = now
}

// skipGap takes the time since the last sample out of "for", if it is too long to have been observed.
func (e *Engine) skipGap(now time.Time, s *state, h *host) {
	limit, seen := h.gapLimit(e.interval), s.seenAt
	if seen.IsZero() {
		// A pending alert of the server's last life; it heard the host until it stopped.
		limit, seen = restartGap, h.stored
	}
	if seen.Before(s.since) {
		seen = s.since
	}
	if gap := now.Sub(seen); gap > limit {
		s.since = s.since.Add(gap)
		e.changed(s)
	}
}

// silence holds a rule on silence against a host.
func (e *Engine) silence(now time.Time, k key, h *host) {
	rule, status := e.rules[k.rule], h.status
	up := h.heard || isUp(status)
	down := !up && status == gohubv1.HostStatus_HOST_STATUS_DOWN
	if !down && len(e.states[k]) == 0 {
		return // The usual case, without making an id.
	}
	id := alertID(rule.Name, k.host, nil)
	s := e.states[k][id]
	if s == nil {
		s = &state{id: id, rule: rule, hostID: k.host}
		e.put(k, s)
	}
	s.hostname, s.lastSample = h.name(), h.sample
	switch {
	case up:
		if s.phase == pending || s.phase == firing {
			e.over(now, s, "")
		}
		return
	case down && s.phase != pending && s.phase != firing:
		e.begin(s, h.heardAt)
	}
	// A status that is not known holds the state.
	s.value = now.Sub(s.since).Seconds()
	if down && s.phase == pending {
		e.mature(now, s)
	}
}

// put files a new state.
func (e *Engine) put(k key, s *state) {
	if e.states[k] == nil {
		e.states[k] = map[string]*state{}
	}
	e.states[k][s.id] = s
}

// begin: the condition holds.
func (e *Engine) begin(s *state, since time.Time) {
	s.phase, s.since = pending, since
	s.missing, s.noValueSince = 0, time.Time{}
	e.changed(s)
}

// mature fires a pending alert whose condition has held for long enough.
func (e *Engine) mature(now time.Time, s *state) {
	if now.Sub(s.since) < time.Duration(s.rule.For) {
		return
	}
	s.phase, s.firedAt = firing, now
	if e.repeat > 0 {
		s.remindAt = now.Add(e.repeat)
	}
	e.changed(s)
	e.tell(now, notify.Firing, s.proto())
}

// over ends a pending or firing alert. why is empty if the condition is over.
func (e *Engine) over(now time.Time, s *state, why string) {
	s.missing, s.noValueSince, s.seenAt = 0, time.Time{}, time.Time{}
	if s.phase == firing {
		s.last = s.proto()
		s.last.State, s.last.ResolvedAt, s.last.Summary = resolved, timestamppb.New(now), s.ended(why)
		s.phase = resolved
		e.changed(s)
		e.tell(now, notify.Resolved, s.last)
		return
	}
	s.phase = inactive
	if s.last != nil && !s.expired(now) {
		s.phase = resolved
	}
	e.changed(s)
}

// end ends all alerts of a rule on a host.
func (e *Engine) end(now time.Time, k key, why string) {
	for _, s := range e.states[k] {
		if s.phase == pending || s.phase == firing {
			e.over(now, s, why)
		}
	}
}

// absent ends the alerts of hosts that the source does not have any more.
func (e *Engine) absent(now time.Time) {
	for id, h := range e.hosts {
		if h.tick == e.tick {
			continue
		}
		if h.absentSince.IsZero() {
			h.absentSince = now
		}
		limit := goneAfter * e.interval
		if h.tick == 0 {
			limit = lostAfter
		}
		if now.Sub(h.absentSince) < limit {
			continue
		}
		for i := range e.rules {
			e.end(now, key{i, id}, "the host was removed")
		}
		delete(e.hosts, id)
	}
}

// remind tells of alerts that go on firing. Those that are nearly due come along, so that alerts that fired within a
// tenth of the interval are told in one message from then on.
func (e *Engine) remind(now time.Time) {
	due := func(s *state, at time.Time) bool {
		return s.phase == firing && !s.remindAt.IsZero() && !at.Before(s.remindAt)
	}
	anyDue := false
	for _, states := range e.states {
		for _, s := range states {
			anyDue = anyDue || due(s, now)
		}
	}
	if !anyDue {
		return
	}
	for _, states := range e.states {
		for _, s := range states {
			if due(s, now.Add(e.repeat/10)) {
				s.remindAt = now.Add(e.repeat)
				e.tell(now, notify.Reminder, s.proto())
			}
		}
	}
}

// expire forgets what was resolved long ago.
func (e *Engine) expire(now time.Time) {
	for k, states := range e.states {
		for id, s := range states {
			if s.phase == resolved && s.expired(now) {
				s.phase = inactive
				e.changed(s)
			}
			if s.phase == inactive {
				delete(states, id)
			}
		}
		if len(states) == 0 {
			delete(e.states, k)
		}
	}
	for id, alert := range e.orphans {
		if now.Sub(alert.GetResolvedAt().AsTime()) >= keepResolved {
			delete(e.orphans, id)
			e.out.save[id] = nil
		}
	}
}

// changed notes that the alert is to be saved and published.
func (e *Engine) changed(s *state) {
	if !s.listed() {
		e.out.save[s.id] = nil
		return
	}
	e.out.save[s.id] = s.proto()
}

// tell notes an event for the receivers.
func (e *Engine) tell(now time.Time, kind notify.Kind, alert *gohubv1.Alert) {
	e.out.events = append(e.out.events, notify.Event{Kind: kind, At: now, Alert: alert})
}

// restore takes up the alerts of the server's last life, without telling of them again. What the engine found out
// itself meanwhile goes before. The caller holds mu.
func (e *Engine) restore(now time.Time, alerts []*gohubv1.Alert) {
	rules := map[string]int{}
	for i, rule := range e.rules {
		rules[rule.Name] = i
	}
	for _, a := range alerts {
		i, known := rules[a.GetRule()]
		if known && e.rules[i].Metric == a.GetMetric() {
			e.restoreState(key{i, a.GetHostId()}, a)
			continue
		}
		switch a.GetState() {
		case firing:
			over := proto.Clone(a).(*gohubv1.Alert)
			over.State, over.ResolvedAt = resolved, timestamppb.New(now)
			over.Summary = fmt.Sprintf("%s on %s: the rule was removed", over.GetRule(), over.GetHostname())
			e.orphans[a.GetId()] = over
			e.out.save[a.GetId()] = over
			e.tell(now, notify.Resolved, over)
		case resolved:
			e.orphans[a.GetId()] = a
		default:
			e.out.save[a.GetId()] = nil
		}
	}
}

func (e *Engine) restoreState(k key, a *gohubv1.Alert) {
	rule := e.rules[k.rule]
	id := alertID(rule.Name, k.host, a.GetLabels())
	if id != a.GetId() {
		e.out.save[a.GetId()] = nil
	}
	s := e.states[k][id]
	if s != nil && (s.phase == firing || s.phase == resolved) && a.GetState() != firing {
		return
	}
	if s == nil {
		s = &state{id: id, rule: rule, hostID: k.host, hostname: a.GetHostname(), labels: maps.Clone(a.GetLabels())}
		s.value = a.GetValue()
		e.put(k, s)
		e.host(k.host)
	}
	switch a.GetState() {
	case firing, pending:
		if s.phase == resolved {
			return
		}
		s.phase, s.since = a.GetState(), a.GetActiveSince().AsTime()
		if s.phase == firing {
			s.firedAt = a.GetFiredAt().AsTime()
			s.remindAt = nextReminder(e.now(), s.firedAt, e.repeat)
		}
		if s.tick != 0 {
			e.changed(s) // The engine had found it by itself.
		}
	case resolved:
		s.last = a
		if s.phase == inactive {
			s.phase = resolved
		}
	default:
		e.changed(s) // Not a state that can be: it is removed from the store.
	}
	if id != a.GetId() {
		e.changed(s)
	}
}

// nextReminder is the first multiple of repeat after firedAt that is not over yet.
func nextReminder(now, firedAt time.Time, repeat time.Duration) time.Time {
	if repeat <= 0 {
		return time.Time{}
	}
	due := firedAt.Add(repeat)
	if late := now.Sub(due); late > 0 {
		due = due.Add((late + repeat - 1) / repeat * repeat)
	}
	return due
}

package alert

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Of several engines on one Store one leads: it evaluates, saves and tells people. The others follow: they show what it has saved.
// Who comes to lead begins as after a restart, with what was saved, and so tells of nothing twice; who no longer leads forgets
// what it found out.
//
//	         leads, by Options.Leads
//	follow ──────────────────────────▶ load, evaluate, save, tell
//	       ◀──────────────────────────
//	         does not lead any more

// mayLead tells whether this engine leads, and makes it ready for what is new.
func (e *Engine) mayLead() bool {
	if e.leads == nil {
		return true
	}
	leads := e.leads()
	if leads == e.leading {
		return leads
	}
	e.leading = leads
	e.forget()
	e.saver.forget()
	e.started = e.now()
	return leads
}

// forget makes the engine one that knows nothing yet.
func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loaded, e.published, e.tick = false, false, 0
	e.unsaved = map[string]*gohubv1.Alert{}
	e.hosts, e.states, e.orphans = map[uint32]*host{}, map[key]map[string]*state{}, map[string]*gohubv1.Alert{}
	e.out = changes{save: map[string]*gohubv1.Alert{}}
}

// follow shows what is saved. While it can not be read, what was read last stays.
func (e *Engine) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	alerts, err := e.store.Alerts(ctx)
	if err != nil {
		if ctx.Err() == nil {
			e.log.Debug("alerts of the server that leads not read", "error", err)
		}
		e.metrics.saveErrors.Inc()
		return
	}
	if alerts == nil {
		alerts = []*gohubv1.Alert{}
	}
	slices.SortFunc(alerts, inOrder)
	e.mu.Lock()
	same := e.followed != nil && slices.EqualFunc(e.followed, alerts, func(a, b *gohubv1.Alert) bool { return proto.Equal(a, b) })
	e.followed = alerts
	e.mu.Unlock()
	if same {
		return
	}
	e.metrics.count(alerts)
	e.publish(alerts)
}

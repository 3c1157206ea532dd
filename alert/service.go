package alert

import (
	"cmp"
	"context"
	"slices"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// ListAlerts answers from memory: firing first, then pending, then those resolved within the last hour; the critical
// ones first in each, then the newest. Values are those of the last evaluation.
func (e *Engine) ListAlerts(context.Context, *gohubv1.ListAlertsRequest) (*gohubv1.ListAlertsResponse, error) {
	return &gohubv1.ListAlertsResponse{Alerts: e.list()}, nil
}

// ListRules returns the rules in the order of the configuration, the default ones first.
func (e *Engine) ListRules(context.Context, *gohubv1.ListRulesRequest) (*gohubv1.ListRulesResponse, error) {
	response := &gohubv1.ListRulesResponse{}
	for _, rule := range e.rules {
		response.Rules = append(response.Rules, rule.proto())
	}
	return response, nil
}

// list returns all alerts in order: its own, or those of the engine that leads. Nobody changes them any more.
func (e *Engine) list() []*gohubv1.Alert {
	e.mu.Lock()
	if e.followed != nil {
		defer e.mu.Unlock()
		return e.followed
	}
	alerts := []*gohubv1.Alert{}
	for _, states := range e.states {
		for _, s := range states {
			if s.listed() {
				alerts = append(alerts, s.proto())
			}
		}
	}
	for _, alert := range e.orphans {
		alerts = append(alerts, alert)
	}
	e.mu.Unlock()
	slices.SortFunc(alerts, inOrder)
	return alerts
}

// inOrder compares two alerts by their place in the list.
func inOrder(a, b *gohubv1.Alert) int {
	rank := map[gohubv1.AlertState]int{firing: 0, pending: 1, resolved: 2}
	newest := func(a *gohubv1.Alert) int64 {
		switch a.GetState() {
		case resolved:
			return a.GetResolvedAt().AsTime().UnixNano()
		case firing:
			return a.GetFiredAt().AsTime().UnixNano()
		default:
			return a.GetActiveSince().AsTime().UnixNano()
		}
	}
	return cmp.Or(
		cmp.Compare(rank[a.GetState()], rank[b.GetState()]),
		cmp.Compare(b.GetSeverity(), a.GetSeverity()),
		cmp.Compare(newest(b), newest(a)),
		cmp.Compare(a.GetId(), b.GetId()),
	)
}

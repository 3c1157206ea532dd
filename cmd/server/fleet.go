package main

import (
	"context"
	"time"

	"github.com/gohub-io/gohub/alert"
	"github.com/gohub-io/gohub/live"
)

// fleet shows the live state to the alert evaluation, which goes through it by one goroutine.
type fleet struct {
	state *live.State
	view  live.View
}

// Each implements alert.Source.
func (f *fleet) Each(see func(alert.Host)) {
	f.state.Each(&f.view, func(view *live.View) { see(view) })
}

// intakeEvery is how often it is looked whether samples can be stored: well below the time after which a host is down.
const intakeEvery = 2 * time.Second

// watchIntake tells the state when samples can not be stored, until ctx ends: agents are held back then, and that nothing is
// heard of them does not say that they are down.
func watchIntake(ctx context.Context, state *live.State, ready func(context.Context) error) {
	ticker := time.NewTicker(intakeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			state.SetDeaf(ready(ctx) != nil)
		case <-ctx.Done():
			return
		}
	}
}

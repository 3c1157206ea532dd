package main

import (
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

package chaos

import (
	"context"
	"fmt"
	"time"
)

// scenarios are all there are, in the order in which they run.
var scenarios = []scenario{
	{name: "kills", redelivers: true, run: resent(randomKills(0.5, true))},
	{name: "points", redelivers: true, run: ambushed(0.25, true)},
	{name: "delays", redelivers: true, run: delays(0.06)},
	{name: "freeze", cluster: true, run: freezes(5, 1, 3*time.Second)},
	{name: "freeze-long", cluster: true, long: true, run: freezes(1, 1, 130*time.Second), change: func(w *world) {
		w.config.Every, w.config.Patience = 100*time.Millisecond, 0 // the agents' own patience is what counts here
	}},
	{name: "two-servers", servers: 2, redelivers: true, run: resent(crossings(0.15))},
	{name: "parted", servers: 2, linked: true, redelivers: true, run: resent(partings(0.08)), change: func(w *world) {
		w.config.Interval = time.Second // by which servers tell that an agent has gone
	}},
	{name: "full-disk", agents: 4, tells: true, spoolSize: "512k", run: fullDisk, change: func(w *world) {
		w.config.Every = 4 * time.Millisecond // one sample a batch, as real agents append them: of lost numbers a spool tells so many
		w.config.SpoolBytes, w.config.MemoryBytes = 1<<20, 64<<10
		w.plan.Step = 20
	}},
	{name: "flips", alone: true, tells: true, inspect: flipBytes},
	{name: "clock", redelivers: true, run: resent(randomKills(0.05, true)), change: func(w *world) {
		w.plan.ClockTicks = 30
		for _, offset := range []time.Duration{0, -time.Hour, 2 * time.Hour, time.Second, -6 * time.Hour, -time.Minute} {
			w.plan.Clock = append(w.plan.Clock, offset.Milliseconds())
		}
	}},
	{name: "poison", redelivers: true, run: resent(randomKills(0.05, true)), change: func(w *world) {
		w.plan.PoisonEvery, w.config.Samples = 7, 4
		w.plan.Step = 50
	}},
	{name: "kills-sqlite", sqlite: true, redelivers: true, run: randomKills(0.25, false)},
	{name: "points-sqlite", sqlite: true, redelivers: true, run: ambushed(0.1, false)},
}

// resent begins with a fault that leaves no choice but to send again: a server that dies before its commit.
func resent(run func(context.Context, *world) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if err := w.ambush(ctx, ambush{beforeCommit, theServer}); err != nil {
			return err
		}
		if len(w.servers) > 1 {
			w.spread()
		}
		return run(ctx, w)
	}
}

// randomKills kills agents, server and database at random moments, sometimes several at once, sometimes the server again
// while it starts.
func randomKills(share float64, database bool) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		for goal := w.options.kills(share); w.faults < goal; {
			if err := w.progress(ctx, w.random.IntN(40)); err != nil {
				return fmt.Errorf("after %d kills: %w", w.faults, err)
			}
			w.moment(ctx, 100*time.Millisecond)
			if err := w.killSome(ctx, database && w.options.Cluster != nil); err != nil {
				return fmt.Errorf("after %d kills: %w", w.faults, err)
			}
		}
		return nil
	}
}

// killSome kills one to three processes at once, and starts them again.
func (w *world) killSome(ctx context.Context, database bool) error {
	// Agents and servers take turns at about the same rate; a database takes the longest to come back.
	agents, server, cluster := false, false, false
	switch dice := w.random.IntN(20); {
	case dice < 8:
		agents = true
	case dice < 15 || !database:
		server = true
	default:
		cluster = true
	}
	if w.random.IntN(5) == 0 {
		agents = true
	}
	if w.random.IntN(8) == 0 {
		server = true
	}
	if server {
		w.servers[0].note(ctx)
		w.killServer(0)
	}
	if agents {
		w.killAgents()
	}
	if cluster {
		if err := w.killDatabase(ctx); err != nil {
			return err
		}
	}
	if agents {
		if err := w.startAgents(); err != nil {
			return err
		}
	}
	if !server {
		return nil
	}
	if w.random.IntN(4) == 0 { // while it starts
		if err := w.launchServer(w.servers[0]); err != nil {
			return err
		}
		w.moment(ctx, 300*time.Millisecond)
		w.killServer(0)
	}
	return w.startServer(ctx, 0)
}

// killDatabase kills every process of the database at once, and starts it again.
func (w *world) killDatabase(ctx context.Context) error {
	w.faults++
	w.kills++
	if err := w.options.Cluster.Kill(ctx); err != nil {
		return err
	}
	w.moment(ctx, 200*time.Millisecond)
	return w.options.Cluster.Start(ctx)
}

// spread leads each agent to a server.
func (w *world) spread() {
	for i, relay := range w.relays {
		relay.point(w.servers[i%len(w.servers)].grpc)
	}
}

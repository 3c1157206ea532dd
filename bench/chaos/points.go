package chaos

import (
	"context"
	"fmt"
	"time"
)

// ambush is a fault at a point: what it does besides cutting the connection whose traffic it is.
type ambush struct {
	at     point
	victim victim
}

type victim string

const (
	nobody     victim = "nobody"
	theServer  victim = "the server"
	theAgents  victim = "the agents"
	theCluster victim = "the database"
)

// ambushes are all faults at points: those that the server's traffic with the database shows, and those of the agents'
// with the server.
func ambushes(database, cluster bool) []ambush {
	var all []ambush
	if database {
		for _, at := range []point{beforeCopy, afterCopy, beforeCommit, commitSent, commitAnswerLost, commitAnswered} {
			all = append(all, ambush{at, nobody}, ambush{at, theServer})
			if cluster && (at == commitSent || at == afterCopy) {
				all = append(all, ambush{at, theCluster})
			}
		}
	}
	for _, at := range []point{beforeWelcome, afterWelcome, beforeAck, afterAck} {
		all = append(all, ambush{at, nobody}, ambush{at, theServer}, ambush{at, theAgents})
	}
	return all
}

// ambushed kills and cuts exactly at each of the points, in turns.
func ambushed(share float64, database bool) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		all := ambushes(database, w.options.Cluster != nil)
		goal := max(w.options.kills(share), len(all))
		if w.options.Short {
			goal = len(all) / 3 // each time others
		}
		for i := range goal {
			one := all[i%len(all)]
			if i%len(all) == 0 {
				w.random.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
				one = all[0]
			}
			if err := w.ambush(ctx, one); err != nil {
				return fmt.Errorf("fault %d, %s for %s: %w", i+1, one.at, one.victim, err)
			}
		}
		return nil
	}
}

// ambush sets one trap, waits until it springs, and has everything run again.
func (w *world) ambush(ctx context.Context, one ambush) error {
	where := &w.traps
	switch one.at {
	case beforeCopy, afterCopy, beforeCommit, commitSent, commitAnswerLost, commitAnswered:
		where = &w.servers[0].traps
	}
	w.servers[0].note(ctx)
	victims := map[victim]func(){
		nobody: func() {}, theServer: w.servers[0].process.kill, theAgents: w.agents.kill,
		theCluster: func() { _ = w.options.Cluster.Kill(ctx) }, // what it did not kill it kills below
	}
	skip, connect := w.random.IntN(8), one.at == beforeWelcome || one.at == afterWelcome
	if connect {
		skip = min(skip, 1)
	}
	trap := where.set(one.at, skip, false, victims[one.victim])
	defer where.clear()
	if connect { // somebody must
		for _, relay := range w.relays {
			relay.point(w.servers[0].grpc)
		}
	}
	if err := w.sprung(ctx, trap); err != nil {
		return err
	}
	w.faults++
	if one.victim != nobody {
		w.kills++
	}
	switch one.victim {
	case theServer:
		if err := w.startServer(ctx, 0); err != nil {
			return err
		}
	case theAgents:
		w.agentsEnded()
		if err := w.startAgents(); err != nil {
			return err
		}
	case theCluster:
		if err := w.options.Cluster.Kill(ctx); err != nil {
			return err
		}
		if err := w.options.Cluster.Start(ctx); err != nil {
			return err
		}
	}
	return w.progress(ctx, 1+w.random.IntN(10))
}

// sprung waits until a trap has sprung.
func (w *world) sprung(ctx context.Context, trap *trap) error { return w.came(ctx, trap.sprung) }

// came waits for what traffic brings about.
func (w *world) came(ctx context.Context, done <-chan struct{}) error {
	const patience = 30 * time.Second
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("nothing came by within %s; %+v; servers said:\n%s", patience, *w.agents.status.Load(), w.serverLogs())
	case <-ctx.Done():
		return ctx.Err()
	}
}

package chaos

import (
	"context"
	"fmt"
	"time"
)

// Stalls are longer than a server waits for its database (a minute), and than the database keeps an idle transaction (30
// seconds), if they are not short.
const (
	attemptStall = 65 * time.Second
	idleStall    = 35 * time.Second
)

// moreLate is how many more commits are kept back where none of the others was refused.
const moreLate = 20

// delays keeps back what passes between server and database, as a network may: for a moment, for longer than either side
// has patience, and until the server that sent a commit is dead, another one has stored the same batches, and the commit
// arrives all the same. That last one the database must refuse.
func delays(share float64) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		goal := w.options.kills(share)
		for i := range goal {
			var err error
			switch {
			case i == 1 && !w.options.Short:
				err = w.stall(ctx, beforeCommit, idleStall)
			case i == 2 && !w.options.Short:
				err = w.stall(ctx, commitAnswerLost, attemptStall)
			case i%4 == 3:
				points := []point{beforeCopy, afterCopy, beforeCommit, commitSent, commitAnswerLost, commitAnswered}
				err = w.stall(ctx, points[w.random.IntN(len(points))], time.Duration(w.random.Int64N(int64(2*time.Second))))
			default:
				err = w.commitLate(ctx)
			}
			if err != nil {
				return fmt.Errorf("delay %d: %w", i+1, err)
			}
		}
		// On a busy machine the agents of the commit that was kept back may not have gone on yet: then it is in time, and proves nothing.
		for range moreLate {
			if w.servers[0].traps.refusals() > 0 {
				return nil
			}
			if err := w.commitLate(ctx); err != nil {
				return fmt.Errorf("another late commit: %w", err)
			}
		}
		return fmt.Errorf("the database refused none of the late commits, nor of %d more, so none proved anything", moreLate)
	}
}

// hold keeps back what passes at the point, until it is released. held is closed once something is kept back.
func (w *world) hold(at point) (one *trap, held <-chan struct{}, release func()) {
	begun, ended := make(chan struct{}), make(chan struct{})
	one = w.servers[0].traps.set(at, w.random.IntN(4), true, func() {
		close(begun)
		<-ended
	})
	return one, begun, func() { close(ended) }
}

// stall keeps something back for a while, and passes it on.
func (w *world) stall(ctx context.Context, at point, length time.Duration) error {
	one, held, release := w.hold(at)
	err := w.came(ctx, held)
	if err == nil {
		w.faults++
		pause(ctx, length)
	}
	release()
	w.servers[0].traps.clear()
	if err == nil {
		err = w.sprung(ctx, one)
	}
	if err != nil {
		return fmt.Errorf("stall %s for %s: %w", at, length, err)
	}
	return w.progress(ctx, 1+w.random.IntN(10))
}

// commitLate keeps a commit back until its server is dead and every agent has gone on with the next one.
func (w *world) commitLate(ctx context.Context) error {
	one, held, release := w.hold(beforeCommit)
	err := w.came(ctx, held)
	if err == nil {
		w.faults++
		w.servers[0].note(ctx)
		w.killServer(0)
		err = w.startServer(ctx, 0)
	}
	if err == nil {
		err = w.progress(ctx, 3*len(w.relays))
	}
	release()
	w.servers[0].traps.clear()
	if err == nil {
		err = w.sprung(ctx, one)
	}
	if err != nil {
		return fmt.Errorf("a commit of a dead server: %w", err)
	}
	return w.progress(ctx, 1)
}

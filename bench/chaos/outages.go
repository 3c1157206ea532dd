package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/gohub-io/gohub/bench/rig"
)

// freezes stops every process of the database for a while, several times, each time at another moment of a flush.
func freezes(times, short int, length time.Duration) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if w.options.Short {
			times = short
		}
		for range times {
			if err := w.progress(ctx, 1+w.random.IntN(40)); err != nil {
				return err
			}
			w.moment(ctx, 100*time.Millisecond)
			if err := w.freezeDatabase(ctx, length); err != nil {
				return err
			}
		}
		return w.progress(ctx, 1)
	}
}

func (w *world) freezeDatabase(ctx context.Context, length time.Duration) error {
	defer w.options.Cluster.Thaw()
	if err := w.options.Cluster.Freeze(); err != nil {
		return err
	}
	w.faults++
	pause(ctx, length)
	return nil
}

// crossings leads agents from one of two servers to the other at random, kills servers, and freezes one in the middle of a
// flush, so that it wakes when its agents are long with the other.
func crossings(share float64) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		frozen := 0
		for goal := w.options.kills(share); w.faults < goal; {
			if err := w.progress(ctx, 1+w.random.IntN(40)); err != nil {
				return fmt.Errorf("after %d faults: %w", w.faults, err)
			}
			w.moment(ctx, 50*time.Millisecond)
			var err error
			switch dice := w.random.IntN(10); {
			case dice < 5:
				w.cross()
			case dice < 7:
				err = w.killOneOfTwo(ctx)
			default:
				// Longer, for once, than the database keeps an idle transaction.
				length := time.Duration(w.random.Int64N(int64(2 * time.Second)))
				if frozen++; frozen == 3 && !w.options.Short {
					length = 40 * time.Second
				}
				err = w.freezeServer(ctx, length)
			}
			if err != nil {
				return fmt.Errorf("after %d faults: %w", w.faults, err)
			}
		}
		return nil
	}
}

// cross leads some agents to a server of chance.
func (w *world) cross() {
	w.faults++
	for range 1 + w.random.IntN(len(w.relays)) {
		w.relays[w.random.IntN(len(w.relays))].point(w.servers[w.random.IntN(len(w.servers))].grpc)
	}
}

// leave leads all agents to another server than i.
func (w *world) leave(i int) {
	for _, relay := range w.relays {
		relay.point(w.servers[(i+1)%len(w.servers)].grpc)
	}
}

func (w *world) killOneOfTwo(ctx context.Context) error {
	i := w.random.IntN(len(w.servers))
	w.servers[i].note(ctx)
	w.killServer(i)
	w.leave(i)
	return w.startServer(ctx, i)
}

// freezeServer stops a server between two steps of a flush, has its agents go to the other one, which must not wait for it,
// and wakes it again.
func (w *world) freezeServer(ctx context.Context, length time.Duration) error {
	i := w.random.IntN(len(w.servers))
	w.leave((i + 1) % len(w.servers)) // all to the one that will freeze
	points := []point{beforeCopy, afterCopy, beforeCommit, commitSent, commitAnswered}
	pid := w.servers[i].process.command.Process.Pid
	var failure error // written before sprung is closed
	at := points[w.random.IntN(len(points))]
	trap := w.servers[i].traps.set(at, w.random.IntN(4), true, func() { failure = rig.Freeze(pid) })
	defer w.servers[i].traps.clear()
	if err := w.sprung(ctx, trap); err != nil {
		return fmt.Errorf("freeze server %d %s: %w", i, at, err)
	}
	if failure != nil {
		return fmt.Errorf("freeze server %d: %w", i, failure)
	}
	w.faults++
	w.leave(i)
	err := w.progress(ctx, 2*len(w.relays))
	if err != nil {
		err = fmt.Errorf("with server %d frozen %s: %w", i, at, err)
	}
	pause(ctx, length)
	if failure := rig.Thaw(pid); failure != nil {
		return fmt.Errorf("wake server %d: %w", i, failure)
	}
	return err
}

// fullDisk has the agents' disk fill up while the server is away, twice, and the second time kills the agents then.
func fullDisk(ctx context.Context, w *world) error {
	for _, killed := range []bool{false, true} {
		for _, relay := range w.relays {
			relay.point("")
		}
		w.faults++
		lost := w.agents.status.Load().Dropped
		err := w.until(ctx, "fill the disk", time.Minute, func() bool { return w.agents.status.Load().Dropped > lost+50 })
		if err != nil {
			return err
		}
		if killed {
			w.killAgents()
			if err := w.startAgents(); err != nil {
				return err
			}
		}
		for _, relay := range w.relays {
			relay.point(w.servers[0].grpc)
		}
		// While the backlog goes out, memory may still overflow, and the next batch is what tells of it: there must be one.
		err = w.until(ctx, "send the backlog", drainedPatience, func() bool {
			status := w.agents.status.Load()
			return status.Taken > 0 && status.Held < 10*len(w.relays)
		})
		if err != nil {
			return err
		}
		if err := w.progress(ctx, 50*len(w.relays)); err != nil {
			return err
		}
	}
	return nil
}

// mountSmall gives the spools a file system of a few bytes.
func (w *world) mountSmall(ctx context.Context, size string) error {
	output, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", w.config.Directory).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount a small file system: %w; mount said: %s", err, output)
	}
	w.mounted = true
	return nil
}

func (w *world) unmount() error {
	if !w.mounted {
		return nil
	}
	output, err := exec.Command("umount", w.config.Directory).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unmount %s: %w; umount said: %s", w.config.Directory, err, output)
	}
	return nil
}

// canMount says whether this process may.
func canMount() bool { return os.Geteuid() == 0 }

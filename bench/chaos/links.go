package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gohub-io/gohub/bench/rig"
)

// shownEverywhere waits until every viewer is shown every host as up, with something that nobody has seen before.
func (w *world) shownEverywhere(ctx context.Context) error {
	newest := w.viewers.newest()
	return w.until(ctx, "show every host to every viewer", storedPatience, func() bool {
		return w.viewers.every(func(_, agent int, shown shownHost) bool { return shown.up && shown.tick > newest[agent] })
	})
}

// partings cuts the link between two servers, and heals it, kills servers and moves agents, also while the link is cut.
func partings(share float64) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		w.watch()
		parted := 0
		for goal := w.options.kills(share); w.faults < goal || parted == 0; {
			err := w.progress(ctx, 1+w.random.IntN(40))
			if err == nil {
				switch dice := w.random.IntN(10); {
				case dice < 2:
					w.cross()
				case dice < 5:
					err = w.killOneOfTwo(ctx)
				default:
					parted++
					err = w.part(ctx)
				}
			}
			if err == nil {
				err = w.shownEverywhere(ctx)
			}
			if err != nil {
				return fmt.Errorf("after %d faults: %w", w.faults, err)
			}
		}
		return nil
	}
}

// part cuts the link between the servers for a while, in which the hosts of the other one must not be up, and heals it.
func (w *world) part(ctx context.Context) error {
	w.spread() // so that each has some
	if err := w.shownEverywhere(ctx); err != nil {
		return err
	}
	w.parted = true
	w.faults++
	for _, s := range w.servers {
		s.link.point("")
	}
	err := w.until(ctx, "tell viewers that the other server's hosts are not known of", storedPatience, func() bool {
		return w.viewers.every(func(server, agent int, shown shownHost) bool { return shown.up == (agent%len(w.servers) == server) })
	})
	for range w.random.IntN(3) {
		if err != nil {
			break
		}
		if w.random.IntN(3) == 0 {
			err = w.killOneOfTwo(ctx)
		} else {
			w.cross()
			err = w.progress(ctx, 10*len(w.relays))
		}
	}
	if w.random.IntN(2) == 0 { // long enough for a viewer who is shown something old
		pause(ctx, freshFor+time.Second)
	}
	w.parted = false
	for _, s := range w.servers {
		s.link.point(s.nats)
	}
	return err
}

// openLinks makes the ways by which each server finds the others, and its viewers find it.
func (w *world) openLinks() error {
	for _, s := range w.servers {
		for _, way := range []**relay{&s.link, &s.entry} {
			opened, err := openRelay("", tap{})
			if err != nil {
				return err
			}
			*way = opened
		}
	}
	return nil
}

// linked is what a server that is about to start is told of the others. Its NATS is in its process.
func (w *world) linked(s *server) (environment []string, err error) {
	if s.link == nil {
		return nil, nil
	}
	if s.nats, err = rig.FreeAddress(); err != nil {
		return nil, err
	}
	var peers []string
	for _, other := range w.servers {
		if other != s {
			peers = append(peers, other.link.address())
		}
	}
	s.entry.point(s.grpc)
	if !w.parted {
		s.link.point(s.nats)
	}
	return []string{"GOHUB_CLUSTER_LISTEN=" + s.nats, "GOHUB_CLUSTER_PEERS=" + strings.Join(peers, ",")}, nil
}

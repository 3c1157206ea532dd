package chaos

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gohub-io/gohub/bench/oracle"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// freshFor is how long a host may be shown as up after somebody saw something newer of it. A server needs 3 s to notice that another
// is not heard any more, and 5 s for an agent that has gone without a word; the rest is for a machine that has much to do.
const freshFor = 10 * time.Second

// viewers watch the fleet at every server, and hold what each is shown against what any of them was: whoever is shown a host as up
// must be shown the newest of it.
type viewers struct {
	plan   *oracle.Plan
	agents map[string]int // by id
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu  sync.Mutex // guards all below
	all []*viewer
	// seen has of each agent the ticks that were shown by anyone, in order, and when that was first.
	seen [][]seenTick
	// behind is the longest that a host was up while something newer of it was known, and wrong the first rule that was broken.
	behind time.Duration
	wrong  error
}

type seenTick struct {
	tick int
	at   time.Time
}

// viewer watches one server, whatever process that is.
type viewer struct {
	server *server
	// shown is by agent, and nil without a connection.
	shown []shownHost
}

type shownHost struct {
	up, known bool
	tick      int
}

// watch has a viewer at each server until close.
func (w *world) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	v := &viewers{plan: &w.plan, agents: map[string]int{}, cancel: cancel, seen: make([][]seenTick, len(w.relays))}
	for i := range w.relays {
		v.agents[w.plan.AgentID(i)] = i
	}
	for _, s := range w.servers {
		v.all = append(v.all, &viewer{server: s})
	}
	for _, one := range v.all {
		v.group.Go(func() { v.follow(ctx, one) }) // ends with ctx, which close ends
	}
	v.group.Go(func() {
		for pause(ctx, 50*time.Millisecond) {
			v.judge(time.Now())
		}
	})
	w.viewers = v
}

// close ends all viewers and returns what was wrong with what they were shown.
func (v *viewers) close() error {
	v.cancel()
	v.group.Wait()
	return v.wrong
}

func (v *viewers) follow(ctx context.Context, one *viewer) {
	for {
		_ = v.followOnce(ctx, one) // the server ended, or is not there yet
		v.mu.Lock()
		one.shown = nil
		v.mu.Unlock()
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

func (v *viewers) followOnce(ctx context.Context, one *viewer) error {
	connection, err := grpc.NewClient(one.server.entry.address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	fleet := &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{Fleet: &gohubv1.FleetTopic{Metrics: []string{"load1"}}}}
	stream, err := gohubv1.NewLiveServiceClient(connection).Watch(ctx, fleet)
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		hosts := message.GetDelta().GetHosts()
		if snapshot := message.GetSnapshot(); snapshot != nil {
			hosts = snapshot.GetHosts()
		}
		v.mu.Lock()
		for _, host := range hosts {
			v.show(one, host, time.Now())
		}
		v.mu.Unlock()
	}
}

// show takes what a viewer was told of a host. It is called with mu held.
func (v *viewers) show(one *viewer, host *gohubv1.Host, now time.Time) {
	agent, known := v.agents[host.GetAgentId()]
	if !known || host.GetLatest().GetTime() == nil {
		return // the probe
	}
	if one.shown == nil {
		one.shown = make([]shownHost, len(v.seen))
	}
	tick := int((host.GetLatest().GetTime().AsTime().UnixMilli() - v.plan.Base) / v.plan.Step)
	before := one.shown[agent]
	if before.known && tick < before.tick {
		v.breaks(fmt.Errorf("agent %d went back from tick %d to %d before the eyes of a viewer", agent, before.tick, tick))
	}
	one.shown[agent] = shownHost{up: host.GetStatus() == gohubv1.HostStatus_HOST_STATUS_UP, known: true, tick: tick}
	if last := len(v.seen[agent]); last == 0 || v.seen[agent][last-1].tick < tick {
		v.seen[agent] = append(v.seen[agent], seenTick{tick, now})
	}
}

// judge looks whether a host is shown as up with what is old.
func (v *viewers) judge(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for number, one := range v.all {
		for agent, shown := range one.shown {
			if !shown.up {
				continue
			}
			seen := v.seen[agent]
			newer := sort.Search(len(seen), func(i int) bool { return seen[i].tick > shown.tick })
			if newer == len(seen) {
				continue
			}
			behind := now.Sub(seen[newer].at)
			v.behind = max(v.behind, behind)
			if behind > freshFor {
				v.breaks(fmt.Errorf("agent %d is up with tick %d at server %d, though tick %d was seen %s ago", agent, shown.tick, number, seen[newer].tick, behind))
			}
		}
	}
}

func (v *viewers) longestBehind() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.behind
}

func (v *viewers) breaks(rule error) {
	if v.wrong == nil {
		v.wrong = rule
	}
}

// newest are the newest ticks that anyone was shown, by agent.
func (v *viewers) newest() []int {
	v.mu.Lock()
	defer v.mu.Unlock()
	newest := make([]int, len(v.seen))
	for agent, seen := range v.seen {
		if len(seen) > 0 {
			newest[agent] = seen[len(seen)-1].tick
		}
	}
	return newest
}

// every tells whether that holds for every host at every viewer.
func (v *viewers) every(holds func(server, agent int, shown shownHost) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for server, one := range v.all {
		if one.shown == nil {
			return false
		}
		for agent, shown := range one.shown {
			if !holds(server, agent, shown) {
				return false
			}
		}
	}
	return true
}

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// The ways of a broadcaster: the server's hub, and what it is held against.
const (
	wayHub = "hub"
	// wayPlain marshals a delta once with encoding/json, and writes it to one viewer after the other.
	wayPlain = "plain"
	// wayPlainEach marshals for each viewer, as a loop over a library's WriteJSON does.
	wayPlainEach = "plain-each"
	// wayBare writes finished frames in as many loops as there are processors.
	wayBare = "bare"
)

// BroadcasterOptions are those of a broadcaster in a process of its own.
type BroadcasterOptions struct {
	Options
	Way string
	// FrameBytes is how long the frames of wayBare are, headers included.
	FrameBytes int
}

// broadcasterStatus is what a broadcaster prints: first its address, then at each line that it reads.
type broadcasterStatus struct {
	Address string `json:"address,omitempty"`
	// Mallocs are the allocations since the start, without those of asking how far the hub is.
	Mallocs float64 `json:"mallocs"`
}

// RunBroadcaster serves viewers at /, and from the first line of the input on sends deltas of one host each, as fast as it can, until
// the input ends.
func RunBroadcaster(ctx context.Context, o BroadcasterOptions, input io.Reader, output io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := newBroadcaster(o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for viewers: %w", err)
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	server := &http.Server{Handler: b.handler(), ReadHeaderTimeout: 10 * time.Second}
	tasks.Go(func() { _ = server.Serve(listener) }) // it ends with Close
	defer server.Close()
	if b.hub != nil {
		tasks.Go(func() { _ = b.hub.Run(ctx) }) // returns nil the first time
	}
	defer b.closeAll()
	defer cancel()
	encoder := json.NewEncoder(output)
	if err := encoder.Encode(broadcasterStatus{Address: listener.Addr().String()}); err != nil {
		return fmt.Errorf("print the address: %w", err)
	}
	started := false
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		if !started {
			started = true
			tasks.Go(func() { b.send(ctx) })
		}
		if err := encoder.Encode(broadcasterStatus{Mallocs: b.mallocs()}); err != nil {
			return fmt.Errorf("print the status: %w", err)
		}
	}
	return lines.Err()
}

// broadcaster has a state of some hosts and sends its changes.
type broadcaster struct {
	options BroadcasterOptions
	state   *live.State
	samples []*catalogue.Sample
	// tick is the number of deltas sent.
	tick int

	hub      *live.Hub
	messages prometheus.Counter // of the hub
	// askAllocations is what one look at messages allocates, asked how often there was one.
	askAllocations float64
	mu             sync.Mutex // guards those below
	asked          float64
	sockets        []net.Conn
}

func newBroadcaster(o BroadcasterOptions) (*broadcaster, error) {
	b := &broadcaster{options: o, state: live.NewState(nil)}
	shape := fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks)
	for i := range o.Hosts {
		host := fleet.NewHost(shape, 1, i, 1000)
		var hello, request gohubv1.StreamRequest
		if err := errors.Join(proto.Unmarshal(host.Hello(1), &hello), proto.Unmarshal(host.AppendBatch(nil, 1, 1, time.Now().UnixMilli()), &request)); err != nil {
			return nil, fmt.Errorf("decode a simulated host: %w", err)
		}
		sample, err := catalogue.FromProto(request.GetBatch().GetSamples()[0])
		if err != nil {
			return nil, fmt.Errorf("decode a simulated sample: %w", err)
		}
		b.samples = append(b.samples, sample)
		b.state.SetHost(storage.Host{ID: storage.HostID(i + 1), AgentID: uuid.UUID(host.ID()), Facts: hello.GetHello().GetFacts(), FirstSeen: time.Now()})
		b.state.Observe(storage.HostID(i+1), sample, time.Now())
	}
	switch o.Way {
	case wayHub:
		caught := &catcher{name: "gohub_live_messages_total"}
		b.hub = live.NewHub(b.state, live.HubOptions{
			PushInterval: time.Nanosecond, SweepInterval: time.Hour, MaxViewers: 1 << 20, Logger: slog.New(slog.DiscardHandler), Registerer: caught,
		})
		if caught.counter == nil {
			return nil, fmt.Errorf("the hub has no %s", caught.name)
		}
		b.messages = caught.counter
		b.askAllocations = testing.AllocsPerRun(1000, func() { b.written() })
		b.asked = 0
	case wayPlain, wayPlainEach, wayBare:
	default:
		return nil, fmt.Errorf("unknown way %q to broadcast", o.Way)
	}
	return b, nil
}

// catcher is a Registerer that keeps one counter.
type catcher struct {
	name    string
	counter prometheus.Counter
}

// Register implements prometheus.Registerer.
func (c *catcher) Register(collector prometheus.Collector) error {
	if counter, is := collector.(prometheus.Counter); is && strings.Contains(counter.Desc().String(), `"`+c.name+`"`) {
		c.counter = counter
	}
	return nil
}

// MustRegister implements prometheus.Registerer.
func (c *catcher) MustRegister(collectors ...prometheus.Collector) {
	for _, one := range collectors {
		_ = c.Register(one)
	}
}

// Unregister implements prometheus.Registerer.
func (c *catcher) Unregister(prometheus.Collector) bool { return false }

// written is how many messages the hub has written.
func (b *broadcaster) written() int64 {
	var metric dto.Metric
	if err := b.messages.Write(&metric); err != nil {
		panic(err) // a counter can always be read
	}
	b.mu.Lock()
	b.asked++
	b.mu.Unlock()
	return int64(metric.GetCounter().GetValue())
}

func (b *broadcaster) mallocs() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(stats.Mallocs) - b.asked*b.askAllocations
}

// observe changes the next host.
func (b *broadcaster) observe() (host int) {
	host = b.tick % len(b.samples)
	b.tick++
	sample := b.samples[host]
	sample.TimeUnixMillis = max(sample.TimeUnixMillis+1, time.Now().UnixMilli())
	b.state.Observe(storage.HostID(host+1), sample, time.Now())
	return host
}

// send sends until ctx ends.
func (b *broadcaster) send(ctx context.Context) {
	switch b.options.Way {
	case wayHub:
		b.drive(ctx)
	case wayBare:
		b.loop(ctx)
	default:
		for seq := uint32(1); ctx.Err() == nil; seq++ {
			b.sendPlain(b.observe(), seq)
		}
	}
}

const (
	// askFor is a tenth of what writing to a viewer takes: looking how far the hub is must not cost much, nor be late.
	askFor = time.Microsecond
	// stalled is when a change is taken to have gone along with another.
	stalled = time.Second
)

// drive changes a host whenever the first viewer has got the change before: each change is a delta of its own, and the hub is
// never idle.
func (b *broadcaster) drive(ctx context.Context) {
	sleep(ctx, 100*time.Millisecond) // the last snapshots are being counted
	viewers, start := int64(b.options.Viewers), b.written()
	pause := askFor * time.Duration(viewers)
	for ctx.Err() == nil {
		b.observe()
		for since := time.Now(); b.written()-start <= viewers*int64(b.tick-1) && time.Since(since) < stalled && ctx.Err() == nil; {
			time.Sleep(pause)
		}
	}
}

// handler takes viewers.
func (b *broadcaster) handler() http.Handler {
	if b.hub != nil {
		return b.hub
	}
	return http.HandlerFunc(b.take)
}

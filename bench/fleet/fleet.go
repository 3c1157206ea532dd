package fleet

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// errEOF is how gRPC says that the server has ended the stream.
var errEOF = io.EOF

// Options of a Fleet. Zero values stand for the defaults.
type Options struct {
	// Server is the address of the server's gRPC.
	Server string
	// TLS is how to connect; nil for plain text.
	TLS *tls.Config
	// Agents is their number; default 1.
	Agents int
	// Connections carry the agents' streams. 0 gives each agent its own, as real ones have.
	Connections int
	// Shape says what a sample holds; default the host family in full.
	Shape *Shape
	// Seed tells fleets apart: another seed makes other machines.
	Seed uint64
	// Interval is the time between a host's samples; default 10 s.
	Interval time.Duration
	// Samples is how many go into a message; default 1.
	Samples int
	// Window is how many messages an agent sends ahead of the acknowledgements; default 16.
	Window int
	// Ticks makes the fleet flat out: every agent sends that many samples from Begin on, as fast as it is let. With 0
	// the fleet is live: samples are taken by the clock until Stop, the agents' turns spread over the interval.
	Ticks int
	Begin time.Time
	// FirstPause and LongestPause bound the back-off between streams; default as the agent's, 500 ms and 30 s.
	FirstPause, LongestPause time.Duration
	// OnAck, if set, is called for every acknowledged message with the time of its newest sample. It must be quick.
	OnAck func(agent int, taken time.Time)
}

func (o Options) live() bool { return o.Ticks == 0 }

func (o Options) timeOf(tick int) int64 {
	return o.Begin.Add(time.Duration(tick) * o.Interval).UnixMilli()
}

// Stats are counts since the fleet was made.
type Stats struct {
	// Connected agents have had their welcome.
	Connected int
	// Taken samples are encoded, Acked are acknowledged.
	Taken, Acked int64
	// Batches were acknowledged, by Acks messages.
	Batches, Acks int64
	// Resent batches went out again after a broken stream, Breaks is the number of those.
	Resent, Breaks int64
	// Backlogs carried several batches each, Previews showed a sample before its turn.
	Backlogs, Previews int64
}

// Fleet is a number of simulated agents.
type Fleet struct {
	options  Options
	agents   []*agent
	hostIDs  []atomic.Uint32
	prepared [][][]byte
	shared   []*grpc.ClientConn
	// compressor makes backlogs.
	compressor *zstd.Encoder

	started chan struct{}
	start   sync.Once
	stopped atomic.Bool

	connected                                      atomic.Int64
	takenSamples, ackedSamples, ackedBatches, acks atomic.Int64
	resent, breaks, backlogs, previews             atomic.Int64
	round, again                                   atomic.Int64
	lastError                                      atomic.Pointer[error]
}

// New makes a fleet that does nothing yet.
func New(options Options) *Fleet {
	options.Agents = cmp.Or(options.Agents, 1)
	options.Interval = cmp.Or(options.Interval, 10*time.Second)
	options.Samples = cmp.Or(options.Samples, 1)
	options.Window = cmp.Or(options.Window, 16)
	options.FirstPause = cmp.Or(options.FirstPause, 500*time.Millisecond)
	options.LongestPause = cmp.Or(options.LongestPause, 30*time.Second)
	if options.Shape == nil {
		options.Shape = NewShape(0, 0, 0, 0)
	}
	f := &Fleet{options: options, hostIDs: make([]atomic.Uint32, options.Agents), started: make(chan struct{}), compressor: newCompressor()}
	// A simulated agent keeps its spool for as long as the fleet runs; those of the next one begin anew, on the same server too.
	epoch := uint64(time.Now().UnixMilli())
	for i := range options.Agents {
		host := NewHost(options.Shape, options.Seed, i, uint32(options.Interval.Milliseconds()))
		f.agents = append(f.agents, &agent{fleet: f, number: i, epoch: epoch, hello: host.Hello(epoch), host: host, wake: make(chan struct{}, 1), fresh: make(chan []byte, 1)})
	}
	return f
}

// Prepare encodes all that a flat-out fleet will send, so that the generator costs little while it runs.
func (f *Fleet) Prepare(ctx context.Context) error {
	prepared := make([][][]byte, len(f.agents))
	for i, a := range f.agents {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// One piece of memory a host, cut up at the end: the garbage collector has less to look at.
		var all []byte
		var ends []int
		for first := 0; first < f.options.Ticks; first += f.options.Samples {
			all = a.encode(all, uint64(len(ends)+1), first, min(f.options.Samples, f.options.Ticks-first))
			ends = append(ends, len(all))
		}
		prepared[i] = make([][]byte, len(ends))
		begin := 0
		for j, end := range ends {
			prepared[i][j] = all[begin:end:end]
			begin = end
		}
	}
	f.prepared = prepared
	return nil
}

// Hello is an agent's first message, and Prepared are those after it: of each the encoding, which must not be changed.
func (f *Fleet) Hello(agent int) []byte { return f.agents[agent].hello }

// Prepared is documented with Hello. It is empty before Prepare.
func (f *Fleet) Prepared(agent int) [][]byte { return f.prepared[agent] }

// Start lets the agents send, once they are connected.
func (f *Fleet) Start() { f.start.Do(func() { close(f.started) }) }

// Stop ends the taking of samples; Run returns when what was taken is acknowledged.
func (f *Fleet) Stop() {
	f.stopped.Store(true)
	for _, a := range f.agents {
		a.ring()
	}
}

// Run connects the agents and streams. It returns when all is acknowledged, or with an error when ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	for range f.options.Connections {
		connection, err := f.dial(32 << 10)
		if err != nil {
			return err
		}
		defer connection.Close()
		f.shared = append(f.shared, connection)
	}
	var group sync.WaitGroup
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.options.live() {
		group.Go(func() { f.clock(running) })
	}
	for _, a := range f.agents {
		group.Go(func() { a.run(running) })
	}
	group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("%d of %d samples are acknowledged: %w", f.ackedSamples.Load(), f.takenSamples.Load(), ctx.Err())
	}
	return nil
}

// clock has the agents take their samples, one after the other over each interval, until Stop.
func (f *Fleet) clock(ctx context.Context) {
	select {
	case <-f.started:
	case <-ctx.Done():
		return
	}
	begin := time.Now()
	for tick := 0; ; tick++ {
		for i, a := range f.agents {
			due := begin.Add(time.Duration(tick)*f.options.Interval + f.options.Interval*time.Duration(i)/time.Duration(len(f.agents)))
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return
				}
			}
			if f.stopped.Load() {
				return
			}
			a.take(time.Now())
		}
	}
}

func (f *Fleet) dial(buffer int) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if f.options.TLS != nil {
		transport = credentials.NewTLS(f.options.TLS)
	}
	connection, err := grpc.NewClient("passthrough:///"+f.options.Server,
		grpc.WithTransportCredentials(transport), grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer), grpc.WithStaticStreamWindowSize(64<<10), // as the agent
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithUserAgent("gohub-bench"),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 20 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("prepare a connection: %w", err)
	}
	return connection, nil
}

// connection returns the one that carries an agent's stream, and what to do after the stream.
func (f *Fleet) connection(agent int) (*grpc.ClientConn, func(), error) {
	if len(f.shared) > 0 {
		return f.shared[agent%len(f.shared)], func() {}, nil
	}
	connection, err := f.dial(4 << 10)
	if err != nil {
		return nil, nil, err
	}
	return connection, func() { _ = connection.Close() }, nil // its error says only that it was closed before
}

// Stats returns the counts.
func (f *Fleet) Stats() Stats {
	return Stats{
		Connected: int(f.connected.Load()), Taken: f.takenSamples.Load(), Acked: f.ackedSamples.Load(),
		Batches: f.ackedBatches.Load(), Acks: f.acks.Load(), Resent: f.resent.Load(), Breaks: f.breaks.Load(),
		Backlogs: f.backlogs.Load(), Previews: f.previews.Load(),
	}
}

// Oldest is when the oldest sample that is not acknowledged was taken, zero if all are.
func (f *Fleet) Oldest() (oldest time.Time) {
	for _, a := range f.agents {
		a.mu.Lock()
		if len(a.queue) > 0 && (oldest.IsZero() || a.queue[0].taken.Before(oldest)) {
			oldest = a.queue[0].taken
		}
		a.mu.Unlock()
	}
	return oldest
}

// LastError tells why a stream broke last.
func (f *Fleet) LastError() error {
	if err := f.lastError.Load(); err != nil {
		return *err
	}
	return nil
}

// Mark begins a round for Again. Call it while no server runs.
func (f *Fleet) Mark() {
	f.again.Store(0)
	f.round.Add(1)
}

// Again is the number of agents that had an acknowledgement on a stream that was welcomed since the last Mark.
func (f *Fleet) Again() int { return int(f.again.Load()) }

// HostIDs are the ids that the server gave the agents, 0 for one that it has not met.
func (f *Fleet) HostIDs() []uint32 {
	ids := make([]uint32, len(f.hostIDs))
	for i := range f.hostIDs {
		ids[i] = f.hostIDs[i].Load()
	}
	return ids
}

// Sums are what must be stored of each agent, by its UUID. Call it when Run has returned.
func (f *Fleet) Sums() map[string]Sum {
	sums := make(map[string]Sum, len(f.agents))
	for _, a := range f.agents {
		sums[a.host.ID().String()] = a.host.Sum
	}
	return sums
}

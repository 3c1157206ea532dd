// Package ingest takes the agents' streams: it validates batches, hands them over rings to flushers, and acknowledges
// them once the sink has stored them for good. It knows no SQL. In the data's path it stands between the agents'
// gRPC streams and storage, and lets live see every sample as it comes.
package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Observer sees what agents send when it comes, before it is stored.
type Observer interface {
	// SetHost is called when an agent connects.
	SetHost(host storage.Host)
	// Observe is called with every valid sample.
	Observe(host storage.HostID, sample *catalogue.Sample, receivedAt time.Time)
}

// Options of a Server. Zero values stand for the defaults.
type Options struct {
	Sink     Sink
	Observer Observer
	// Shards is the number of rings and flushers; default GOMAXPROCS.
	Shards int
	// RingSlots is how many batches a ring holds; default 16,384.
	RingSlots int
	// BufferBytes bounds what all batches take on their way to storage; default 64 MiB. An agent may have a sixteenth.
	BufferBytes int64
	// FlushRows is the most that a flush takes; default 20,000.
	FlushRows int
	// FlushAge is how long the first batch of a flush waits for others, when there are few; default 200 ms.
	FlushAge time.Duration
	// MaxFuture is how far ahead of the server's clock a sample may be; default 10 minutes.
	MaxFuture time.Duration
	// Newest is when the samples of most hosts end that are stored at the start, zero if there are none. See clock.
	Newest time.Time
	// MaxAge is how old a sample may be; default 7 days.
	MaxAge time.Duration
	// FastClock is called where samples stay with their agents as the server's clock seems to be fast. It must not block.
	FastClock func()
	// HelloTimeout is how long a new stream may be silent; default 10 s.
	HelloTimeout time.Duration
	// Version is told to agents.
	Version    string
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Server is the ingest service. NewServer starts its flushers; Register has agents reach it; Close ends them.
//
//	stream ──▶ session.receive ──▶ shard.ring ──▶ flusher ──▶ Sink
//	       ◀── session.voice   ◀──────── ack ───────┘
type Server struct {
	// Its Preview is not used: see Register.
	gohubv1.UnimplementedIngestServiceServer
	options Options
	shards  []*shard
	budget  budget
	metrics *metrics
	log     *slog.Logger

	registrar    *registrar
	clock        *clock
	decompressor *zstd.Decoder
	// backlogs holds a token for every stream that has a backlog decompressed.
	backlogs chan struct{}
	// previews holds a token for every preview that is read or decoded.
	previews chan struct{}

	// stopping ends first: no batch is taken any more. giveUp ends the flushers' work on what is left.
	stopping context.Context
	stop     context.CancelFunc
	giveUp   context.CancelFunc
	flushers sync.WaitGroup // and the registrar
	helpers  *helpers

	mu sync.Mutex
	// sessions holds the one stream of each agent that may write.
	sessions map[uuid.UUID]*session
	// drained says that the flushers are done: streams are to end.
	drained bool
}

// NewServer starts a server's flushers.
func NewServer(options Options) *Server {
	options.Shards = cmp.Or(options.Shards, runtime.GOMAXPROCS(0))
	options.RingSlots = cmp.Or(options.RingSlots, 16_384)
	options.BufferBytes = cmp.Or(options.BufferBytes, 64<<20)
	options.FlushRows = cmp.Or(options.FlushRows, 20_000)
	options.FlushAge = cmp.Or(options.FlushAge, 200*time.Millisecond)
	options.MaxFuture = cmp.Or(options.MaxFuture, 10*time.Minute)
	options.MaxAge = cmp.Or(options.MaxAge, 7*24*time.Hour)
	if options.FastClock == nil {
		options.FastClock = func() {}
	}
	options.HelloTimeout = cmp.Or(options.HelloTimeout, 10*time.Second)
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Server{options: options, log: options.Logger, helpers: newHelpers(), sessions: map[uuid.UUID]*session{}}
	s.budget.limit = options.BufferBytes
	s.backlogs = make(chan struct{}, maxBacklogs)
	s.previews = make(chan struct{}, maxPreviews)
	s.registrar = newRegistrar(options.Sink)
	s.clock = newClock(&options)
	decompressor, err := newDecompressor()
	if err != nil {
		panic(err) // its options are constants
	}
	s.decompressor = decompressor
	for range options.Shards {
		s.shards = append(s.shards, newShard(options.RingSlots))
	}
	s.metrics = newMetrics(options.Registerer, s.shards, &s.budget, s.clock)
	s.stopping, s.stop = context.WithCancel(context.Background())
	give, giveUp := context.WithCancel(context.Background())
	s.giveUp = giveUp
	for i, one := range s.shards {
		f := &flusher{
			shard: one, sink: options.Sink, gathering: newGathering(options.FlushRows, options.RingSlots, options.FlushAge), budget: &s.budget,
			metrics: s.metrics, isolated: map[storage.HostID]struct{}{}, log: s.log.With("shard", i),
		}
		s.flushers.Go(func() { f.run(s.stopping, give) })
	}
	s.flushers.Go(func() { s.registrar.run(s.stopping) })
	return s
}

// Close takes no more batches, stores and acknowledges those that it has, and ends all streams. When ctx ends before
// that is done, what is left stays unacknowledged. It may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		s.flushers.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.giveUp()
		<-done
	}
	s.giveUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = true
	for _, one := range s.sessions {
		one.end(errStopping)
	}
	return err
}

// Ready returns why samples can not be stored at the moment, nil if they can.
func (s *Server) Ready(context.Context) error {
	for i, one := range s.shards {
		if err := one.failing.Load(); err != nil {
			return fmt.Errorf("shard %d: %w", i, *err)
		}
	}
	return nil
}

// Wait returns when no goroutine of the server is left. Call it once, after Close and after the gRPC server has stopped.
func (s *Server) Wait() {
	s.helpers.wait()
	s.decompressor.Close()
}

// Stream implements the contract's IngestService. The gRPC server must use Codec and Credentials.
func (s *Server) Stream(stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]) error {
	one, err := s.open(stream)
	if err != nil {
		return err
	}
	defer s.forget(one)
	err = one.receive()
	if cause := one.close(); cause != nil {
		return cause
	}
	return err
}

// replace makes the session the one stream of its agent, and ends the one before. It tells whether there are two machines: an epoch
// that had to go comes back while the one that took its place streams, so both are alive.
func (s *Server) replace(one *session) (cloned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.sessions[one.agent]; before != nil {
		one.displaced = before.displaced
		if before.epoch != one.epoch {
			cloned = before.displaced == one.epoch
			one.displaced = before.epoch
			s.metrics.clones.Inc()
			one.log().Warn("a stream with another epoch takes the place of a running one: the agent was restarted at once, or this is a copy of a machine", "epoch", one.epoch, "replaced_epoch", before.epoch)
		}
		before.end(errReplaced)
	} else {
		s.metrics.streams.Inc()
	}
	s.sessions[one.agent] = one
	if s.drained {
		one.end(errStopping)
	}
	return cloned
}

func (s *Server) forget(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[one.agent] == one {
		delete(s.sessions, one.agent)
		s.metrics.streams.Dec()
	}
}

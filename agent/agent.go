package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
)

// Bounds and defaults of Options.
const (
	DefaultInterval = 10 * time.Second
	MinInterval     = time.Second
	MaxInterval     = time.Hour

	DefaultTopProcesses = 10
	MaxTopProcesses     = 100

	// Processes are half of what an ordinary machine has to store, and change little in what they tell from one sample to the next.
	DefaultProcessInterval = 30 * time.Second
	MaxProcessInterval     = 2 * time.Minute

	// DefaultBufferBytes holds about four hours of samples of an ordinary machine at the default interval.
	DefaultBufferBytes = 4 << 20
	MinBufferBytes     = 64 << 10

	DefaultDrainTimeout = 5 * time.Second
)

// Options configure an Agent.
type Options struct {
	// Server is the address of the server's ingest, host:port.
	Server string
	// TLS is how the server is trusted (see ClientTLS); nil sends everything, the token too, in plaintext.
	TLS *tls.Config
	// Token returns the agent's credential; it is asked at every connect, so that a changed file is noticed. An empty
	// token sends none.
	Token func() (string, error)
	// AgentID is the UUID from LoadIdentity.
	AgentID string
	// Interval is from sample to sample, MinInterval to MaxInterval in whole milliseconds.
	Interval time.Duration
	// Sampling says what is measured.
	Sampling SamplerOptions
	// CustomSocket is where a unix socket is made, to which programs send custom metrics; empty for none.
	CustomSocket string
	// Spool keeps the samples until the server has stored them. Run closes it. If it is nil, they are kept in memory.
	Spool Spool
	// BufferBytes bounds the samples that are kept in memory, if there is no Spool.
	BufferBytes int64
	// DrainTimeout bounds how long Run, once told to stop, goes on sending what is held.
	DrainTimeout time.Duration
	// Labels that the machine has on the server; see package label for what they may be.
	Labels map[string]string
	// Version is the agent's own, told to the server.
	Version string
	Logger  *slog.Logger

	clock       clock
	dialOptions []grpc.DialOption
}

// Agent samples the machine and streams the samples to a server.
type Agent struct {
	options Options
	log     *slog.Logger
	sampler *Sampler
	spool   Spool
	client  *client
	stopped chan struct{} // closed by Run when no more samples are taken
}

// New returns an Agent that has not started yet. It fails on options that cannot work.
func New(o Options) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.clock == nil {
		o.clock = systemClock{}
	}
	if o.Token == nil {
		o.Token = func() (string, error) { return "", nil }
	}
	if o.Server == "" || o.AgentID == "" {
		return nil, errors.New("agent needs a server and an agent id")
	}
	if o.Interval < MinInterval || o.Interval > MaxInterval || o.Interval%time.Millisecond != 0 {
		return nil, fmt.Errorf("interval %s is not from %s to %s in whole milliseconds", o.Interval, MinInterval, MaxInterval)
	}
	if err := label.Check(o.Labels); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	spool := o.Spool
	if spool == nil {
		memory, err := NewMemorySpool(MemorySpoolOptions{AgentID: o.AgentID, MaxBytes: o.BufferBytes, Logger: o.Logger, Now: o.clock.Now})
		if err != nil {
			return nil, err
		}
		spool = memory
	}
	o.Sampling.Logger = o.Logger
	if o.CustomSocket != "" {
		o.Sampling.pushed = newPushedSeries(o.clock.Now, pushedAge(o.Interval), customSeriesOf(o.Sampling))
	}
	a := &Agent{
		options: o,
		log:     o.Logger,
		sampler: NewSampler(o.Sampling),
		spool:   spool,
		stopped: make(chan struct{}),
	}
	facts := newMachine(o.Sampling)
	a.client = &client{
		server: o.Server,
		tls:    o.TLS,
		token:  o.Token,
		hello: func(ctx context.Context, epoch uint64) *gohubv1.Hello {
			f := readFacts(ctx, facts)
			f.AgentVersion = o.Version
			f.Labels = o.Labels
			f.IntervalMillis = uint32(o.Interval.Milliseconds())
			return &gohubv1.Hello{AgentId: o.AgentID, Epoch: epoch, Facts: f}
		},
		agentID:     o.AgentID,
		now:         o.clock.Now,
		fresh:       make(chan struct{}, 1),
		spool:       spool,
		log:         o.Logger,
		dialOptions: o.dialOptions,
		window:      sendWindow,
		backoff:     backoff{base: 500 * time.Millisecond, ceiling: 20 * time.Second, floor: 100 * time.Millisecond},
		slowRetry:   slowRetry,
		healthy:     healthyAfter,
		stopping:    a.stopped,
		complaints:  complaints{log: o.Logger, server: o.Server, now: time.Now},
	}
	return a, nil
}

// Stats is what an agent has kept and lost.
type Stats struct {
	Spool SpoolStats
	// RefusedBatches were given up because the server would not take them. They are among Spool.Dropped.
	RefusedBatches uint64
}

// Stats may be called at any time.
func (a *Agent) Stats() Stats {
	return Stats{Spool: a.spool.Stats(), RefusedBatches: a.client.refused.Load()}
}

// Run samples and streams until the context ends. Then it takes no more samples, goes on sending what is held for up to
// DrainTimeout, and returns. It fails at once if it can not make the socket for custom metrics. It may be called once.
func (a *Agent) Run(ctx context.Context) error {
	a.log.Info("agent starts", "agent_id", a.options.AgentID, "server", a.options.Server, "tls", a.options.TLS != nil,
		"interval", a.options.Interval, "version", a.options.Version)

	if a.options.CustomSocket != "" {
		socket, err := listenCustom(a.options.CustomSocket, a.options.Sampling.pushed, socketPatience, a.log)
		if err != nil {
			return errors.Join(err, a.spool.Close())
		}
		defer socket.close()
	}

	streaming, stopStreaming := context.WithCancel(context.WithoutCancel(ctx))
	defer stopStreaming()
	var streams sync.WaitGroup
	streams.Go(func() { a.client.run(streaming) }) // ends when drained, or with the context streaming; waited for below

	a.sampler.Sample(a.options.clock.Now()) // the readings that the first sample's rates are computed from
	s := schedule{interval: a.options.Interval, log: a.log}
	memory := newFootprint(a.options.Interval)
	s.every(ctx, a.options.clock, func(date time.Time) {
		sample := a.sampler.Sample(date)
		seq, err := a.spool.Append(sample)
		if err != nil {
			a.log.Error("keep sample", "time", date, "error", err)
			return
		}
		a.client.took(seq, sample)
		if err := memory.sampled(); err != nil {
			a.log.Debug("the program stays mapped", "error", err)
		}
	})

	a.sampler.Close()

	held := a.spool.Stats().Batches
	a.log.Info("agent stops: no more samples", "held_batches", held, "patience", a.options.DrainTimeout)
	close(a.stopped)
	patience := time.AfterFunc(a.options.DrainTimeout, stopStreaming)
	defer patience.Stop()
	streams.Wait()
	if stats := a.spool.Stats(); stats.Batches > 0 && stats.Durable {
		a.log.Info("agent stopped; what the server has not stored is on disk and sent after the next start", "held_batches", stats.Batches)
	} else if stats.Batches > 0 {
		a.log.Warn("agent stopped before the server had stored everything", "lost_batches", stats.Batches)
	} else {
		a.log.Info("agent stopped; the server has stored everything that was held")
	}
	return a.spool.Close()
}

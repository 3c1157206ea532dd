package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/agent"
	"github.com/gohub-io/gohub/bench/oracle"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// AgentCommand is the first argument of a process that is to run RunAgents; the second is its configuration.
const AgentCommand = "chaos-agent"

// producerConfig tells an agent process what to do.
type producerConfig struct {
	Plan oracle.Plan
	// Servers are the addresses of the agents' servers, First the number of the first agent.
	Servers []string
	First   int
	// Journal is a file, Directory where the spools are.
	Journal, Directory string
	// Every is the time between an agent's batches, Samples how many ticks each has, Ticks where an agent ends by itself (0 for never).
	Every          time.Duration
	Samples, Ticks int
	// Interval is what agents say that there is from sample to sample; 0 for the longest there is.
	Interval time.Duration
	// SpoolBytes and MemoryBytes bound each spool.
	SpoolBytes, MemoryBytes int64
	// Patience is how long an agent may have something to send without any of it being stored, before its client begins
	// anew with a short back-off. 0 leaves it its own, which grows to half a minute.
	Patience time.Duration
}

// producerStatus is what the process says, a line each time.
type producerStatus struct {
	// Taken ticks, Acked batches and Resent batches are of this process, Held batches are of all spools.
	Taken, Acked, Resent, Dropped uint64
	Held                          int
	// Ended says that no more is taken.
	Ended bool
	// Failure is why the process ends badly.
	Failure string
}

// statusEvery is how often it is said: often enough for kills that go by progress.
const statusEvery = 20 * time.Millisecond

// RunAgents is an agent process: agents with the client and the spool of the real one, whose samples are those of a plan.
// It takes samples until stdin says so by a line, and runs until stdin ends.
func RunAgents(ctx context.Context, configuration string, stdin io.Reader, stdout io.Writer) error {
	var config producerConfig
	if err := json.Unmarshal([]byte(configuration), &config); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ledger := &oracle.Ledger{}
	sent, err := readJournal(config.Journal, ledger)
	if err != nil {
		return err
	}
	p := &producerProcess{config: config, stop: make(chan struct{})}
	if p.journal, err = openJournal(config.Journal); err != nil {
		return err
	}
	for i, server := range config.Servers {
		number := config.First + i
		one := &producer{process: p, number: number, server: server, next: ledger.Next(number), highest: sent[number]}
		if err := one.open(); err != nil {
			return err
		}
		p.producers = append(p.producers, one)
	}
	var group sync.WaitGroup
	for _, one := range p.producers {
		group.Go(func() { one.stream(ctx) }) // ends with ctx
	}
	group.Go(func() { // ends with stdin, or, as nothing reads what it says any more, with the parent
		defer cancel()
		lines := bufio.NewScanner(stdin)
		if lines.Scan() {
			close(p.stop)
			for lines.Scan() {
			}
		}
	})
	err = p.run(ctx, stdout)
	cancel()
	if err != nil { // stdin may stay open: the parent waits for this process
		return err
	}
	group.Wait()
	for _, one := range p.producers {
		if err := one.Spool.Close(); err != nil {
			return fmt.Errorf("close the spool of agent %d: %w", one.number, err)
		}
	}
	return nil
}

// producerProcess is the state of RunAgents.
type producerProcess struct {
	config    producerConfig
	journal   *journal
	producers []*producer
	stop      chan struct{} // closed by the reader of stdin

	taken, acked, resent atomic.Uint64
}

// run takes samples and tells the status until ctx ends.
func (p *producerProcess) run(ctx context.Context, stdout io.Writer) error {
	take, tell := time.NewTicker(p.config.Every), time.NewTicker(statusEvery)
	defer take.Stop()
	defer tell.Stop()
	encoder := json.NewEncoder(stdout)
	stop, ended := p.stop, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stop:
			stop, ended = nil, true
			take.Stop()
		case <-take.C:
			if ended {
				continue
			}
			ended = true
			for _, one := range p.producers {
				if p.config.Ticks > 0 && one.next >= p.config.Ticks {
					continue
				}
				ended = false
				if err := one.take(p.config.Samples); err != nil {
					return err
				}
			}
		case <-tell.C:
			if err := encoder.Encode(p.status(ended)); err != nil {
				return fmt.Errorf("tell the status: %w", err)
			}
		}
	}
}

func (p *producerProcess) status(ended bool) producerStatus {
	status := producerStatus{Taken: p.taken.Load(), Acked: p.acked.Load(), Resent: p.resent.Load(), Ended: ended}
	for _, one := range p.producers {
		stats := one.Stats()
		status.Held += stats.Batches
		status.Dropped += stats.Dropped
	}
	return status
}

// producer is one agent. It is a Spool for the agent's client, and takes samples of its own into the spool beneath.
type producer struct {
	agent.Spool
	process *producerProcess
	number  int
	server  string
	next    int // tick; owned by the process's run

	mu      sync.Mutex
	highest uint64 // batch that was ever given to a stream
	trimmed uint64
	acks    uint64
}

func (p *producer) open() (err error) {
	config := &p.process.config
	p.Spool, err = agent.OpenDiskSpool(agent.DiskSpoolOptions{
		AgentID: config.Plan.AgentID(p.number), Directory: filepath.Join(config.Directory, fmt.Sprintf("agent-%d", p.number)),
		MaxBytes: config.SpoolBytes, MemoryBytes: config.MemoryBytes, SyncEvery: time.Second, Logger: quiet(),
	})
	if err != nil {
		return fmt.Errorf("open the spool of agent %d: %w", p.number, err)
	}
	return nil
}

// quiet logs errors and nothing below: faults make many warnings.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// take appends the next ticks as one batch.
func (p *producer) take(count int) error {
	first := p.next
	p.next += count
	samples := make([]*gohubv1.Sample, count)
	for i := range samples {
		samples[i] = p.process.config.Plan.Sample(p.number, first+i)
	}
	if err := p.process.journal.write(journalBegin, p.number, count, uint32(first)); err != nil {
		return err
	}
	kind := byte(journalDone)
	if _, err := p.Spool.Append(samples...); err != nil {
		kind = journalFailed
	}
	p.process.taken.Add(uint64(count))
	return p.process.journal.write(kind, p.number, count, uint32(first))
}

// Append implements agent.Spool for the agent, whose real samples are not kept.
func (p *producer) Append(...*gohubv1.Sample) (uint64, error) { return 0, nil }

// Close implements agent.Spool for an agent that ends: another one goes on with the spool.
func (p *producer) Close() error { return nil }

// Next implements agent.Spool, and counts what is sent again.
func (p *producer) Next(after uint64) (*gohubv1.Batch, error) {
	batch, err := p.Spool.Next(after)
	if err != nil || batch == nil {
		return batch, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if batch.GetSeq() <= p.highest {
		p.process.resent.Add(1)
		return batch, nil
	}
	p.highest = batch.GetSeq()
	return batch, p.process.journal.write(journalSent, p.number, 0, uint32(p.highest))
}

// Resume implements agent.Spool, and counts what the welcome says is stored.
func (p *producer) Resume(committed uint64, checksum uint32) error {
	p.count(committed)
	return p.Spool.Resume(committed, checksum)
}

// Trim implements agent.Spool, and counts what was acknowledged.
func (p *producer) Trim(through uint64) error {
	p.count(through)
	return p.Spool.Trim(through)
}

func (p *producer) count(stored uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stored > p.trimmed {
		if p.acks > 0 { // the first word is of what earlier processes sent, too
			p.process.acked.Add(stored - p.trimmed)
		}
		p.trimmed = stored
		p.acks++
	}
}

// stream keeps an agent running until ctx ends, and begins anew when it gets nowhere for too long.
func (p *producer) stream(ctx context.Context) {
	for ctx.Err() == nil {
		p.streamOnce(ctx)
	}
}

func (p *producer) streamOnce(ctx context.Context) {
	config := &p.process.config
	interval := config.Interval
	if interval == 0 {
		interval = agent.MaxInterval
	}
	one, err := agent.New(agent.Options{
		Server: p.server, AgentID: config.Plan.AgentID(p.number), Interval: interval, Spool: p,
		// The machine's real values do not matter here: there is nothing to read.
		Sampling:     agent.SamplerOptions{ProcDir: config.Directory, SysDir: config.Directory, RootDir: config.Directory, Logger: discard},
		DrainTimeout: time.Millisecond, Logger: discard,
	})
	if err != nil { // it was made from constants
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() { // ends with ctx; waited for below
		defer close(ended)
		_ = one.Run(ctx) // its error is that of Close
	}()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	acks, since := p.progress(), time.Now()
	for {
		select {
		case <-ended:
			return
		case <-look.C:
		}
		if now := p.progress(); now != acks || p.Stats().Batches == 0 {
			acks, since = now, time.Now()
		}
		if config.Patience > 0 && time.Since(since) > config.Patience {
			cancel()
		}
	}
}

func (p *producer) progress() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acks
}

var discard = slog.New(slog.DiscardHandler)

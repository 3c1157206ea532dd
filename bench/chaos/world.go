package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/bench/oracle"
)

// world is what a scenario runs: agents in a process of their own, servers, a database, and relays between them.
//
//	agent 0 ─ relay ─┐
//	agent 1 ─ relay ─┼─▶ server 0 ─ relay ─▶ database
//	  …              └─▶ server 1 ─ relay ──────▲
//
// In some, server 0 and server 1 find each other by relays too, and viewers watch both.
//
// Its methods are for the scenario's goroutine.
type world struct {
	options *Options
	// directory of everything that is left in files.
	directory string
	random    *rand.Rand
	plan      oracle.Plan
	store     *store
	servers   []*server
	relays    []*relay // of the agents
	traps     traps    // at those
	config    producerConfig
	agents    *producers
	mounted   bool // the spools have a file system of their own
	viewers   *viewers
	parted    bool // the servers can not reach each other

	faults, kills int            // kills are of processes, and among the faults
	past          producerStatus // what ended agent processes did
}

// producers is a running agent process.
type producers struct {
	*process
	stdin  io.WriteCloser
	status atomic.Pointer[producerStatus]
	read   chan struct{} // closed when all that it said is read
}

// The patience of waits: far above what is usual, so that only what never comes is called missing.
const (
	readyPatience   = time.Minute
	storedPatience  = time.Minute
	drainedPatience = 2 * time.Minute
	stopPatience    = 40 * time.Second
)

// startAgents runs the agent process, on the journal and the spools of the one before.
func (w *world) startAgents() error {
	agents, err := w.launchAgents(w.config)
	w.agents = agents
	return err
}

func (w *world) launchAgents(config producerConfig) (*producers, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("write the agents' configuration: %w", err)
	}
	p := &producers{read: make(chan struct{})}
	command := exec.Command(w.options.AgentBinary, AgentCommand, string(text))
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.directory}
	if p.stdin, err = command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	// A pipe of our own: StdoutPipe's would be closed by Wait before all is read.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	p.status.Store(&producerStatus{})
	p.process, err = startProcess("the agents", command, writer)
	writer.Close()
	if err != nil {
		reader.Close()
		return nil, err
	}
	go func() { // ends with the process; who kills or stops it waits for read
		defer close(p.read)
		defer reader.Close()
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			status := &producerStatus{}
			if json.Unmarshal(lines.Bytes(), status) == nil { // the last line may be torn
				p.status.Store(status)
			}
		}
	}()
	return p, nil
}

// killAgents kills the agent process at once.
func (w *world) killAgents() {
	w.agents.kill()
	w.faults++
	w.kills++
	w.agentsEnded()
}

func (w *world) agentsEnded() {
	<-w.agents.read
	status := w.agents.status.Load()
	w.past.Acked += status.Acked
	w.past.Resent += status.Resent
	w.past.Taken += status.Taken
	w.agents.status.Store(&producerStatus{})
}

// acked is how many batches were acknowledged so far.
func (w *world) acked() uint64 { return w.past.Acked + w.agents.status.Load().Acked }

// until waits for a condition. It fails when that takes too long, or a process ends that must not.
func (w *world) until(ctx context.Context, what string, patience time.Duration, condition func() bool) error {
	deadline := time.Now().Add(patience)
	for !condition() {
		select {
		case <-w.agents.ended:
			return fmt.Errorf("the agents ended by themselves: %w; they said:\n%s", w.agents.err, w.agents.log)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s; %+v; servers said:\n%s", what, patience, *w.agents.status.Load(), w.serverLogs())
		}
		if !pause(ctx, 5*time.Millisecond) {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
	return nil
}

func (w *world) serverLogs() string {
	var logs []string
	for _, s := range w.servers {
		if s.process != nil {
			logs = append(logs, s.process.log.String())
		}
	}
	return strings.Join(logs, "\n--\n")
}

// progress waits until so many more batches are acknowledged.
func (w *world) progress(ctx context.Context, batches int) error {
	goal := w.acked() + uint64(batches)
	return w.until(ctx, fmt.Sprintf("store %d more batches", batches), storedPatience, func() bool { return w.acked() >= goal })
}

// moment waits for a random time up to most, so that what follows comes at any point of a flush.
func (w *world) moment(ctx context.Context, most time.Duration) {
	pause(ctx, time.Duration(w.random.Int64N(int64(most))))
}

// drain has the agents end, and waits until everything they have is stored.
func (w *world) drain(ctx context.Context) error {
	if _, err := io.WriteString(w.agents.stdin, "stop\n"); err != nil {
		return fmt.Errorf("stop the agents: %w; they said:\n%s", err, w.agents.log)
	}
	err := w.until(ctx, "store everything after the faults", drainedPatience, func() bool {
		status := w.agents.status.Load()
		return status.Ended && status.Held == 0
	})
	if err != nil {
		return err
	}
	return w.endAgents()
}

// endAgents stops the agent process in good order.
func (w *world) endAgents() error {
	if err := w.agents.stdin.Close(); err != nil {
		return fmt.Errorf("stop the agents: %w", err)
	}
	err := w.agents.wait(stopPatience)
	w.agentsEnded()
	return err
}

// probe has a new agent send a few samples to each server: all must still be well.
func (w *world) probe(ctx context.Context, ledger *oracle.Ledger) error {
	const ticks, patience = 6, 30 * time.Second
	config := w.config
	config.First, config.Ticks, config.Samples = probeAgent, ticks, 1
	config.Servers = nil
	for _, s := range w.servers {
		config.Servers = append(config.Servers, s.grpc)
	}
	config.Directory, config.Journal = filepath.Join(w.directory, "probe"), filepath.Join(w.directory, "probe.journal")
	agents, err := w.launchAgents(config)
	if err != nil {
		return err
	}
	defer agents.kill()
	w.agents = agents
	err = w.until(ctx, "store a fresh probe", patience, func() bool {
		status := agents.status.Load()
		return status.Ended && status.Held == 0
	})
	if err == nil {
		err = w.endAgents()
	}
	if err != nil {
		return err
	}
	_, err = readJournal(config.Journal, ledger)
	return err
}

// probeAgent is the number of the first agent of the probe, above those of all others.
const probeAgent = 200

// finish ends the faults' time: all must be stored, a fresh agent must be served, the servers must stop in good order, and
// the oracle reads what is there.
func (w *world) finish(ctx context.Context) (*oracle.Report, error) {
	if err := w.drain(ctx); err != nil {
		return nil, err
	}
	if w.viewers != nil {
		if err := w.viewers.close(); err != nil {
			return nil, err
		}
	}
	ledger := &oracle.Ledger{}
	if _, err := readJournal(w.config.Journal, ledger); err != nil {
		return nil, err
	}
	if err := w.probe(ctx, ledger); err != nil {
		return nil, err
	}
	var failures []error
	for _, s := range w.servers {
		s.note(ctx)
		failures = append(failures, s.process.stop(stopPatience))
	}
	check := oracle.NewCheck(&w.plan, ledger)
	if err := w.store.read(ctx, check); err != nil {
		return nil, errors.Join(append(failures, err)...)
	}
	return check.Report(), errors.Join(failures...)
}

// close ends what still runs, and removes what was made.
func (w *world) close() error {
	if w.viewers != nil {
		_ = w.viewers.close() // finish tells, if it came so far
	}
	if w.agents != nil {
		w.agents.kill()
		<-w.agents.read
	}
	for _, s := range w.servers {
		if s.process != nil {
			s.process.kill()
		}
		for _, way := range []*relay{s.database, s.link, s.entry} {
			if way != nil {
				way.close()
			}
		}
	}
	for _, relay := range w.relays {
		relay.close()
	}
	failure := w.unmount()
	if w.store == nil {
		return failure
	}
	return errors.Join(failure, w.store.remove())
}

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/rig"
)

// agentsProcess is a fleet in a process of its own, so that its memory is neither the server's nor ours.
type agentsProcess struct {
	input io.WriteCloser
	log   *rig.Tail
	kill  func()
	// ended is closed when the process has, with err saying how.
	ended chan struct{}
	err   error

	mu     sync.Mutex
	latest AgentsStatus
	acks   []float64
}

// mostStatusBytes bounds a line of the agents: the last one tells the sums of all.
const mostStatusBytes = 64 << 20

// startAgents runs this program as agents, each with a connection of its own. stop it in any case.
func (o *Options) startAgents(ctx context.Context, server string, args ...string) (*agentsProcess, error) {
	executable, err := o.program()
	if err != nil {
		return nil, err
	}
	args = append([]string{"agents", "--server", server, "--hosts", strconv.Itoa(o.Hosts), "--streams-per-connection", "1"}, args...)
	command := exec.CommandContext(ctx, executable, args...)
	p := &agentsProcess{log: &rig.Tail{}, ended: make(chan struct{}), kill: func() {
		_ = command.Process.Kill() // it may have ended already
	}}
	command.Stderr, command.SysProcAttr = p.log, ownGroup()
	if p.input, err = command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	go func() { // stop waits for it
		defer close(p.ended)
		p.read(output, o.say)
		p.err = command.Wait()
	}()
	return p, nil
}

// read takes what the agents tell until they end.
func (p *agentsProcess) read(output io.Reader, say func(string, ...any)) {
	said := ""
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, mostStatusBytes)
	for scanner.Scan() {
		var status AgentsStatus
		if json.Unmarshal(scanner.Bytes(), &status) != nil {
			continue
		}
		p.mu.Lock()
		if len(p.acks) < mostLatencies {
			p.acks = append(p.acks, status.AckMillis...)
		}
		status.AckMillis = nil
		p.latest = status
		p.mu.Unlock()
		if status.Error != said {
			said = status.Error
			say("agents: %s", said)
		}
	}
}

// status is the newest that the agents told.
func (p *agentsProcess) status() AgentsStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// ackMillis returns how long acknowledgements took since it was called last.
func (p *agentsProcess) ackMillis() []float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	acks := p.acks
	p.acks = nil
	return acks
}

// connect waits until all agents are connected.
func (p *agentsProcess) connect(ctx context.Context, want int) error {
	for p.status().Connected < want {
		select {
		case <-p.ended:
			return fmt.Errorf("the agents ended (%w); they said:\n%s", p.err, p.log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// drain has the agents take no more samples, waits until all are acknowledged, and returns what must be stored.
func (p *agentsProcess) drain(ctx context.Context) (map[string]fleet.Sum, error) {
	if _, err := io.WriteString(p.input, drainLine+"\n"); err != nil {
		return nil, fmt.Errorf("drain the agents: %w; they said:\n%s", err, p.log)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * time.Minute):
		status := p.status()
		return nil, fmt.Errorf("2 minutes after the last sample %d of %d are not acknowledged: %s", status.Taken-status.Acked, status.Taken, status.Error)
	}
	sums := p.status().Sums
	if p.err != nil || sums == nil {
		return nil, fmt.Errorf("the agents ended without their sums (%w); they said:\n%s", p.err, p.log)
	}
	return sums, nil
}

// stop ends the agents, if they have not ended.
func (p *agentsProcess) stop() error {
	p.input.Close() // the agents end with it
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("the agents ended badly: %w; they said:\n%s", p.err, p.log)
		}
		return nil
	case <-time.After(time.Minute):
		p.kill()
		<-p.ended
		return errors.New("the agents did not stop")
	}
}

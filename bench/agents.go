package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

// AgentsOptions are those of a fleet in a process of its own.
type AgentsOptions struct {
	Options
	// Server is the address of a running server's gRPC; CAFile a certificate to trust, empty for plain text.
	Server, CAFile string
	// Idle agents connect, and send nothing.
	Idle bool
	// AckTimes has every status tell how long the acknowledgements took.
	AckTimes bool
}

// AgentsStatus is what such a fleet prints every second, as a line of JSON.
type AgentsStatus struct {
	fleet.Stats
	Error string `json:",omitempty"`
	// AckMillis are of the batches that were acknowledged since the last status: from taken until then.
	AckMillis []float64 `json:",omitempty"`
	// Sums are what must be stored, in the last status of a fleet that has drained.
	Sums map[string]fleet.Sum `json:",omitempty"`
}

// drainLine has a fleet take no more samples, and end when all are acknowledged.
const drainLine = "drain"

// RunAgents runs a fleet against a server until ctx or the input ends, or a line comes from it.
func RunAgents(ctx context.Context, o AgentsOptions, input io.Reader, output io.Writer) error {
	if o.Server == "" {
		return errors.New("--server is missing: the address of a running server's gRPC")
	}
	if err := measure.RaiseFileLimit(); err != nil {
		return err
	}
	var trust *tls.Config
	if o.CAFile != "" {
		var err error
		if trust, err = TrustOnly(o.CAFile); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var acks latencies
	var onAck func(int, time.Time)
	if o.AckTimes {
		onAck = func(_ int, taken time.Time) { acks.add(time.Since(taken)) }
	}
	agents := fleet.New(fleet.Options{
		Server: o.Server, TLS: trust, Agents: max(o.Hosts, 1), Connections: o.connections(o.Hosts), Interval: max(o.Interval, time.Second), Seed: 1,
		Window: o.Window, Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks), OnAck: onAck,
	})
	go func() { // ends with the process: a read of standard input can not be cancelled
		scanner := bufio.NewScanner(input)
		for scanner.Scan() && scanner.Text() == drainLine {
			agents.Stop()
		}
		cancel()
	}()
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(ctx) }()
	if !o.Idle {
		agents.Start()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	encoder := json.NewEncoder(output)
	status := func() AgentsStatus {
		one := AgentsStatus{Stats: agents.Stats(), AckMillis: acks.empty()}
		if err := agents.LastError(); err != nil {
			one.Error = err.Error()
		}
		return one
	}
	for {
		select {
		case <-ticker.C:
			if err := encoder.Encode(status()); err != nil {
				cancel()
				return errors.Join(fmt.Errorf("print the status: %w", err), <-finished)
			}
		case err := <-finished:
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			last := status()
			last.Sums = agents.Sums()
			if err := encoder.Encode(last); err != nil {
				return fmt.Errorf("print the last status: %w", err)
			}
			return nil
		}
	}
}

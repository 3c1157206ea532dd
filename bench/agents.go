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
}

// AgentsStatus is what such a fleet prints every second, as a line of JSON.
type AgentsStatus struct {
	fleet.Stats
	Error string `json:",omitempty"`
}

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
	agents := fleet.New(fleet.Options{
		Server: o.Server, TLS: trust, Agents: max(o.Hosts, 1), Connections: o.connections(o.Hosts), Interval: max(o.Interval, time.Second), Seed: 1,
		Window: o.Window, Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
	})
	go func() { // ends with the process: a read of standard input can not be cancelled
		bufio.NewScanner(input).Scan()
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
	for {
		select {
		case <-ticker.C:
			status := AgentsStatus{Stats: agents.Stats()}
			if err := agents.LastError(); err != nil {
				status.Error = err.Error()
			}
			if err := encoder.Encode(status); err != nil {
				cancel()
				return errors.Join(fmt.Errorf("print the status: %w", err), <-finished)
			}
		case err := <-finished:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

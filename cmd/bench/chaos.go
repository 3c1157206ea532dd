package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/gohub-io/gohub/bench/chaos"
	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/bench/rig"
)

// chaosSettings are the flags that only chaos has.
type chaosSettings struct {
	options chaos.Options
}

// chaos breaks things, against a cluster of its own unless a database was named.
func (s *settings) chaos(ctx context.Context, stdout, stderr io.Writer) (err error) {
	o := s.faults.options
	o.Progress, o.ServerBinary, o.DatabaseURL, o.SQLite = stderr, s.options.ServerBinary, s.options.DatabaseURL, s.sqlite
	if s.options.Only != "" {
		o.Only = append(o.Only, s.options.Only)
	}
	if o.Seed == 0 {
		o.Seed = uint64(rand.Uint32())
	}
	if o.AgentBinary, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program, which the agents run too: %w", err)
	}
	if o.ServerBinary, err = filepath.Abs(o.ServerBinary); err != nil {
		return err
	}
	if o.DatabaseURL == "" && !o.SQLite {
		o.Cluster, err = rig.StartCluster(ctx, filepath.Join("deploy", "timescaledb", "provide"), s.options.ClusterPort)
		if err != nil {
			return fmt.Errorf("%w; run it from the top of the repository, or give --database-url or --sqlite", err)
		}
		defer func() { err = errors.Join(err, o.Cluster.Remove()) }()
	}
	fmt.Fprintf(stdout, "gohub-bench chaos --seed %d\n", o.Seed)
	report, err := chaos.Run(ctx, o)
	err = errors.Join(err, report.Print(stdout))
	if s.jsonFile != "" {
		err = errors.Join(err, measure.WriteJSON(s.jsonFile, []*measure.Report{report}))
	}
	return err
}

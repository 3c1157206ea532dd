// Package bench measures GoHub: it starts a server against a fresh database, has a simulated fleet stream to it, checks
// what was stored, and holds the figures against the targets. Everything happens on 127.0.0.1, and what was started is
// stopped and removed.
package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
)

// Options of a run. What a mode has no use for it ignores.
type Options struct {
	// ServerBinary is the gohub-server to measure.
	ServerBinary string
	// AgentsBinary is gohub-bench, for agents and broadcasters in processes of their own; default this program.
	AgentsBinary string
	// ServerEnvironment adds settings to the server, as GOHUB_FLUSH_ROWS=50000.
	ServerEnvironment []string
	// DatabaseURL names a TimescaleDB server on which databases may be created; "sqlite" measures SQLite instead.
	DatabaseURL string
	// ClusterScript provides a TimescaleDB cluster that outage may kill, on ClusterPort.
	ClusterScript string
	ClusterPort   int

	// Hosts is the number of simulated agents, Ticks how many samples each sends where a mode is flat out.
	Hosts, Ticks int
	// Columns is how many values a host row has, 0 for all of the family.
	Columns int
	// Cores, Disks and Networks are further rows of each sample.
	Cores, Disks, Networks int
	// Samples go into a message where a mode is batched.
	Samples int
	// StreamsPerConnection is how many agents share a connection where a mode is flat out; 0 or 1 gives each its own.
	// The server bounds it.
	StreamsPerConnection int
	// Window is how many messages an agent sends ahead of the acknowledgements.
	Window int
	// Interval is the time between a host's samples.
	Interval time.Duration
	// Pairs is how often GoHub and COPY take turns.
	Pairs int
	// CopyConnections and CopyRows are those of the raw COPY: how many connections, and rows a transaction.
	CopyConnections, CopyRows int
	// Checkpoints are asked for while each side of a pair runs.
	Checkpoints int
	// Only limits ingest to one of its workloads: batched, single, values.
	Only string
	// Viewers is how many watch, Topic what they ask for.
	Viewers int
	Topic   string
	// Duration is how long a mode that goes by the clock measures.
	Duration time.Duration
	// From is the directory of an export.
	From string
	// Query is for that mode.
	Query QueryOptions
	// Settle is how long idle waits before it reads memory.
	Settle time.Duration
	// Limit ends a run that takes too long.
	Limit time.Duration

	// Progress takes a line from time to time, Output the server's log when it fails.
	Progress io.Writer
}

// modes are the runs that there are, by name.
var modes = map[string]func(context.Context, *Options, *measure.Report) error{
	"ingest":    runIngest,
	"socket":    runSocket,
	"idle":      runIdle,
	"storm":     runStorm,
	"latency":   runLatency,
	"outage":    runOutage,
	"soak":      runSoak,
	"live":      runLive,
	"cluster":   runCluster,
	"broadcast": runBroadcast,
	"scrape":    runScrape,
	"recent":    runRecent,
	"query":     runQuery,
	"layout":    runLayout,
	"disk":      runDisk,
}

// Modes returns the names of the modes.
func Modes() []string { return slices.Sorted(maps.Keys(modes)) }

// Run runs a mode. The report holds what was measured even where an error ended it.
func Run(ctx context.Context, mode string, options Options) (*measure.Report, error) {
	run, known := modes[mode]
	if !known {
		return nil, fmt.Errorf("unknown mode %q; there are %s", mode, strings.Join(Modes(), ", "))
	}
	if options.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, options.Limit)
		defer cancel()
	}
	report := &measure.Report{Mode: mode, Environment: map[string]string{
		"go": runtime.Version(), "cpus": fmt.Sprint(runtime.NumCPU()), "kernel": kernel(), "time": time.Now().UTC().Format(time.RFC3339),
		"load at start": loadAverage(),
	}}
	if err := measure.RaiseFileLimit(); err != nil {
		return report, err
	}
	if err := run(ctx, &options, report); err != nil {
		return report, fmt.Errorf("%s: %w", mode, err)
	}
	return report, nil
}

func kernel() string {
	content, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(content))
}

func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(content))[:3], " ")
}

// progress writes what show returns every second until the returned function is called.
func (o *Options) progress(show func() string) (stop func()) {
	if o.Progress == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				o.say("%s", show())
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
	}
}

// sleep waits, and is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

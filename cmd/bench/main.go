// Command gohub-bench measures a GoHub server with a simulated fleet, and holds the figures against the targets.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/gohub-io/gohub/bench"
	"github.com/gohub-io/gohub/bench/chaos"
	"github.com/gohub-io/gohub/bench/measure"
)

const usage = `gohub-bench starts a server against fresh databases on this machine, streams to it, and prints what it measured.

Usage:
  gohub-bench ingest  [flags]   durable rows a second, against raw COPY (and VictoriaMetrics, if it is installed)
  gohub-bench socket  [flags]   CPU of the server a row, from its message to the database's socket
  gohub-bench idle    [flags]   memory of the server a connected idle agent
  gohub-bench storm   [flags]   kill the server: time until every agent streams again, and nothing lost or doubled
  gohub-bench latency [flags]   sample taken until it is stored, and until it is on a viewer's WebSocket
  gohub-bench outage  [flags]   take the database away: what waits, the server's memory, and how soon all is stored and live
  gohub-bench soak    [flags]   stream for long: what grows in the server
  gohub-bench query   [flags]   questions to a filled database, each against plain SQL on the samples
  gohub-bench layout  [flags]   ways to index the samples and to cut them into chunks: storing, size, questions in plain SQL
  gohub-bench live    [flags]   viewers on the live WebSocket: latency, what they cost, and whether ingest notices
  gohub-bench broadcast [flags] live deltas flat out, against a plain broadcaster and a bare write loop
  gohub-bench cluster [flags]   two servers: how soon viewers of the one see the agents of the other
  gohub-bench scrape  [flags]   /metrics/hosts of a streaming fleet, against client_golang with the same series
  gohub-bench recent  [flags]   one host's last hour, and the newest values of all, by REST and gRPC
  gohub-bench all     [flags]   ingest, socket, idle, storm and latency
  gohub-bench disk    [flags]   bytes a value of an export's samples, compressed by the Community edition
  gohub-bench agents  [flags]   only a fleet, against a server that runs
  gohub-bench chaos   [flags]   kill, freeze and cut off servers, agents and database; is every sample stored once?

Several modes may be named, but for the last three.

`

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

type settings struct {
	options bench.Options
	agents  bench.AgentsOptions
	// broadcaster is one that a broadcast run starts.
	broadcaster bench.BroadcasterOptions
	faults      chaosSettings
	jsonFile    string
	sqlite      bool
}

func newFlags(s *settings, output io.Writer) *pflag.FlagSet {
	o := &s.options
	flags := pflag.NewFlagSet("gohub-bench", pflag.ContinueOnError)
	flags.SetOutput(output)
	flags.SortFlags = false
	flags.Usage = func() { fmt.Fprint(output, usage, "Flags:\n", flags.FlagUsages()) }
	flags.StringVar(&o.ServerBinary, "server-binary", ".build/gohub-server", "server to measure")
	flags.StringArrayVar(&o.ServerEnvironment, "server-env", nil, "setting of the server, as GOHUB_FLUSH_ROWS=50000; may be repeated")
	flags.StringVar(&o.DatabaseURL, "database-url", "", "TimescaleDB server to make databases on; default is what deploy/timescaledb/provide starts")
	flags.IntVar(&o.ClusterPort, "cluster-port", 55481, "chaos, outage: port on 127.0.0.1 of the TimescaleDB that it starts, kills and deletes")
	flags.BoolVar(&s.sqlite, "sqlite", false, "measure a server that stores into SQLite")
	flags.StringVar(&s.jsonFile, "json", "", "write everything measured to this file")
	flags.IntVar(&o.Hosts, "hosts", 0, "simulated agents (ingest, layout, outage and disk 1000, idle, storm and soak 5000, live 2000, scrape 5000, recent and query 4000, latency 200, broadcast 20)")
	flags.IntVar(&o.Ticks, "ticks", 600, "ingest: samples of each agent")
	flags.IntVar(&o.Samples, "samples", 10, "ingest: samples a message of the batched workload")
	flags.IntVar(&o.Columns, "columns", 0, "values a host row, 0 for all of the family (query and layout 10, socket and scrape 20)")
	flags.IntVar(&o.Cores, "cores", 0, "CPU core rows a sample (without raw COPY beside it; soak 4)")
	flags.IntVar(&o.Disks, "disks", 0, "disk rows a sample (without raw COPY beside it; soak 2)")
	flags.IntVar(&o.Networks, "networks", 0, "network interface rows a sample (without raw COPY beside it; soak 2)")
	flags.IntVar(&o.StreamsPerConnection, "streams-per-connection", 25, "ingest: agents that share a connection; 1 gives each its own")
	flags.IntVar(&o.Window, "window", 32, "messages that an agent sends ahead of the acknowledgements; gohub-agent sends as many")
	flags.DurationVar(&o.Interval, "interval", 0, "time between an agent's samples (10s; latency, outage and live 1s; query 1m of what it fills)")
	flags.IntVar(&o.Pairs, "pairs", 5, "ingest: turns of GoHub and COPY; broadcast: turns of each side; storm: kills")
	flags.IntVar(&o.CopyConnections, "copy-connections", 2, "ingest: connections of the raw COPY; the server has one a processor")
	flags.IntVar(&o.CopyRows, "copy-rows", 20_000, "ingest: rows a transaction of the raw COPY; the server's flush_rows")
	flags.IntVar(&o.Checkpoints, "checkpoints", 2, "ingest: checkpoints asked for while each side runs")
	flags.StringVar(&o.Only, "only", "", "ingest: one workload of batched, single, values; chaos: one scenario")
	flags.IntVar(&s.faults.options.Kills, "kills", 0, "chaos: faults of the random scenarios in total (400, or 14 of a short run)")
	flags.Uint64Var(&s.faults.options.Seed, "seed", 0, "chaos: seed of everything random, 0 to draw one")
	flags.BoolVar(&s.faults.options.Short, "short", false, "chaos: less of everything, and nothing that takes long")
	flags.IntVar(&o.Viewers, "viewers", 1000, "live and broadcast: viewers of the WebSocket; a fifth as many join them and never read, a tenth as many are scripts; cluster: a tenth of them")
	flags.StringVar(&o.Topic, "topic", `{"fleet":{}}`, "live: what the viewers ask for")
	flags.DurationVar(&o.Duration, "duration", 0, "latency, live and scrape: how long to measure (30s); storm: how long to stream between kills (30s); outage: how long the database is away (10m); soak (15m)")
	flags.DurationVar(&o.Settle, "settle", 150*time.Second, "idle: how long to wait before memory is read; Go's runtime collects the garbage of an idle heap every two minutes only")
	flags.DurationVar(&o.Limit, "limit", 0, "end a mode that takes longer (30m, or twice the duration)")
	flags.IntVar(&o.Query.Hours, "query-hours", 13, "query: hours of samples that every host has")
	flags.IntVar(&o.Query.DeepHosts, "query-deep-hosts", 8, "query: hosts that have more")
	flags.IntVar(&o.Query.DeepDays, "query-deep-days", 90, "query: days of samples that those have")
	flags.DurationVar(&o.Query.DeepInterval, "query-deep-interval", 10*time.Second, "query: time between the samples of those days; an agent's default")
	flags.IntVar(&o.Query.Asks, "query-asks", 20, "query: questions of a kind in each of the rounds, of which there are as many as pairs")
	flags.StringVar(&o.From, "from", "", "disk: directory of an export, as gohub-server export makes it of raw samples")
	flags.StringVar(&s.agents.Server, "server", "", "agents: address of the running server's gRPC")
	flags.StringVar(&s.agents.CAFile, "ca", "", "agents: certificate to trust; without it the connection is plain text")
	flags.BoolVar(&s.agents.Idle, "idle", false, "agents: connect, and send nothing")
	flags.BoolVar(&s.agents.AckTimes, "ack-times", false, "agents: tell how long every acknowledgement took, in milliseconds")
	flags.StringVar(&s.broadcaster.Way, "way", "", "")
	flags.IntVar(&s.broadcaster.FrameBytes, "frame-bytes", 0, "")
	for _, internal := range []string{"way", "frame-bytes"} {
		if err := flags.MarkHidden(internal); err != nil {
			panic(err) // it was defined above
		}
	}
	return flags
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == chaos.AgentCommand { // the agents of a chaos run, for whom nobody types
		if err := chaos.RunAgents(ctx, args[1], os.Stdin, stdout); err != nil {
			fmt.Fprintln(stderr, "gohub-bench:", err)
			return exitFailed
		}
		return 0
	}
	var s settings
	flags := newFlags(&s, stderr)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		fmt.Fprintln(stderr, "gohub-bench:", err)
		return exitUsage
	}
	if flags.NArg() == 0 || flags.NArg() > 1 && slices.ContainsFunc(flags.Args(), func(mode string) bool { return !slices.Contains(bench.Modes(), mode) }) {
		flags.Usage()
		return exitUsage
	}
	// The generator shares the machine with what it measures: let it collect garbage seldom.
	debug.SetGCPercent(400)
	if err := s.execute(ctx, flags.Args(), stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "gohub-bench:", err)
		return exitFailed
	}
	return 0
}

func (s *settings) execute(ctx context.Context, modes []string, stdout, stderr io.Writer) error {
	s.options.Progress = stderr
	mode := modes[0] // of those that are no mode of package bench there is one only
	if mode == "chaos" {
		return s.chaos(ctx, stdout, stderr)
	}
	if mode == "broadcaster" { // of a broadcast run; nobody types it
		s.broadcaster.Options = s.options
		return bench.RunBroadcaster(ctx, s.broadcaster, os.Stdin, stdout)
	}
	if mode == "agents" {
		s.agents.Options = s.options
		return bench.RunAgents(ctx, s.agents, os.Stdin, stdout)
	}
	s.options.ClusterScript = provideScript
	// An outage has a database of its own, and a broadcast has none.
	if s.sqlite || slices.ContainsFunc(modes, func(mode string) bool { return mode != "outage" && mode != "broadcast" }) {
		if err := s.findDatabase(ctx, stderr); err != nil {
			return err
		}
	}
	if mode == "all" {
		modes = []string{"ingest", "socket", "idle", "storm", "latency"}
	}
	var reports []*measure.Report
	var failures []error
	for _, one := range modes {
		report, err := bench.Run(ctx, one, s.optionsOf(one))
		if report != nil {
			reports = append(reports, report)
			failures = append(failures, report.Print(stdout))
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(modes) > 1 {
		failures = append(failures, measure.Targets(reports).Print(stdout))
	}
	if s.jsonFile != "" {
		failures = append(failures, measure.WriteJSON(s.jsonFile, reports))
	}
	return errors.Join(failures...)
}

// optionsOf fills in the defaults that differ between modes.
func (s *settings) optionsOf(mode string) bench.Options {
	o := s.options
	hosts := map[string]int{"ingest": 1000, "socket": 1000, "idle": 5000, "storm": 5000, "latency": 200, "outage": 1000, "soak": 5000, "live": 2000, "cluster": 1000, "broadcast": 20, "scrape": 5000, "recent": 4000, "query": 4000, "layout": 1000, "disk": 1000}
	intervals := map[string]time.Duration{"latency": time.Second, "outage": time.Second, "live": time.Second, "cluster": time.Second, "query": time.Minute}
	durations := map[string]time.Duration{"outage": 10 * time.Minute, "soak": 15 * time.Minute}
	o.Hosts = cmp.Or(o.Hosts, hosts[mode])
	o.Interval = cmp.Or(o.Interval, intervals[mode], 10*time.Second)
	o.Duration = cmp.Or(o.Duration, durations[mode], 30*time.Second)
	if mode == "soak" && o.Cores+o.Disks+o.Networks == 0 {
		o.Cores, o.Disks, o.Networks = 4, 2, 2
	}
	o.Limit = cmp.Or(o.Limit, max(30*time.Minute, 2*o.Duration))
	switch mode {
	case "query", "layout":
		o.Columns = cmp.Or(o.Columns, 10)
	case "socket", "scrape": // as the rows that the figures of raw COPY were taken with
		o.Columns = cmp.Or(o.Columns, 20)
	case "recent":
		o.Ticks = int(time.Hour / o.Interval)
	}
	return o
}

// provideScript starts databases for development, from the top of the repository.
var provideScript = filepath.Join("deploy", "timescaledb", "provide")

// findDatabase asks the repository's script for a database where none was named.
func (s *settings) findDatabase(ctx context.Context, stderr io.Writer) error {
	if s.sqlite {
		s.options.DatabaseURL = "sqlite"
	}
	if s.options.DatabaseURL != "" {
		return nil
	}
	command := exec.CommandContext(ctx, provideScript, "start")
	command.Stderr = stderr
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("%s start: %w; run it from the top of the repository, or give --database-url or --sqlite", provideScript, err)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	s.options.DatabaseURL = lines[len(lines)-1]
	return nil
}

// Package chaos breaks GoHub in every way it knows and has the oracle look at what is stored: real servers, the real
// agent's client and spool, a real database, each in processes of its own that can be killed, frozen and cut off.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/bench/oracle"
	"github.com/gohub-io/gohub/bench/rig"
)

// Options of a run.
type Options struct {
	// ServerBinary is the gohub-server to test, AgentBinary a program that runs RunAgents for AgentCommand.
	ServerBinary, AgentBinary string
	// DatabaseURL names a TimescaleDB server on which databases may be created. Without one, and without a Cluster, only the
	// scenarios run that store into SQLite or need no database.
	DatabaseURL string
	// Cluster is a TimescaleDB server that may be killed.
	Cluster *rig.Cluster
	// SQLite limits the run to the scenarios that store into SQLite.
	SQLite bool
	// Kills is how many processes and connections the random scenarios end in total; 0 for 400, or 14 of a short run.
	Kills int
	// Seed decides on everything that is random, but for the system's own timing.
	Seed uint64
	// Short leaves out what takes long.
	Short bool
	// Only names scenarios; empty for all.
	Only []string
	// Progress takes a line from time to time.
	Progress io.Writer
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
	}
}

// kills is a scenario's share of them.
func (o *Options) kills(share float64) int {
	total := o.Kills
	if total == 0 {
		total = 400
		if o.Short {
			total = 14
		}
	}
	return max(int(float64(total)*share), 1)
}

// scenario is one way to break things.
type scenario struct {
	name string
	// sqlite says that it stores into SQLite, alone that it stores into nothing.
	sqlite, alone bool
	// cluster says that it can not do without a database that is its own, long that a short run leaves it out.
	cluster, long bool
	// redelivers says that it makes no sense unless something was sent again. A few kills, as of a short run on SQLite where
	// a commit can not be caught, need not come in the right moment.
	redelivers bool
	// tells says that samples may be lost, with a gap that says so.
	tells bool
	// spoolSize, if set, is the size of a file system for the spools alone, as mount takes it.
	spoolSize string
	// linked says that the servers know of each other, as those of a cluster do.
	linked bool
	// servers is how many run; 0 for 1. agents is their number; 0 for 10.
	servers, agents int
	// change sets more of the world before it starts.
	change func(w *world)
	// run makes the faults. When it returns, everything must be running.
	run func(ctx context.Context, w *world) error
	// inspect takes the place of everything else where a scenario is alone.
	inspect func(ctx context.Context, w *world) (*oracle.Report, error)
}

// Outcome is what came of a scenario.
type Outcome struct {
	Name string `json:"name"`
	// Faults are all that was done, Kills the processes among them that were killed.
	Faults int `json:"faults"`
	Kills  int `json:"kills"`
	*oracle.Report
	// Resent counts what agents sent again, Duplicates what servers saw again although it was stored.
	Resent     uint64  `json:"resent"`
	Duplicates float64 `json:"duplicates"`
	// Behind is the longest, in seconds, that a viewer was shown a host as up while somebody had seen something newer of it.
	Behind  float64 `json:"viewers_behind_seconds,omitempty"`
	Seconds float64 `json:"seconds"`
	// Failure is why it failed, if it did.
	Failure string `json:"failure,omitempty"`
}

// Names are those of the scenarios.
func Names() []string {
	var names []string
	for _, one := range scenarios {
		names = append(names, one.name)
	}
	return names
}

// Run runs the scenarios one after the other. The report has all outcomes even where an error says that some failed.
func Run(ctx context.Context, options Options) (*measure.Report, error) {
	report := &measure.Report{Mode: "chaos", Environment: map[string]string{
		"go": runtime.Version(), "cpus": fmt.Sprint(runtime.NumCPU()), "seed": fmt.Sprint(options.Seed), "time": time.Now().UTC().Format(time.RFC3339),
	}}
	for _, name := range options.Only {
		if !slices.Contains(Names(), name) {
			return report, fmt.Errorf("unknown scenario %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	var outcomes []*Outcome
	var failures []error
	for i := range scenarios {
		one := &scenarios[i]
		if why := options.leavesOut(one); why != "" {
			if why != unasked {
				options.say("%s is left out: %s", one.name, why)
			}
			continue
		}
		outcome, err := options.play(ctx, one)
		outcomes = append(outcomes, outcome)
		report.Runs = append(report.Runs, outcome)
		if err != nil {
			err = fmt.Errorf("%s (seed %d): %w", one.name, options.Seed, err)
			outcome.Failure = err.Error()
			failures = append(failures, err)
			options.say("%v", err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	tabulate(report, outcomes)
	if len(outcomes) == 0 {
		failures = append(failures, errors.New("no scenario was run"))
	}
	return report, errors.Join(failures...)
}

const unasked = "it was not asked for"

// leavesOut says why a scenario is not run, or nothing.
func (o *Options) leavesOut(one *scenario) string {
	switch {
	case len(o.Only) > 0 && !slices.Contains(o.Only, one.name), o.SQLite && !one.sqlite:
		return unasked
	case o.Short && one.long && len(o.Only) == 0:
		return "it takes long"
	case !one.sqlite && !one.alone && o.DatabaseURL == "" && o.Cluster == nil:
		return "there is no TimescaleDB"
	case one.cluster && o.Cluster == nil:
		return "the database is not one to kill or freeze"
	case one.spoolSize != "" && !canMount():
		return "it takes root to mount a small file system"
	default:
		return ""
	}
}

// play runs a scenario in a world of its own.
func (o *Options) play(ctx context.Context, one *scenario) (*Outcome, error) {
	o.say("%s begins", one.name)
	begin := time.Now()
	outcome := &Outcome{Name: one.name, Report: &oracle.Report{}}
	w, err := o.newWorld(ctx, one)
	if err == nil {
		var report *oracle.Report
		if report, err = w.play(ctx, one); report != nil {
			outcome.Report = report
		}
		outcome.Faults, outcome.Kills, outcome.Resent = w.faults, w.kills, w.past.Resent
		if w.viewers != nil {
			outcome.Behind = w.viewers.longestBehind().Seconds()
		}
		for _, s := range w.servers {
			outcome.Duplicates += s.past + s.duplicates
		}
	}
	if w != nil {
		err = errors.Join(err, w.close(), os.RemoveAll(w.directory))
	}
	outcome.Seconds = time.Since(begin).Seconds()
	if n := outcome.Violations(); n > 0 {
		err = errors.Join(fmt.Errorf("%d violations: %s", n, outcome.Report), err)
	}
	if outcome.Told > 0 && !one.tells {
		err = errors.Join(fmt.Errorf("%d samples were given up with a gap, though the disk kept them: %s", outcome.Told, outcome.Report), err)
	}
	forced := one.redelivers && (!o.Short || !one.sqlite)
	if err == nil && forced && outcome.Resent == 0 && outcome.Duplicates == 0 {
		err = errors.New("nothing was sent again, so nothing was proved")
	}
	o.say("%s ends: %d faults, %s; %d sent again, %.0f duplicates", one.name, outcome.Faults, outcome.Report, outcome.Resent, outcome.Duplicates)
	return outcome, err
}

func (w *world) play(ctx context.Context, one *scenario) (*oracle.Report, error) {
	if one.alone {
		return one.inspect(ctx, w)
	}
	for i := range w.servers {
		if err := w.startServer(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := w.startAgents(); err != nil {
		return nil, err
	}
	if len(w.servers) > 1 {
		w.spread()
	}
	if err := w.progress(ctx, 1); err != nil {
		return nil, err
	}
	if err := one.run(ctx, w); err != nil {
		return nil, err
	}
	return w.finish(ctx)
}

// newWorld makes a scenario's world, in which nothing runs yet. Close it if it is not nil.
func (o *Options) newWorld(ctx context.Context, one *scenario) (*world, error) {
	directory, err := os.MkdirTemp("", "gohub-chaos-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	w := &world{options: o, directory: directory, random: rand.New(rand.NewPCG(o.Seed, uint64(crc32.ChecksumIEEE([]byte(one.name)))))}
	// Samples lie twelve hours back, so that their times pass a good deal faster than the clock and stay in the past.
	const back, step = 12 * time.Hour, 200 * time.Millisecond
	w.plan = oracle.Plan{Seed: o.Seed, Base: time.Now().Add(-back).Truncate(time.Second).UnixMilli(), Step: step.Milliseconds()}
	data := filepath.Join(directory, "data")
	w.store = &store{directory: data}
	if !one.sqlite && !one.alone {
		admin := o.DatabaseURL
		if o.Cluster != nil {
			admin = o.Cluster.URL()
		}
		if w.store, err = newTimescale(ctx, admin, data); err != nil {
			return w, err
		}
	}
	if err := o.openRelays(w, one); err != nil {
		return w, err
	}
	w.config = producerConfig{
		Journal: filepath.Join(directory, "journal"), Directory: filepath.Join(directory, "spools"),
		Every: 40 * time.Millisecond, Samples: 1, SpoolBytes: 64 << 20, MemoryBytes: 1 << 20, Patience: time.Second,
	}
	if err := os.MkdirAll(w.config.Directory, 0o700); err != nil {
		return w, fmt.Errorf("make a directory: %w", err)
	}
	for _, relay := range w.relays {
		w.config.Servers = append(w.config.Servers, relay.address())
	}
	if one.change != nil {
		one.change(w)
	}
	w.config.Plan = w.plan
	if one.spoolSize != "" {
		return w, w.mountSmall(ctx, one.spoolSize)
	}
	return w, nil
}

func (o *Options) openRelays(w *world, one *scenario) error {
	if one.alone {
		return nil
	}
	for range max(one.servers, 1) {
		s := &server{}
		w.servers = append(w.servers, s)
		if one.sqlite {
			continue
		}
		address, err := w.store.address()
		if err != nil {
			return err
		}
		if s.database, err = openRelay(address, postgresTap(&s.traps)); err != nil {
			return err
		}
	}
	if one.linked {
		if err := w.openLinks(); err != nil {
			return err
		}
	}
	agents := one.agents
	if agents == 0 {
		agents = 10
	}
	for range agents {
		relay, err := openRelay("", grpcTap(&w.traps))
		if err != nil {
			return err
		}
		w.relays = append(w.relays, relay)
	}
	return nil
}

// tabulate adds the outcomes to the report.
func tabulate(report *measure.Report, outcomes []*Outcome) {
	table := measure.Table{
		Title:   "What is stored after faults, against what agents took",
		Columns: []string{"scenario", "faults", "kills", "produced", "stored", "told", "missing", "doubled", "spurious", "corrupt", "redelivered", "duplicates", "seconds", "verdict"},
		Notes: []string{
			"faults are processes killed or frozen, connections cut or held up, agents moved, bytes flipped; kills the first of these alone, each by SIGKILL",
			"produced were taken for certain; stored has also those whose taking a kill cut short; told are lost with a gap that says so",
			"redelivered are batches that agents sent again, duplicates those that servers saw again although they were stored",
		},
	}
	violations, failed, faults := 0, 0, 0
	for _, one := range outcomes {
		verdict := "pass"
		if one.Failure != "" {
			verdict = "FAIL"
			failed++
		}
		if one.Behind > 0 {
			table.Notes = append(table.Notes, fmt.Sprintf("%s: viewers were shown a host as up %.1f s after something newer of it was known, at most (bar %.0f)", one.Name, one.Behind, freshFor.Seconds()))
		}
		violations += one.Violations()
		faults += one.Faults
		cells := []string{one.Name}
		for _, count := range []int{one.Faults, one.Kills, one.Produced, one.Stored, one.Told, one.Missing, one.Doubled, one.Spurious, one.Corrupt} {
			cells = append(cells, fmt.Sprint(count))
		}
		table.Rows = append(table.Rows, append(cells, fmt.Sprint(one.Resent), fmt.Sprint(one.Duplicates), fmt.Sprintf("%.1f", one.Seconds), verdict))
	}
	report.Tables = append(report.Tables, table)
	report.Target("chaos_violations", float64(violations), "<=", 0)
	report.Target("chaos_failed_scenarios", float64(failed), "<=", 0)
	report.Target("chaos_faults", float64(faults), ">=", 1)
}

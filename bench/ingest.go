package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

// workload is the rows that both sides of a comparison store.
type workload struct {
	name                  string
	hosts, ticks, samples int
	shape                 *fleet.Shape
	seed                  uint64
	// begin is the time of the first samples, interval that between a host's.
	begin    time.Time
	interval time.Duration
}

// setTimes has the workload's samples be of about now, as those of agents are: what is older than two minutes comes late, and has to be
// rolled up anew. An agent's interval is a second at least, and ingest takes what is up to ten minutes ahead.
func (w *workload) setTimes(o *Options) {
	const before, ahead = 30 * time.Second, 9 * time.Minute
	w.interval = min(o.Interval, time.Second)
	w.begin = time.Now().Add(min(-before, ahead-time.Duration(w.ticks)*w.interval)).Truncate(time.Second)
}

func (w workload) rows() int64 {
	return int64(w.hosts) * int64(w.ticks) * int64(w.shape.RowsPerSample())
}

// run is one measurement of one side.
type run struct {
	Workload string  `json:"workload"`
	Side     string  `json:"side"`
	Rows     int64   `json:"rows"`
	Seconds  float64 `json:"seconds"`
	// RowsPerSecond is from the first message sent to the last acknowledged, or the last commit.
	RowsPerSecond float64 `json:"rows_per_second"`
	// CPU seconds in the meantime. What could not be read is 0.
	ServerCPU    float64 `json:"server_cpu_seconds"`
	DatabaseCPU  float64 `json:"database_cpu_seconds"`
	GeneratorCPU float64 `json:"generator_cpu_seconds"`
	// Checkpoints finished in the meantime; DebtSeconds is what the one after took: what was left to write.
	Checkpoints int64   `json:"checkpoints"`
	DebtSeconds float64 `json:"debt_seconds"`
	Resent      int64   `json:"resent_batches"`
}

// rowsPerCPUSecond counts the server's and the database's CPU, not the generator's.
func (r run) rowsPerCPUSecond() float64 {
	if r.DatabaseCPU == 0 {
		return math.NaN()
	}
	return float64(r.Rows) / (r.ServerCPU + r.DatabaseCPU)
}

// The sides of the comparison.
const (
	sideGoHub    = "gohub"
	sideCopy     = "copy"
	sideVictoria = "victoriametrics"
)

// most rows a run: all messages of it are in memory before it begins.
const mostRows = 8_000_000

func runIngest(ctx context.Context, o *Options, report *measure.Report) error {
	full := fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks)
	loads := []workload{
		{name: "batched", hosts: o.Hosts, ticks: o.Ticks, samples: o.Samples, shape: full},
		{name: "single", hosts: o.Hosts, ticks: o.Ticks, samples: 1, shape: full},
		// The comparison that others publish: many hosts, ten values a row.
		{name: "values", hosts: 4 * o.Hosts, ticks: max(o.Ticks/4, 1), samples: o.Samples, shape: fleet.NewShape(10, 0, 0, 0)},
	}
	victoria := findVictoria()
	var runs []run
	for _, load := range loads {
		if o.Only != "" && o.Only != load.name {
			continue
		}
		if load.rows() > mostRows {
			return fmt.Errorf("%d rows a run are over the limit of %d; lower hosts or ticks", load.rows(), mostRows)
		}
		for pair := range o.Pairs {
			load.seed = uint64(pair) + 1
			load.setTimes(o)
			sides := []string{sideGoHub}
			if o.DatabaseURL != "sqlite" && load.shape.RowsPerSample() == 1 {
				sides = append(sides, sideCopy)
			}
			if load.name == "values" && victoria != "" {
				sides = append(sides, sideVictoria)
			}
			for _, side := range sides {
				label := fmt.Sprintf("ingest %s, %s, %d of %d", load.name, side, pair+1, o.Pairs)
				one, err := o.measureSide(ctx, side, load, label, victoria, report)
				if err != nil {
					return fmt.Errorf("%s: %w", label, err)
				}
				one.Workload, one.Side, one.Rows = load.name, side, load.rows()
				one.RowsPerSecond = float64(one.Rows) / one.Seconds
				o.say("%s: %s rows/s", label, measure.Number(one.RowsPerSecond))
				runs = append(runs, one)
				report.Runs = append(report.Runs, one)
			}
		}
	}
	o.reportIngest(report, runs, loads)
	return nil
}

func (o *Options) measureSide(ctx context.Context, side string, w workload, label, victoria string, report *measure.Report) (one run, err error) {
	if side == sideVictoria {
		return o.measureVictoria(ctx, w, label, victoria)
	}
	db, err := o.newDatabase(ctx)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return one, err
	}
	if side == sideCopy {
		return o.measureCopy(ctx, db, w, label)
	}
	return o.measureGoHub(ctx, db, w, label)
}

func (o *Options) measureGoHub(ctx context.Context, db *database, w workload, label string) (one run, err error) {
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return one, err
	}
	stopped := false
	defer func() {
		if !stopped {
			s.kill()
		}
	}()
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: w.hosts, Connections: o.connections(w.hosts), Shape: w.shape, Seed: w.seed, Interval: w.interval,
		Samples: w.samples, Window: o.Window, Ticks: w.ticks, Begin: w.begin,
	})
	if err := agents.Prepare(ctx); err != nil {
		return one, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(running) }()
	defer func() {
		cancel()
		<-finished
	}()
	if err := waitConnected(ctx, agents, w.hosts); err != nil {
		return one, err
	}
	m := o.newMeter(ctx, db, s.pid(), w, label, func() int64 { return agents.Stats().Acked * int64(w.shape.RowsPerSample()) })
	m.start()
	agents.Start()
	err = <-finished
	finished <- nil // for the deferred wait
	one, meterErr := m.stop()
	if err = errors.Join(err, meterErr); err != nil {
		return one, errors.Join(err, agents.LastError())
	}
	one.Resent = agents.Stats().Resent
	stopped = true
	if err := s.stop(); err != nil {
		return one, err
	}
	have, err := db.sums(ctx, false)
	if err != nil {
		return one, err
	}
	return one, compare(agents.Sums(), have)
}

// connections is how many carry the streams of so many agents, 0 for one each.
func (o *Options) connections(agents int) int {
	if o.StreamsPerConnection <= 1 {
		return 0
	}
	return (agents + o.StreamsPerConnection - 1) / o.StreamsPerConnection
}

func waitConnected(ctx context.Context, agents *fleet.Fleet, want int) error {
	const patience = time.Minute
	deadline := time.Now().Add(patience)
	for agents.Stats().Connected < want {
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d agents are connected after %s (servers bound the streams of a connection); the last error: %w", agents.Stats().Connected, want, patience, agents.LastError())
		}
	}
	return nil
}

func (o *Options) measureCopy(ctx context.Context, db *database, w workload, label string) (one run, err error) {
	// The server makes the schema, and leaves.
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return one, err
	}
	if err := s.stop(); err != nil {
		return one, err
	}
	plan := o.newCopyPlan(w)
	var done atomic.Int64
	m := o.newMeter(ctx, db, 0, w, label, done.Load)
	err = plan.copy(ctx, db, &done, m.start)
	one, meterErr := m.stop()
	if err = errors.Join(err, meterErr); err != nil {
		return one, err
	}
	have, err := db.sums(ctx, true)
	if err != nil {
		return one, err
	}
	return one, compare(plan.want, have)
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

// stormRun is one kill.
type stormRun struct {
	Agents int `json:"agents"`
	// ReadySeconds is from the kill until the new server was ready, HalfSeconds until half of the agents, and
	// AllSeconds until all of them had a welcome and an acknowledgement from it.
	ReadySeconds float64 `json:"ready_seconds"`
	HalfSeconds  float64 `json:"half_seconds"`
	AllSeconds   float64 `json:"all_seconds"`
	ServerCPU    float64 `json:"server_cpu_seconds"`
	Resent       int64   `json:"resent_batches"`
}

func runStorm(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Interval: o.Interval, Window: o.Window, Seed: 1, Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
	})
	agents.Mark()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(running) }()
	defer func() {
		cancel()
		<-finished
	}()
	var phase atomic.Value
	phase.Store("connecting")
	stopShow := o.progress(func() string {
		stats := agents.Stats()
		return fmt.Sprintf("storm, %s: %d of %d connected, %d stream again, %d samples on the way, %d batches sent again",
			phase.Load(), stats.Connected, o.Hosts, agents.Again(), stats.Taken-stats.Acked, stats.Resent)
	})
	defer stopShow()
	agents.Start()
	if _, _, err := waitAgain(ctx, agents, o.Hosts, time.Now()); err != nil {
		return err
	}
	var runs []stormRun
	for range o.Pairs {
		phase.Store("streaming")
		if !sleep(ctx, o.Duration) {
			return ctx.Err()
		}
		phase.Store("killed")
		one, next, err := o.storm(ctx, db, s, agents)
		if next != nil {
			s = next
		}
		if err != nil {
			return err
		}
		runs = append(runs, one)
		report.Runs = append(report.Runs, one)
	}
	phase.Store("draining")
	agents.Stop()
	select {
	case err := <-finished:
		finished <- nil // for the deferred wait
		if err != nil {
			return err
		}
	case <-time.After(2 * time.Minute):
		stats := agents.Stats()
		return fmt.Errorf("2 minutes after the last sample %d of %d are not acknowledged: %w", stats.Taken-stats.Acked, stats.Taken, agents.LastError())
	}
	if err := s.stop(); err != nil {
		return err
	}
	have, err := db.sums(ctx, false)
	if err != nil {
		return err
	}
	wrong := compare(agents.Sums(), have)
	o.reportStorm(report, runs, agents.Stats(), wrong)
	return wrong
}

// storm kills the server and starts another in its place.
func (o *Options) storm(ctx context.Context, db *database, s *server, agents *fleet.Fleet) (one stormRun, next *server, err error) {
	resent := agents.Stats().Resent
	begin := time.Now()
	s.kill()
	agents.Mark()
	if next, err = o.startServer(ctx, db, s.HTTP, s.GRPC); err != nil {
		return one, nil, err
	}
	one = stormRun{Agents: o.Hosts, ReadySeconds: time.Since(begin).Seconds()}
	half, all, err := waitAgain(ctx, agents, o.Hosts, begin)
	if err != nil {
		return one, next, err
	}
	cpu, err := measure.CPU(next.pid())
	one.HalfSeconds, one.AllSeconds, one.ServerCPU, one.Resent = half.Seconds(), all.Seconds(), cpu.Seconds(), agents.Stats().Resent-resent
	return one, next, err
}

// waitAgain waits until every agent streams again, and returns when half and all of them did.
func waitAgain(ctx context.Context, agents *fleet.Fleet, want int, begin time.Time) (half, all time.Duration, err error) {
	for {
		again := agents.Again()
		if half == 0 && again >= want/2 {
			half = time.Since(begin)
		}
		if again >= want {
			return half, time.Since(begin), nil
		}
		if time.Since(begin) > 5*time.Minute {
			return half, 0, fmt.Errorf("only %d of %d agents stream after 5 minutes; the last error: %w", again, want, agents.LastError())
		}
		if !sleep(ctx, 10*time.Millisecond) {
			return half, 0, ctx.Err()
		}
	}
}

func (o *Options) reportStorm(report *measure.Report, runs []stormRun, stats fleet.Stats, wrong error) {
	table := measure.Table{
		Title:   "The server is killed and started again under a streaming fleet",
		Columns: []string{"kill", "agents", "ready s", "half stream s", "all stream s", "server CPU s", "batches sent again"},
		Notes: []string{
			fmt.Sprintf("a sample every %s, each agent on a connection of its own; back-off with full jitter from 500 ms up to 30 s, as the agent's", o.Interval),
			"seconds since the kill; an agent streams when the new server has welcomed it and acknowledged a batch",
			fmt.Sprintf("%d samples taken, %d acknowledged, %d batches sent again; every host's rows were checked at the end: %s",
				stats.Taken, stats.Acked, stats.Resent, map[bool]string{true: "0 lost, 0 doubled", false: fmt.Sprint(wrong)}[wrong == nil]),
		},
	}
	var all []float64
	for i, one := range runs {
		all = append(all, one.AllSeconds)
		table.Rows = append(table.Rows, []string{
			fmt.Sprint(i + 1), fmt.Sprint(one.Agents), measure.Number(one.ReadySeconds), measure.Number(one.HalfSeconds), measure.Number(one.AllSeconds),
			measure.Number(one.ServerCPU), fmt.Sprint(one.Resent),
		})
	}
	report.Tables = append(report.Tables, table)
	if len(all) == 0 {
		return
	}
	hostsWrong := 0.
	if wrong != nil {
		hostsWrong = 1
	}
	report.Target("storm_all_streaming_seconds", slices.Max(all), "<=", 30)
	report.Target("storm_all_streaming_seconds_moonshot", slices.Max(all), "<=", 10)
	report.Target("storm_lost_or_doubled", hostsWrong, "<=", 0)
}

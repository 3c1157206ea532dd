package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
)

// idleRun is what connected idle agents cost the server.
type idleRun struct {
	TLS    bool `json:"tls"`
	Agents int  `json:"agents"`
	// BytesEach is the growth of the server's resident memory by an agent, SettledBytesEach after a while.
	BytesEach        float64 `json:"bytes_each"`
	SettledBytesEach float64 `json:"settled_bytes_each"`
	// HeapBytesEach, StackBytesEach and GoroutinesEach are the growths that the server tells itself.
	HeapBytesEach  float64 `json:"heap_bytes_each"`
	StackBytesEach float64 `json:"stack_bytes_each"`
	GoroutinesEach float64 `json:"goroutines_each"`
	ConnectSeconds float64 `json:"connect_seconds"`
	ConnectCPU     float64 `json:"connect_server_cpu_seconds"`
}

func runIdle(ctx context.Context, o *Options, report *measure.Report) error {
	table := measure.Table{
		Title: "Connected idle agents",
		Columns: []string{
			"TLS", "agents", "KiB/agent", "settled KiB/agent", "heap KiB", "stacks KiB", "goroutines", "connected in s", "server CPU s meanwhile",
		},
		Notes: []string{
			"each agent has a connection of its own, from another process",
			"growth of the server's resident memory since before the first agent, at once and after " + o.Settle.String() + "; nothing is forced on its garbage collector",
			"heap (with garbage), stacks and goroutines are as the server's /metrics tell, an agent",
		},
	}
	bounds := map[bool][2]float64{false: {36, 20}, true: {60, 45}}
	for _, secure := range []bool{false, true} {
		one, err := o.measureIdle(ctx, secure, report)
		if err != nil {
			return err
		}
		report.Runs = append(report.Runs, one)
		kib := func(bytes float64) string { return measure.Number(bytes / 1024) }
		onOff := map[bool]string{false: "off", true: "on"}[secure]
		table.Rows = append(table.Rows, []string{
			onOff, fmt.Sprint(one.Agents), kib(one.BytesEach), kib(one.SettledBytesEach), kib(one.HeapBytesEach), kib(one.StackBytesEach),
			measure.Number(one.GoroutinesEach), measure.Number(one.ConnectSeconds), measure.Number(one.ConnectCPU),
		})
		name := "idle_agent_kib_tls_" + onOff
		report.Target(name, one.SettledBytesEach/1024, "<=", bounds[secure][0])
		report.Target(name+"_moonshot", one.SettledBytesEach/1024, "<=", bounds[secure][1])
	}
	report.Tables = append(report.Tables, table)
	return nil
}

func (o *Options) measureIdle(ctx context.Context, secure bool, report *measure.Report) (one idleRun, err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return one, err
	}
	var environment []string
	var root string
	if secure {
		if environment, root, err = makeCertificate(db.directory); err != nil {
			return one, err
		}
	}
	s, err := o.startServer(ctx, db, "", "", environment...)
	if err != nil {
		return one, err
	}
	defer s.kill()
	empty, err := s.memory(ctx)
	if err != nil {
		return one, err
	}
	cpu, err := measure.CPU(s.pid())
	if err != nil {
		return one, err
	}
	begin := time.Now()
	// They have nothing to say for long, and say so: a host that should have sent is down, and its alert is not the stream's.
	args := []string{"--idle", "--interval", time.Hour.String()}
	if root != "" {
		args = append(args, "--ca", root)
	}
	agents, err := o.startAgents(ctx, s.GRPC, args...)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, agents.stop()) }()
	stopShow := o.progress(func() string {
		resident, _ := measure.ResidentBytes(s.pid()) // only to show
		return fmt.Sprintf("idle, TLS %v: %d of %d connected, server %d MiB", secure, agents.status().Connected, o.Hosts, resident>>20)
	})
	defer stopShow()
	if err := agents.connect(ctx, o.Hosts); err != nil {
		return one, err
	}
	one = idleRun{TLS: secure, Agents: o.Hosts, ConnectSeconds: time.Since(begin).Seconds()}
	after, err := measure.CPU(s.pid())
	if err != nil {
		return one, err
	}
	one.ConnectCPU = (after - cpu).Seconds()
	resident, err := measure.ResidentBytes(s.pid())
	if err != nil {
		return one, err
	}
	if !sleep(ctx, o.Settle) {
		return one, ctx.Err()
	}
	full, err := s.memory(ctx)
	if err != nil {
		return one, err
	}
	if count := agents.status().Connected; count != o.Hosts {
		return one, fmt.Errorf("only %d of %d agents are still connected", count, o.Hosts)
	}
	each := func(a, b float64) float64 { return (b - a) / float64(o.Hosts) }
	one.BytesEach = each(float64(empty.resident), float64(resident))
	one.SettledBytesEach = each(float64(empty.resident), float64(full.resident))
	one.HeapBytesEach, one.StackBytesEach = each(empty.heap, full.heap), each(empty.stacks, full.stacks)
	one.GoroutinesEach = each(empty.goroutines, full.goroutines)
	return one, nil
}

type memory struct {
	resident                 int64
	heap, stacks, goroutines float64
}

// memory reads the resident size first: the question for the rest makes garbage.
func (s *server) memory(ctx context.Context) (m memory, err error) {
	if m.resident, err = measure.ResidentBytes(s.pid()); err != nil {
		return m, err
	}
	transport := insecureTransport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	text, err := get(ctx, client, "http://"+s.HTTP+"/metrics")
	if err != nil {
		if text, err = get(ctx, client, "https://"+s.HTTP+"/metrics"); err != nil {
			return m, fmt.Errorf("read the server's metrics: %w", err)
		}
	}
	m.heap = float64(counterOf(text, "go_memstats_heap_alloc_bytes"))
	m.stacks = float64(counterOf(text, "go_memstats_stack_inuse_bytes"))
	m.goroutines = float64(counterOf(text, "go_goroutines"))
	return m, nil
}

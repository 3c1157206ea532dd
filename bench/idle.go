package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
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
	var connected atomic.Int64
	stop, err := o.startAgents(ctx, s.GRPC, root, &connected)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	stopShow := o.progress(func() string {
		resident, _ := measure.ResidentBytes(s.pid()) // only to show
		return fmt.Sprintf("idle, TLS %v: %d of %d connected, server %d MiB", secure, connected.Load(), o.Hosts, resident>>20)
	})
	defer stopShow()
	for connected.Load() < int64(o.Hosts) {
		if !sleep(ctx, 50*time.Millisecond) {
			return one, ctx.Err()
		}
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
	if count := connected.Load(); count != int64(o.Hosts) {
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

// startAgents runs idle agents in a process of its own, so that their memory is not the server's nor ours. The returned
// function ends it.
func (o *Options) startAgents(ctx context.Context, server, root string, connected *atomic.Int64) (stop func() error, err error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := []string{"agents", "--idle", "--server", server, "--hosts", strconv.Itoa(o.Hosts), "--streams-per-connection", "1"}
	if root != "" {
		args = append(args, "--ca", root)
	}
	command := exec.CommandContext(ctx, executable, args...)
	log := &tail{}
	command.Stderr, command.SysProcAttr = log, ownGroup()
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	ended := make(chan error, 1)
	go func() {
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			var status AgentsStatus
			if json.Unmarshal(scanner.Bytes(), &status) == nil {
				connected.Store(int64(status.Connected))
				if status.Error != "" {
					o.say("agents: %s", status.Error)
				}
			}
		}
		ended <- command.Wait()
	}()
	return func() error {
		input.Close() // the agents end with it
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("the agents ended badly: %w; they said:\n%s", err, log)
			}
			return nil
		case <-time.After(time.Minute):
			_ = command.Process.Kill() // it may have ended already
			<-ended
			return errors.New("the agents did not stop")
		}
	}, nil
}

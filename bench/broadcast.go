package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/bench/rig"
)

// broadcastRun is one turn of one side.
type broadcastRun struct {
	Side            string  `json:"side"`
	Viewers         int     `json:"viewers"`
	Seconds         float64 `json:"seconds"`
	FramesPerSecond float64 `json:"frames_per_second"`
	FrameBytes      float64 `json:"frame_bytes"`
	// CPUMicros and Mallocs are the broadcaster's a frame.
	CPUMicros float64 `json:"cpu_us_a_frame"`
	Mallocs   float64 `json:"allocations_a_frame"`
	// ViewersCPU is seconds a second.
	ViewersCPU float64 `json:"viewers_cpu"`
}

// broadcastSide is one of what is compared.
type broadcastSide struct{ name, way, protocol string }

var (
	sideHubBinary = broadcastSide{"hub, binary", wayHub, protocolBinary}
	sideBare      = broadcastSide{"bare write loop", wayBare, protocolBinary}
	sideHubJSON   = broadcastSide{"hub, JSON", wayHub, protocolJSON}
	sidePlain     = broadcastSide{"plain, marshalled once", wayPlain, protocolJSON}
	sidePlainEach = broadcastSide{"plain, marshalled for each", wayPlainEach, protocolJSON}
)

// broadcastTurn bounds a turn: there are many.
const broadcastTurn = 5 * time.Second

// runBroadcast has the hub and plain broadcasters send deltas of one host each as fast as viewers take them, in turns. Each is a process of
// its own with the same live state; the viewers are in this one. There is no ingest and no database.
func runBroadcast(ctx context.Context, o *Options, report *measure.Report) error {
	sides := []broadcastSide{sideHubBinary, sideBare, sideHubJSON, sidePlain, sidePlainEach}
	turns := map[broadcastSide][]broadcastRun{}
	frameBytes := 0.0
	for turn := range o.Pairs {
		for _, side := range sides {
			one, err := o.broadcastTurn(ctx, side, int(math.Round(frameBytes)))
			if err != nil {
				return fmt.Errorf("%s: %w", side.name, err)
			}
			if side == sideHubBinary {
				frameBytes = one.FrameBytes
			}
			turns[side] = append(turns[side], one)
			report.Runs = append(report.Runs, one)
			o.say("broadcast, %s, %d of %d: %s frames/s, %s µs CPU a frame", side.name, turn+1, o.Pairs, measure.Number(one.FramesPerSecond), measure.Number(one.CPUMicros))
		}
	}
	table := measure.Table{
		Title:   "Deltas of one host to viewers, as fast as they take them: medians (lowest to highest)",
		Columns: []string{"side", "frames/s", "bytes a frame", "CPU µs a frame", "allocations a frame", "viewers' CPU"},
		Notes: []string{
			fmt.Sprintf("%d viewers over TCP in this process, %d turns each, one after the other; CPU and allocations are the broadcaster's", o.Viewers, o.Pairs),
			"plain: encoding/json and wsutil.WriteServerText to one viewer after the other; marshalled for each, as a loop over WriteJSON does",
			"bare write loop: finished frames as long as the hub's binary ones, Write to one socket after the other, a loop a processor",
		},
	}
	figure := func(side broadcastSide, of func(broadcastRun) float64) []float64 {
		var values []float64
		for _, one := range turns[side] {
			values = append(values, of(one))
		}
		return values
	}
	rate := func(r broadcastRun) float64 { return r.FramesPerSecond }
	cost := func(r broadcastRun) float64 { return r.CPUMicros }
	mallocs := func(r broadcastRun) float64 { return r.Mallocs }
	for _, side := range sides {
		row := []string{side.name}
		for _, of := range []func(broadcastRun) float64{
			rate, func(r broadcastRun) float64 { return r.FrameBytes }, cost, mallocs, func(r broadcastRun) float64 { return r.ViewersCPU },
		} {
			row = append(row, measure.Summarise(figure(side, of)).String())
		}
		table.Rows = append(table.Rows, row)
	}
	report.Tables = append(report.Tables, table)
	// What the runtime itself allocates now and then is less than one in a hundred frames.
	report.Target("live_allocations_a_message", math.Floor(100*slices.Max(slices.Concat(figure(sideHubBinary, mallocs), figure(sideHubJSON, mallocs))))/100, "<=", 0)
	report.Target("live_frames_against_bare_loop_moonshot", measure.Median(measure.Ratios(figure(sideHubBinary, rate), figure(sideBare, rate))), ">=", 0.95)
	report.Target("live_cpu_against_plain_json", measure.Median(measure.Ratios(figure(sideHubJSON, cost), figure(sidePlain, cost))), "<=", 1)
	report.Target("live_cpu_against_plain_json_for_each", measure.Median(measure.Ratios(figure(sideHubJSON, cost), figure(sidePlainEach, cost))), "<=", 1)
	return nil
}

// broadcastTurn runs one broadcaster once.
func (o *Options) broadcastTurn(ctx context.Context, side broadcastSide, frameBytes int) (one broadcastRun, err error) {
	b, err := o.startBroadcaster(ctx, side.way, frameBytes)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	viewers := &audience{url: "ws://" + b.address, protocol: side.protocol, request: `{"fleet":{}}`}
	defer func() { err = errors.Join(err, viewers.leave()) }()
	if err := viewers.join(ctx, o.Viewers); err != nil {
		return one, err
	}
	if _, err := b.tell(); err != nil { // it begins
		return one, err
	}
	if !sleep(ctx, broadcastTurn/10) {
		return one, ctx.Err()
	}
	before, err := b.tell()
	if err != nil {
		return one, err
	}
	cpu, err := measure.CPU(b.command.Process.Pid)
	if err != nil {
		return one, err
	}
	viewers.reset()
	own, begin := measure.OwnCPU(), time.Now()
	if !sleep(ctx, min(o.Duration, broadcastTurn)) {
		return one, ctx.Err()
	}
	one = broadcastRun{Side: side.name, Viewers: o.Viewers, Seconds: time.Since(begin).Seconds()}
	frames, bytes := float64(viewers.messages.Load()), float64(viewers.bytes.Load())
	ownAfter := measure.OwnCPU()
	cpuAfter, err := measure.CPU(b.command.Process.Pid)
	if err != nil {
		return one, err
	}
	after, err := b.tell()
	if err != nil {
		return one, err
	}
	if frames == 0 || viewers.gaps.Load() > 0 || viewers.snapshots.Load() > 0 {
		return one, fmt.Errorf("%.0f frames came, with %d gaps and %d snapshots between", frames, viewers.gaps.Load(), viewers.snapshots.Load())
	}
	one.FramesPerSecond, one.FrameBytes = frames/one.Seconds, bytes/frames
	one.CPUMicros = float64((cpuAfter - cpu).Microseconds()) / frames
	one.Mallocs = max(after.Mallocs-before.Mallocs, 0) / frames
	one.ViewersCPU = (ownAfter - own).Seconds() / one.Seconds
	return one, nil
}

// broadcasterProcess is a broadcaster under measurement.
type broadcasterProcess struct {
	address string
	command *exec.Cmd
	log     *rig.Tail
	input   io.WriteCloser
	output  *bufio.Scanner
}

func (o *Options) startBroadcaster(ctx context.Context, way string, frameBytes int) (*broadcasterProcess, error) {
	executable, err := o.program()
	if err != nil {
		return nil, err
	}
	p := &broadcasterProcess{log: &rig.Tail{}}
	p.command = exec.CommandContext(ctx, executable, "broadcaster", "--way", way, "--frame-bytes", strconv.Itoa(frameBytes),
		"--hosts", strconv.Itoa(o.Hosts), "--viewers", strconv.Itoa(o.Viewers), "--columns", strconv.Itoa(o.Columns))
	p.command.Stderr, p.command.SysProcAttr = p.log, ownGroup()
	if p.input, err = p.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a broadcaster: %w", err)
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a broadcaster: %w", err)
	}
	p.output = bufio.NewScanner(output)
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start a broadcaster: %w", err)
	}
	status, err := p.read()
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.address = status.Address
	return p, nil
}

func (p *broadcasterProcess) read() (status broadcasterStatus, err error) {
	if !p.output.Scan() {
		return status, fmt.Errorf("the broadcaster ended; it said:\n%s", p.log)
	}
	if err := json.Unmarshal(p.output.Bytes(), &status); err != nil {
		return status, fmt.Errorf("read the broadcaster's status: %w", err)
	}
	return status, nil
}

// tell asks for the status; the first time the broadcaster begins to send.
func (p *broadcasterProcess) tell() (broadcasterStatus, error) {
	if _, err := io.WriteString(p.input, "\n"); err != nil {
		return broadcasterStatus{}, fmt.Errorf("ask the broadcaster: %w; it said:\n%s", err, p.log)
	}
	return p.read()
}

// stop ends it with its input.
func (p *broadcasterProcess) stop() error {
	p.input.Close()
	kill := time.AfterFunc(20*time.Second, func() { _ = p.command.Process.Kill() }) // it may have ended already
	defer kill.Stop()
	if err := p.command.Wait(); err != nil {
		return fmt.Errorf("the broadcaster ended badly: %w; it said:\n%s", err, p.log)
	}
	return nil
}

// program is gohub-bench, for processes of their own.
func (o *Options) program() (string, error) {
	if o.AgentsBinary != "" {
		return o.AgentsBinary, nil
	}
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return executable, nil
}

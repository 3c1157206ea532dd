package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
)

// livePhase is what a server did for viewers for a while.
type livePhase struct {
	Phase    string `json:"phase"`
	Protocol string `json:"protocol,omitempty"`
	Hosts    int    `json:"hosts"`
	Viewers  int    `json:"viewers"`
	// Stuck viewers never read.
	Stuck int `json:"stuck_viewers"`
	// StuckCameAgain is how often one of them was cut off and came again.
	StuckCameAgain int64 `json:"stuck_came_again"`

	Seconds float64 `json:"seconds"`
	// SamplesPerSecond are those that were acknowledged, AckP99 seconds from taken until then.
	SamplesPerSecond  float64 `json:"samples_per_second"`
	AckP99            float64 `json:"ack_p99_seconds"`
	MessagesPerSecond float64 `json:"messages_per_second"`
	// BytesEach are a viewer's a second.
	BytesEach float64 `json:"bytes_per_second_each"`
	// Conflated snapshots came in place of deltas.
	Conflated int64 `json:"conflated_snapshots"`
	// ReadP50 and ReadP99 are milliseconds from a sample taken to its delta read by a viewer.
	ReadP50 float64 `json:"taken_to_read_p50_ms"`
	ReadP99 float64 `json:"taken_to_read_p99_ms"`
	// WrittenP50 and WrittenP99 are milliseconds from a sample received to its frame written, as the server tells.
	WrittenP50 float64 `json:"received_to_written_p50_ms"`
	WrittenP99 float64 `json:"received_to_written_p99_ms"`
	// ServerCPU and ViewersCPU are seconds a second.
	ServerCPU  float64 `json:"server_cpu"`
	ViewersCPU float64 `json:"viewers_cpu"`
	// ResidentBytes is of the server at the end.
	ResidentBytes float64 `json:"resident_bytes"`
	Goroutines    float64 `json:"goroutines"`
	// Points are taken every few seconds.
	Points []soakPoint `json:"points"`
}

// lagMetric is the server's histogram from a sample received to its frame written.
const lagMetric = "gohub_live_lag_seconds"

// liveRun is a server under viewers.
type liveRun struct {
	options *Options
	server  *server
	agents  *agentsProcess
	scraper *scraper
	report  *measure.Report
	phases  []*livePhase
}

// shortPhase bounds the phases that a long one is compared with.
const shortPhase = time.Minute

// stuckViewers is how many never read in phaseStuck, where as many read; in phaseFewer all of these read. With a fifth of the viewers the
// machine has room: on one that is full, whoever comes takes from the others, whether he reads or not.
func (o *Options) stuckViewers() int { return o.Viewers / 5 }

func runLive(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	// What is scraped is the server itself; a fleet's series would cost more than they tell.
	s, err := o.startServer(ctx, db, "", "", "GOHUB_METRICS_HOSTS=separate", manyViewers, manyConnections)
	if err != nil {
		return err
	}
	defer s.kill()
	run := &liveRun{options: o, server: s, scraper: newScraper(s.HTTP), report: report}
	defer run.scraper.close()
	short := min(o.Duration, shortPhase)
	// How soon viewers are told is measured where the machine can write every change to all of them; with the whole fleet, they are
	// more than it can, and are told of several at once.
	if err := run.stream(ctx, min(fewHosts, o.Hosts), []livePlan{{phaseFew, protocolBinary, o.Viewers, 0, short}}); err != nil {
		return err
	}
	err = run.stream(ctx, o.Hosts, []livePlan{
		{phaseAlone, "", 0, 0, short},
		{phaseViewers, protocolBinary, o.Viewers, 0, o.Duration},
		{phaseFewer, protocolBinary, 2 * o.stuckViewers(), 0, short},
		{phaseStuck, protocolBinary, o.stuckViewers(), o.stuckViewers(), short},
		{"scripts", protocolJSON, max(o.Viewers/10, 1), 0, short},
		{phaseAloneAgain, "", 0, 0, short},
	})
	if err != nil {
		return err
	}
	run.tell()
	return s.stop()
}

// livePlan is a phase to come.
type livePlan struct {
	name, protocol string
	viewers, stuck int
	duration       time.Duration
}

// Phases that are compared.
const (
	phaseFew        = "few hosts"
	phaseAlone      = "alone"
	phaseViewers    = "viewers"
	phaseFewer      = "fewer viewers"
	phaseStuck      = "some never read"
	phaseAloneAgain = "alone again"
)

// fewHosts are in phaseFew.
const fewHosts = 20

// stream runs phases while so many agents send.
func (r *liveRun) stream(ctx context.Context, hosts int, plans []livePlan) (err error) {
	o := *r.options
	o.Hosts = hosts
	agents, err := o.startAgents(ctx, r.server.GRPC, "--ack-times", "--interval", o.Interval.String(), "--window", strconv.Itoa(o.Window),
		"--columns", strconv.Itoa(o.Columns), "--cores", strconv.Itoa(o.Cores), "--disks", strconv.Itoa(o.Disks), "--networks", strconv.Itoa(o.Networks))
	if err != nil {
		return err
	}
	r.agents = agents
	defer func() {
		if stopped := agents.stop(); err == nil {
			err = stopped
		}
	}()
	if err := agents.connect(ctx, o.Hosts); err != nil {
		return err
	}
	if !sleep(ctx, 3*o.Interval) { // all hosts have sent
		return ctx.Err()
	}
	for _, plan := range plans {
		phase := &livePhase{Phase: plan.name, Protocol: plan.protocol, Hosts: hosts, Viewers: plan.viewers, Stuck: plan.stuck}
		r.phases = append(r.phases, phase)
		r.report.Runs = append(r.report.Runs, phase)
		if err := r.phase(ctx, phase, plan.duration); err != nil {
			return fmt.Errorf("%s: %w", plan.name, err)
		}
	}
	_, err = agents.drain(ctx)
	return err
}

// phase measures with the viewers that it names, once they have come.
func (r *liveRun) phase(ctx context.Context, p *livePhase, duration time.Duration) (err error) {
	o := r.options
	url := "ws://" + r.server.HTTP + "/api/v1/live"
	viewers := &audience{url: url, protocol: p.Protocol, request: o.Topic}
	stuck := &audience{url: url, protocol: p.Protocol, request: o.Topic}
	defer func() { _ = stuck.leave() }() // it has no failures
	defer func() { err = errors.Join(err, viewers.leave()) }()
	stopShow := o.progress(func() string {
		return fmt.Sprintf("live, %s: %d of %d viewers have come", p.Phase, viewers.watching.Load(), p.Viewers)
	})
	err = viewers.join(ctx, p.Viewers)
	stopShow()
	if err != nil {
		return err
	}
	stuck.neverRead(ctx, p.Stuck)
	if !sleep(ctx, 2*o.Interval) { // the snapshots are done with
		return ctx.Err()
	}
	r.agents.ackMillis()
	lagBefore, err := r.scraper.buckets(ctx, lagMetric)
	if err != nil {
		return err
	}
	cpu, err := measure.CPU(r.server.pid())
	if err != nil {
		return err
	}
	viewers.reset()
	acked, own, begin := r.agents.status().Acked, measure.OwnCPU(), time.Now()
	acks, err := r.points(ctx, p, viewers, begin, duration)
	if err != nil {
		return err
	}
	viewers.measuring.Store(false)
	p.Seconds = time.Since(begin).Seconds()
	cpuAfter, err := measure.CPU(r.server.pid())
	if err != nil {
		return err
	}
	p.ServerCPU, p.ViewersCPU = (cpuAfter-cpu).Seconds()/p.Seconds, (measure.OwnCPU()-own).Seconds()/p.Seconds
	p.SamplesPerSecond = float64(r.agents.status().Acked-acked) / p.Seconds
	p.AckP99 = measure.Quantile(acks, 0.99) / 1000
	p.MessagesPerSecond = float64(viewers.messages.Load()) / p.Seconds
	p.BytesEach = float64(viewers.bytes.Load()) / p.Seconds / float64(max(p.Viewers, 1))
	p.StuckCameAgain = max(stuck.watching.Load()-int64(p.Stuck), 0)
	p.Conflated = viewers.snapshots.Load()
	p.ReadP50, p.ReadP99 = viewers.lag.Millis(0.5), viewers.lag.Millis(0.99)
	lagAfter, err := r.scraper.buckets(ctx, lagMetric)
	if err != nil {
		return err
	}
	p.WrittenP50, p.WrittenP99 = 1000*lagAfter.quantileSince(lagBefore, 0.5), 1000*lagAfter.quantileSince(lagBefore, 0.99)
	last := p.Points[len(p.Points)-1]
	p.ResidentBytes, p.Goroutines = last.ResidentBytes, last.Goroutines
	p.noNaN()
	if gaps := viewers.gaps.Load(); gaps > 0 {
		return fmt.Errorf("%d times a viewer missed a delta without a snapshot", gaps)
	}
	if p.Viewers > 0 && viewers.lag.Count() == 0 {
		return errors.New("no viewer got a delta with a sample")
	}
	return nil
}

// points watches the server until the phase's end, and returns how long acknowledgements took in milliseconds.
func (r *liveRun) points(ctx context.Context, p *livePhase, viewers *audience, begin time.Time, duration time.Duration) (acks []float64, err error) {
	every := min(soakEvery, duration/soakPoints)
	messages := int64(0)
	for next := begin; ; next = next.Add(every) {
		if !sleep(ctx, time.Until(next)) {
			return nil, ctx.Err()
		}
		if err := viewers.err(); err != nil {
			return nil, err
		}
		one, some, err := takePoint(ctx, r.server, r.scraper, r.agents)
		if err != nil {
			return nil, err
		}
		one.Second = next.Sub(begin).Seconds()
		p.Points = append(p.Points, one)
		acks = append(acks, some...)
		now := viewers.messages.Load()
		seen := "no viewers"
		if p.Viewers > 0 {
			seen = fmt.Sprintf("%s messages/s, read %s ms after the sample, p99 %s ms",
				measure.Number(float64(now-messages)/every.Seconds()), measure.Number(viewers.lag.Millis(0.5)), measure.Number(viewers.lag.Millis(0.99)))
		}
		r.options.say("live, %s: %4.0f s, server %.1f MiB, %.0f goroutines, %d samples stored; %s",
			p.Phase, one.Second, one.ResidentBytes/(1<<20), one.Goroutines, one.Acked, seen)
		messages = now
		if next.Sub(begin) >= duration {
			return acks, nil
		}
	}
}

// noNaN marks what was not measured by -1, for JSON has no NaN.
func (p *livePhase) noNaN() {
	for _, value := range []*float64{&p.AckP99, &p.ReadP50, &p.ReadP99, &p.WrittenP50, &p.WrittenP99} {
		if math.IsNaN(*value) {
			*value = -1
		}
	}
}

// toldP99 is WrittenP99. Where the server does not tell, it is that of the whole way, which is an upper bound of the part.
func (p *livePhase) toldP99() float64 {
	if p.WrittenP99 < 0 {
		return measured(p.ReadP99)
	}
	return p.WrittenP99
}

// measured is a figure that noNaN may have marked, NaN again if it did: no target is met by what was not measured.
func measured(figure float64) float64 {
	if figure < 0 {
		return math.NaN()
	}
	return figure
}

func (r *liveRun) tell() {
	o, report := r.options, r.report
	byName := map[string]*livePhase{}
	for _, p := range r.phases {
		byName[p.Phase] = p
	}
	table := measure.Table{
		Title: "A fleet streams, and viewers watch",
		Columns: []string{
			"phase", "hosts", "viewers", "form", "samples/s", "stored p99 s", "messages/s", "KiB/s a viewer", "conflated", "taken to read p50 ms", "p99 ms",
			"received to written p50 ms", "p99 ms", "server CPU", "viewers' CPU", "server MiB", "goroutines",
		},
		Notes: []string{
			fmt.Sprintf("agents from another process, a sample every %s; each viewer asks %s; the viewers are in this process, one in %d reads at once, the others what has come every %s", o.Interval, o.Topic, promptEvery, fetchEvery),
			"taken to read: from the time of the first host's sample in a delta, which is in whole milliseconds, to a viewer that reads at once; the agent's encoding, gRPC and both sockets are in it",
			"received to written is from " + lagMetric + " of the server, - where it has none; CPU is in seconds a second",
			fmt.Sprintf("%d viewers never read, and came again %d times when they were cut off; every other viewer's deltas were numbered without a gap",
				byName[phaseStuck].Stuck, byName[phaseStuck].StuckCameAgain),
		},
	}
	cell := func(value float64) string {
		if value < 0 {
			return "-"
		}
		return measure.Number(value)
	}
	for _, p := range r.phases {
		if p.Viewers == 0 {
			p.ReadP50, p.ReadP99, p.WrittenP50, p.WrittenP99 = -1, -1, -1, -1
		}
		table.Rows = append(table.Rows, []string{
			p.Phase, fmt.Sprint(p.Hosts), fmt.Sprint(p.Viewers), strings.TrimPrefix(p.Protocol, "gohub.v1."), measure.Number(p.SamplesPerSecond), cell(p.AckP99), measure.Number(p.MessagesPerSecond),
			measure.Number(p.BytesEach / 1024), fmt.Sprint(p.Conflated), cell(p.ReadP50), cell(p.ReadP99), cell(p.WrittenP50), cell(p.WrittenP99),
			measure.Number(p.ServerCPU), measure.Number(p.ViewersCPU), measure.Number(p.ResidentBytes / (1 << 20)), measure.Number(p.Goroutines),
		})
	}
	report.Tables = append(report.Tables, table)
	alone := (byName[phaseAlone].SamplesPerSecond + byName[phaseAloneAgain].SamplesPerSecond) / 2
	watched, stuck := byName[phaseViewers], byName[phaseStuck]
	report.Target("live_received_to_written_p99_ms", byName[phaseFew].toldP99(), "<=", 20)
	report.Target("live_received_to_written_whole_fleet_p99_ms_moonshot", watched.toldP99(), "<=", 20)
	report.Target("live_ingest_with_viewers_ratio", watched.SamplesPerSecond/alone, ">=", 0.95)
	growth := soakResult{Points: watched.Points}
	growth.fit(o.Hosts + o.Viewers)
	report.Target("live_memory_growth_percent", growth.MemoryGrowthPercent, "<=", 5)
	report.Target("live_goroutine_growth", growth.GoroutineGrowth, "<=", 0)
	memory := func(p *livePhase) float64 { return p.Points[len(p.Points)-1].withoutWindow() }
	report.Target("live_kib_a_viewer", (memory(watched)-memory(byName[phaseAlone]))/1024/float64(o.Viewers), "<=", 64)
	// Who never reads may take no more from the others than who does.
	fewer := byName[phaseFewer]
	report.Target("live_stuck_viewers_messages_ratio", stuck.MessagesPerSecond/float64(stuck.Viewers)/(fewer.MessagesPerSecond/float64(fewer.Viewers)), ">=", 0.9)
	report.Target("live_stuck_viewers_p99_ratio", measured(stuck.ReadP99)/measured(fewer.ReadP99), "<=", 1.5)
}

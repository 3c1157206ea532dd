package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/bench/rig"
)

// clusterRun is what viewers of one of two servers saw.
type clusterRun struct {
	// Viewers are at the server that the agents send to, or at the other one.
	Viewers string  `json:"viewers_at"`
	Seconds float64 `json:"seconds"`
	// SamplesPerSecond are those that were acknowledged.
	SamplesPerSecond float64 `json:"samples_per_second"`
	// ReadP50 and ReadP99 are milliseconds from a sample taken to its delta read by a viewer.
	ReadP50 float64 `json:"taken_to_read_p50_ms"`
	ReadP99 float64 `json:"taken_to_read_p99_ms"`
	// BytesASample are those between the servers.
	BytesASample float64 `json:"cluster_bytes_a_sample"`
	// Resyncs are those of the other server.
	Resyncs float64 `json:"resyncs"`
	// SenderCPU and OtherCPU are the servers', seconds a second.
	SenderCPU float64 `json:"sender_cpu"`
	OtherCPU  float64 `json:"other_cpu"`
}

// clusterPair is two servers on one database, whose NATS are in their processes.
type clusterPair struct {
	sender, other *server
	// about is the other's metrics, sent the sender's.
	about, sent *scraper
}

func (o *Options) startPair(ctx context.Context, db *database) (*clusterPair, error) {
	if db.url == "" {
		return nil, errors.New("several servers share a TimescaleDB; SQLite is for one")
	}
	var links [2]string
	for i := range links {
		var err error
		if links[i], err = rig.FreeAddress(); err != nil {
			return nil, err
		}
	}
	p := &clusterPair{}
	for i, s := range []**server{&p.sender, &p.other} {
		started, err := o.startServer(ctx, db, "", "", "GOHUB_METRICS_HOSTS=separate", manyViewers, manyConnections, "GOHUB_CLUSTER_LISTEN="+links[i], "GOHUB_CLUSTER_PEERS="+links[1-i])
		if err != nil {
			p.kill()
			return nil, err
		}
		*s = started
	}
	p.about, p.sent = newScraper(p.other.HTTP), newScraper(p.sender.HTTP)
	for {
		values, err := p.about.metrics(ctx, "gohub_cluster_peers")
		if err != nil || !sleep(ctx, 50*time.Millisecond) {
			p.kill()
			return nil, errors.Join(err, ctx.Err())
		}
		if values["gohub_cluster_peers"] == 1 {
			return p, nil
		}
	}
}

func (p *clusterPair) kill() {
	for _, s := range []*server{p.sender, p.other} {
		if s != nil {
			s.kill()
		}
	}
	for _, s := range []*scraper{p.about, p.sent} {
		if s != nil {
			s.close()
		}
	}
}

// runCluster has a fleet stream to one of two servers, and viewers watch at the one and at the other in turns.
func runCluster(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	pair, err := o.startPair(ctx, db)
	if err != nil {
		return err
	}
	defer pair.kill()
	agents, err := o.startAgents(ctx, pair.sender.GRPC, "--interval", o.Interval.String(), "--window", strconv.Itoa(o.Window),
		"--columns", strconv.Itoa(o.Columns), "--cores", strconv.Itoa(o.Cores), "--disks", strconv.Itoa(o.Disks), "--networks", strconv.Itoa(o.Networks))
	if err != nil {
		return err
	}
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
	table := measure.Table{
		Title:   "Agents at one of two servers, viewers at either",
		Columns: []string{"viewers at", "samples/s", "taken to read p50 ms", "p99 ms", "bytes a sample between the servers", "resyncs", "sender's CPU", "other's CPU"},
		Notes: []string{
			fmt.Sprintf("%d agents from another process, a sample every %s; %d viewers in this process, each asks %s; NATS is in the servers' processes", o.Hosts, o.Interval, o.clusterViewers(), o.Topic),
			"taken to read: as in live; CPU is in seconds a second; runs take turns",
		},
	}
	p99 := map[string][]float64{}
	for range max(o.Pairs, 1) {
		for _, at := range []string{"the agents' server", "the other"} {
			run, err := o.watchPair(ctx, pair, agents, at)
			if err != nil {
				return fmt.Errorf("viewers at %s: %w", at, err)
			}
			report.Runs = append(report.Runs, run)
			p99[at] = append(p99[at], run.ReadP99)
			table.Rows = append(table.Rows, []string{
				at, measure.Number(run.SamplesPerSecond), measure.Number(run.ReadP50), measure.Number(run.ReadP99), measure.Number(run.BytesASample),
				measure.Number(run.Resyncs), measure.Number(run.SenderCPU), measure.Number(run.OtherCPU),
			})
		}
	}
	report.Tables = append(report.Tables, table)
	report.Target("cluster_taken_to_read_p99_ms", measure.Median(p99["the other"]), "<=", 200)
	if _, err := agents.drain(ctx); err != nil {
		return err
	}
	pair.sender.kill()
	noticed, err := pair.allUnknown(ctx, o.Hosts)
	if err != nil {
		return err
	}
	report.Target("cluster_dead_server_noticed_s", noticed.Seconds(), "<=", 5)
	return pair.other.stop()
}

// allUnknown returns how long the other server took to say of every host of a server that was killed that it is unknown. None may be
// down: their agents may be anywhere.
func (p *clusterPair) allUnknown(ctx context.Context, hosts int) (time.Duration, error) {
	begin := time.Now()
	for {
		down, err := p.count(ctx, "down")
		if err == nil && down > 0 {
			err = fmt.Errorf("%d hosts of a server that is not heard are shown as down after %s", down, time.Since(begin))
		}
		if err != nil {
			return 0, err
		}
		unknown, err := p.count(ctx, "unknown")
		if err != nil || unknown == hosts {
			return time.Since(begin), err
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return 0, fmt.Errorf("%d of %d hosts are unknown: %w", unknown, hosts, ctx.Err())
		}
	}
}

// count returns how many hosts have a status at the other server.
func (p *clusterPair) count(ctx context.Context, status string) (int, error) {
	response, err := p.about.get(ctx, "/api/v1/hosts?selector="+url.QueryEscape(fmt.Sprintf("status=%q", status)))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var list struct {
		Hosts []struct {
			HostID uint32 `json:"hostId"`
		} `json:"hosts"`
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return 0, fmt.Errorf("read the hosts that are %s: %w", status, err)
	}
	return len(list.Hosts), nil
}

// clusterViewers are a tenth: what many viewers cost a server is what live measures.
func (o *Options) clusterViewers() int { return max(o.Viewers/10, 1) }

// watchPair measures with the viewers at one of the servers.
func (o *Options) watchPair(ctx context.Context, pair *clusterPair, agents *agentsProcess, at string) (_ *clusterRun, err error) {
	run := &clusterRun{Viewers: at}
	watched := pair.sender
	if at == "the other" {
		watched = pair.other
	}
	viewers := &audience{url: "ws://" + watched.HTTP + "/api/v1/live", protocol: protocolBinary, request: o.Topic}
	defer func() { err = errors.Join(err, viewers.leave()) }()
	if err := viewers.join(ctx, o.clusterViewers()); err != nil {
		return nil, err
	}
	if !sleep(ctx, 2*o.Interval) { // the snapshots are done with
		return nil, ctx.Err()
	}
	before, err := pair.read(ctx)
	if err != nil {
		return nil, err
	}
	viewers.reset()
	acked, begin := agents.status().Acked, time.Now()
	stopShow := o.progress(func() string {
		return fmt.Sprintf("cluster, viewers at %s: read %s ms after the sample, p99 %s ms", at, measure.Number(viewers.lag.Millis(0.5)), measure.Number(viewers.lag.Millis(0.99)))
	})
	waited := sleep(ctx, o.Duration)
	stopShow()
	if !waited {
		return nil, ctx.Err()
	}
	viewers.measuring.Store(false)
	after, err := pair.read(ctx)
	if err != nil {
		return nil, err
	}
	run.Seconds = time.Since(begin).Seconds()
	samples := float64(agents.status().Acked - acked)
	run.SamplesPerSecond = samples / run.Seconds
	run.ReadP50, run.ReadP99 = viewers.lag.Millis(0.5), viewers.lag.Millis(0.99)
	run.BytesASample = (after.bytes - before.bytes) / max(samples, 1)
	run.Resyncs = after.resyncs - before.resyncs
	run.SenderCPU, run.OtherCPU = (after.senderCPU-before.senderCPU)/run.Seconds, (after.otherCPU-before.otherCPU)/run.Seconds
	if gaps := viewers.gaps.Load(); gaps > 0 {
		return nil, fmt.Errorf("%d times a viewer missed a delta without a snapshot", gaps)
	}
	if viewers.lag.Count() == 0 {
		return nil, errors.New("no viewer got a delta with a sample")
	}
	return run, nil
}

// pairState is what the servers have used by a moment.
type pairState struct{ bytes, resyncs, senderCPU, otherCPU float64 }

func (p *clusterPair) read(ctx context.Context) (s pairState, err error) {
	const bytes, resyncs = "gohub_cluster_bytes_total", "gohub_cluster_resyncs_total"
	sent, err := p.sent.metrics(ctx, bytes)
	if err != nil {
		return s, err
	}
	about, err := p.about.metrics(ctx, resyncs)
	if err != nil {
		return s, err
	}
	s.bytes, s.resyncs = sent[bytes], about[resyncs]
	for _, one := range []struct {
		of   *server
		into *float64
	}{{p.sender, &s.senderCPU}, {p.other, &s.otherCPU}} {
		cpu, err := measure.CPU(one.of.pid())
		if err != nil {
			return s, err
		}
		*one.into = cpu.Seconds()
	}
	return s, nil
}

package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// processCollector counts the processes and, once an interval, lists those that use most CPU, and most memory.
type processCollector struct {
	machine  *machine
	top      int
	interval time.Duration
	source   processSource
	listed   int64                        // time of the sample with the last list, in Unix milliseconds, 0 before the first
	shares   bool                         // a list had shares of CPU, which need a scan before it
	before   map[processKey]time.Duration // CPU time used until the previous scan
	spare    map[processKey]time.Duration
	at       time.Time // of the previous scan, monotonic
	clock    uint64    // of the previous scan, in the units of start times
	usages   []usage   // of the scan at hand
	names    processNames
}

// processKey names a process for as long as the machine is up: a pid is used again, but not with the same start time.
type processKey struct {
	pid   uint32
	start uint64 // in the system's own units
}

// process is one process in a scan.
type process struct {
	key      processKey
	name     string        // as the system's list of processes tells it, perhaps cut short
	cpu      time.Duration // used since it started
	resident uint64        // bytes
	uid      string        //nolint:unused // where the list tells it, as on macOS; not on Linux
}

// processScan is all processes at one moment.
type processScan struct {
	processes []process
	total     uint32 // those that vanished while they were read included
	clock     uint64 // the moment, in the units of start times
}

func newProcessCollector(m *machine, top int, interval time.Duration) *processCollector {
	return &processCollector{machine: m, top: top, interval: interval, names: processNames{machine: m}}
}

func (c *processCollector) close() { c.source.close() }

func (*processCollector) name() string { return "processes" }

func (c *processCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	if !c.due(sample.GetTimeUnixMillis()) {
		total, err := c.source.count(ctx, c.machine)
		if err != nil {
			return fmt.Errorf("count processes: %w", unsupported(err))
		}
		sample.Host.Processes = pointer(total)
		return nil
	}
	scan, err := c.source.scan(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("list processes: %w", unsupported(err))
	}
	now := c.machine.now()
	sample.Host.Processes = pointer(scan.total)
	c.shares = c.shares || !c.at.IsZero()
	sample.Processes = c.report(now, scan)
	c.listed = sample.GetTimeUnixMillis()
	return nil
}

// due tells whether the sample of this time gets a list. The first two do, for the first has no shares of CPU yet; then the first one
// of each interval, counted from the Unix epoch, so that all hosts have their lists in the same buckets of a query. It goes by the
// times of samples, which are as far apart as was asked for; the clock's own readings shake by the time that sampling takes.
func (c *processCollector) due(unixMillis int64) bool {
	interval := max(c.interval.Milliseconds(), 1)
	return c.top > 0 && (!c.shares || unixMillis/interval != c.listed/interval)
}

// usage is a process with what it used since the previous scan; share is negative where that is not known.
type usage struct {
	*process
	share float64 // of one core, in percent
}

func (c *processCollector) report(now time.Time, scan processScan) []*gohubv1.ProcessMetrics {
	var elapsed time.Duration
	if !c.at.IsZero() {
		elapsed = now.Sub(c.at)
	}
	current := c.spare
	if current == nil {
		current = make(map[processKey]time.Duration, len(scan.processes))
	}
	clear(current)
	usages := c.usages[:0]
	for i := range scan.processes {
		p := &scan.processes[i]
		current[p.key] = p.cpu
		share := -1.0
		before, seen := c.before[p.key]
		// One that started since the previous scan used all its time since then.
		if (seen || p.key.start >= c.clock) && elapsed >= minElapsed && p.cpu >= before {
			share = float64(p.cpu-before) / float64(elapsed) * 100
		}
		usages = append(usages, usage{p, share})
	}
	c.before, c.spare, c.at, c.clock = current, c.before, now, scan.clock

	c.usages = usages
	chosen := chooseProcesses(usages, c.top)
	metrics := make([]*gohubv1.ProcessMetrics, 0, len(chosen))
	for _, u := range chosen {
		described := c.names.describe(u.process, now)
		m := &gohubv1.ProcessMetrics{
			Pid:           strconv.FormatUint(uint64(u.key.pid), 10),
			Name:          described.name,
			Username:      described.username,
			ResidentBytes: pointer(roundSize(u.resident)),
		}
		if u.share >= 0 {
			m.CpuPercent = pointer(float32(roundShare(u.share)))
		}
		metrics = append(metrics, m)
	}
	c.names.forget(now)
	return metrics
}

// leastShare is the CPU that a process has to use to be among the busiest, in percent: a tenth, which is what is shown last. It is somewhat
// less because the kernel counts in ticks: three of them in 30 seconds, or one in ten, are a tenth but for how long it was exactly. On a
// machine that is idle the places would go to whatever woke up.
const leastShare = 0.09

// chooseProcesses returns the top processes by CPU, of those that used leastShare, and then those of the top by memory that are
// not among them.
func chooseProcesses(usages []usage, top int) []usage {
	chosen := make([]usage, 0, 2*top)
	byCPU := slices.DeleteFunc(slices.Clone(usages), func(u usage) bool { return u.share < leastShare })
	slices.SortFunc(byCPU, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(a.key.pid, b.key.pid))
	})
	chosen = append(chosen, byCPU[:min(top, len(byCPU))]...)
	byMemory := slices.DeleteFunc(usages, func(u usage) bool { return u.resident == 0 })
	slices.SortFunc(byMemory, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.resident, a.resident), cmp.Compare(a.key.pid, b.key.pid))
	})
	for _, u := range byMemory[:min(top, len(byMemory))] {
		if !slices.ContainsFunc(chosen, func(c usage) bool { return c.key == u.key }) {
			chosen = append(chosen, u)
		}
	}
	return chosen
}

// How long a process' name and user are kept (both can change while it runs), and a user's name.
const (
	processNamesFor = time.Minute
	userNamesFor    = 10 * time.Minute
	userTimeout     = 300 * time.Millisecond // directory services can hang
)

// processNames finds the full name and the user of the few processes that are reported, and keeps them for a while.
type processNames struct {
	machine   *machine
	described map[processKey]description
	users     map[string]userName // by uid or SID
}

type description struct {
	name, username string
	short          string // the name in the list of processes then; a program that execs another one changes it
	until          time.Time
}

type userName struct {
	name  string
	until time.Time
}

func (n *processNames) describe(p *process, now time.Time) description {
	if d, known := n.described[p.key]; known && d.short == p.name && now.Before(d.until) {
		return d
	}
	name, user := processDetails(n.machine, p)
	d := description{name: cleanText(name), short: p.name, until: now.Add(processNamesFor)}
	if user != "" {
		d.username = cleanText(n.user(user, now))
	}
	if n.described == nil {
		n.described = make(map[processKey]description)
	}
	n.described[p.key] = d
	return d
}

// user resolves a uid or SID; where that fails, the number is the name.
func (n *processNames) user(id string, now time.Time) string {
	if u, known := n.users[id]; known && now.Before(u.until) {
		return u.name
	}
	name, err := within(n.machine.guard, "the lookup of a user", userTimeout, func() (string, error) {
		return lookupUser(n.machine, id)
	})
	if err != nil || name == "" {
		name = id
	}
	if n.users == nil {
		n.users = make(map[string]userName)
	}
	n.users[id] = userName{name: name, until: now.Add(userNamesFor)}
	return name
}

// forget drops what is too old to be used.
func (n *processNames) forget(now time.Time) {
	for key, d := range n.described {
		if !now.Before(d.until) {
			delete(n.described, key)
		}
	}
	for id, u := range n.users {
		if !now.Before(u.until) {
			delete(n.users, id)
		}
	}
}

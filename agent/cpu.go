package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v3/cpu"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// cpuCollector reads how the CPUs spent their time. The machine's shares are summed over the cores, so that a core that is
// taken offline and comes back with other counters spoils nothing but itself.
type cpuCollector struct {
	machine *machine
	source  cpuSource
	before  readings[cpu.TimesStat] // by core, "cpu0"
}

func (c *cpuCollector) close() { c.source.close() }

func (*cpuCollector) name() string { return "cpu" }

// cpuShares is how long one or more cores did what between two readings, in seconds.
type cpuShares struct{ user, system, idle, iowait, steal float64 }

func (s cpuShares) busy() float64  { return s.user + s.system + s.steal }
func (s cpuShares) total() float64 { return s.busy() + s.idle + s.iowait }

func (c *cpuCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	times, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read CPU times: %w", unsupported(err))
	}
	if len(times) == 0 {
		return errors.New("read CPU times: the system lists no CPU")
	}
	now := c.machine.now()
	elapsed := c.before.since(now)
	current := c.before.fresh()
	cores := make([]*gohubv1.CoreMetrics, 0, len(times))
	var all cpuShares
	for _, t := range times {
		current[t.CPU] = t
		core := &gohubv1.CoreMetrics{Core: strings.TrimPrefix(t.CPU, "cpu")}
		cores = append(cores, core)
		before, seen := c.before.byName[t.CPU]
		if !seen || elapsed < minElapsed {
			continue
		}
		shares, ok := sharesBetween(before, t, runtime.GOOS == "windows")
		if !ok {
			continue
		}
		core.UsagePercent = percentOf(shares.busy(), shares.total())
		all.user += shares.user
		all.system += shares.system
		all.idle += shares.idle
		all.iowait += shares.iowait
		all.steal += shares.steal
	}
	c.before.keep(now, current)
	sample.Cores = bounded(cores)
	host, total := sample.Host, all.total()
	host.CpuUsagePercent = percentOf(all.busy(), total)
	host.CpuUserPercent = percentOf(all.user, total)
	host.CpuSystemPercent = percentOf(all.system, total)
	if runtime.GOOS == "linux" { // other systems do not tell these apart
		host.CpuIowaitPercent = percentOf(all.iowait, total)
		host.CpuStealPercent = percentOf(all.steal, total)
	}
	return nil
}

// sharesBetween is what a core did between two readings. It is false after a reset: a counter of work went down. The
// kernel lets idle and iowait go back a little by themselves (they are estimated); such a step counts as no time.
//
// Guest time is within user and nice already, and is not added again. On Windows interrupts are within system.
func sharesBetween(before, now cpu.TimesStat, interruptsInSystem bool) (cpuShares, bool) {
	interrupts := (now.Irq - before.Irq) + (now.Softirq - before.Softirq)
	if interruptsInSystem {
		interrupts = 0
	}
	s := cpuShares{
		user:   now.User - before.User + now.Nice - before.Nice,
		system: now.System - before.System + interrupts,
		idle:   max(now.Idle-before.Idle, 0),
		iowait: max(now.Iowait-before.Iowait, 0),
		steal:  now.Steal - before.Steal,
	}
	reset := now.User < before.User || now.Nice < before.Nice || now.System < before.System || now.Steal < before.Steal ||
		now.Irq < before.Irq || now.Softirq < before.Softirq
	return s, !reset
}

// unsupported maps gopsutil's way to say that a system does not give something (its error is internal) to errUnsupported.
func unsupported(err error) error {
	if err != nil && err.Error() == "not implemented yet" {
		return errUnsupported
	}
	return err
}

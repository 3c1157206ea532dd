package live

import (
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// clockSlack is how much more time than went by here two samples of a host may have between them: they were on their way for
// unequally long. What is more is a clock that was set.
const clockSlack = 10 * time.Second

// cpuModes are node_exporter's names for what a CPU does, as far as agents tell them apart.
var cpuModes = [...]string{"idle", "iowait", "steal", "system", "user"}

const (
	modeIdle = iota
	modeIowait
	modeSteal
	modeSystem
	modeUser
)

var (
	coreFamily  = mustMetric("core_usage_percent").Family
	coreUsage   = mustMetric("core_usage_percent")
	hostUsage   = mustMetric("cpu_usage_percent")
	hostUser    = mustMetric("cpu_user_percent")
	hostSystem  = mustMetric("cpu_system_percent")
	hostIowait  = mustMetric("cpu_iowait_percent")
	hostSteal   = mustMetric("cpu_steal_percent")
	hostOfModes = [len(cpuModes)]*catalogue.Metric{hostUsage, hostIowait, hostSteal, hostSystem, hostUser}
)

// cpuSeconds adds the shares of time that a host sends up to node_exporter's counters of seconds. A share holds from the sample
// before on, however long ago that is: over a time without samples it is an estimate, and the modes of a core always grow by as
// much as time goes by.
//
// Agents tell what a core is busy, and what all cores together do. A core's time is split as that of all is, so that sums and
// averages over the cores are exact by mode; what one core does is told exactly only as busy or not.
type cpuSeconds struct {
	sampled time.Time // of the newest sample that is in, by the host's clock
	seen    time.Time // when that was, by ours
	cores   []coreSeconds
}

type coreSeconds struct {
	core    string
	seconds [len(cpuModes)]float64
}

// advance adds what the host did since it was looked at last. Looking twice at a sample adds nothing.
func (c *cpuSeconds) advance(v *View, now time.Time) {
	c.align(v)
	if v.phase != phaseUp || v.Rows(catalogue.Host()) == 0 || v.sampled.Equal(c.sampled) {
		return
	}
	busy, ok := v.Value(hostUsage, 0)
	if !ok {
		return
	}
	elapsed := min(v.sampled.Sub(c.sampled), now.Sub(c.seen)+clockSlack).Seconds()
	if c.sampled.IsZero() || elapsed < 0 { // a clock was set back
		elapsed = 0
	}
	c.sampled, c.seen = v.sampled, now
	var ofBusy, ofRest [len(cpuModes)]float64
	for mode, metric := range hostOfModes[modeSteal:] {
		ofBusy[modeSteal+mode], _ = v.Value(metric, 0)
	}
	iowait, _ := v.Value(hostIowait, 0)
	ofRest[modeIowait], ofRest[modeIdle] = iowait, max(100-busy-iowait, 0)
	toShares(&ofBusy, modeUser)
	toShares(&ofRest, modeIdle)
	for row := range c.cores {
		seconds := &c.cores[row].seconds
		usage, ok := v.Value(coreUsage, row)
		if !ok {
			continue // it has just come
		}
		usage /= 100
		for mode := range cpuModes {
			seconds[mode] += elapsed * (usage*ofBusy[mode] + (1-usage)*ofRest[mode])
		}
	}
}

// toShares makes parts of 1, all of it the given mode's where there is nothing to divide.
func toShares(parts *[len(cpuModes)]float64, otherwise int) {
	sum := 0.0
	for _, part := range parts {
		sum += part
	}
	if sum <= 0 {
		parts[otherwise], sum = 1, 1
	}
	for mode := range parts {
		parts[mode] /= sum
	}
}

// align makes cores those of the newest sample, in its order. A core that was away starts at 0, as after a reset.
func (c *cpuSeconds) align(v *View) {
	rows := v.Rows(coreFamily)
	same := len(c.cores) == rows
	for row := 0; same && row < rows; row++ {
		same = c.cores[row].core == v.Label(coreFamily, row, 0)
	}
	if same {
		return
	}
	before := make(map[string][len(cpuModes)]float64, len(c.cores))
	for _, core := range c.cores {
		before[core.core] = core.seconds
	}
	c.cores = make([]coreSeconds, rows)
	for row := range c.cores {
		core := v.Label(coreFamily, row, 0)
		c.cores[row] = coreSeconds{core, before[core]}
	}
}

// addCPUSeconds exposes node_cpu_seconds_total.
func (n nodeNames) addCPUSeconds() {
	core := n.table("core")
	n.label(core, map[string]string{"core": "cpu"})
	n.e.countsCPU = true
	var lines []line
	for mode, name := range cpuModes {
		core.slots = append(core.slots, slot{derive: func(v *View, row int, text *numberText) {
			if v.phase != phaseUp || v.Rows(catalogue.Host()) == 0 || row >= v.Rows(coreFamily) {
				return
			}
			if _, told := v.Value(hostOfModes[mode], 0); told {
				text.setMillis(int64(v.cpu.cores[row].seconds[mode] * 1e3))
			}
		}})
		lines = append(lines, line{head: `node_cpu_seconds_total{mode="` + name + `",`, slot: len(core.slots) - 1})
	}
	n.e.exposed = append(n.e.exposed, exposed{
		name: "node_cpu_seconds_total", help: "Seconds the CPUs spent in each mode, since they are counted here.",
		counter: true, table: core, set: 1, lines: lines,
	})
}

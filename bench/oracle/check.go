package oracle

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Row is what was read of one row of a part.
type Row struct {
	AgentID string
	Part    Part
	// Time is that of the row, in Unix milliseconds.
	Time int64
	// Labels and Values are those of the family's Labels and Columns.
	Labels []string
	Values []Value
	// Sample is that of a row in quarantine, as it is stored.
	Sample []byte
}

// Gap is what an agent said that it lost, in Unix milliseconds.
type Gap struct {
	AgentID  string
	From, To int64
	// Samples is how many, 0 if that could not be told.
	Samples int
}

// Report is the verdict.
type Report struct {
	// Produced were taken for certain. Stored are whole and there, those that were perhaps taken too.
	Produced int `json:"produced"`
	Stored   int `json:"stored"`
	// Missing were taken for certain and are not there, or are there in part; Told are not there, but a gap covers them.
	Missing int `json:"missing"`
	Told    int `json:"told"`
	// Doubled are there more than once, Spurious were never taken, Corrupt differ from what was taken.
	Doubled  int `json:"doubled"`
	Spurious int `json:"spurious"`
	Corrupt  int `json:"corrupt"`
	// Examples name the first of them.
	Examples []string `json:"examples,omitempty"`
}

// Violations is how many samples break the promise.
func (r *Report) Violations() int { return r.Missing + r.Doubled + r.Spurious + r.Corrupt }

// String tells the counts in a line, and the examples.
func (r *Report) String() string {
	line := fmt.Sprintf("%d produced, %d stored, %d told, %d missing, %d doubled, %d spurious, %d corrupt",
		r.Produced, r.Stored, r.Told, r.Missing, r.Doubled, r.Spurious, r.Corrupt)
	return strings.Join(append([]string{line}, r.Examples...), "\n  ")
}

// maxExamples bounds those of a report: the first few tell what happened.
const maxExamples = 8

// Check compares rows with what was taken. It is used by one goroutine.
type Check struct {
	plan   *Plan
	ledger *Ledger
	agents map[string]int
	// seen has, for each tick of an agent, the rows that were there: a bit for each of the instances that it can have, and one
	// for the quarantine.
	seen   map[int][]uint32
	gaps   map[int][]Gap
	report Report
}

// NewCheck begins a check.
func NewCheck(plan *Plan, ledger *Ledger) *Check {
	c := &Check{plan: plan, ledger: ledger, agents: map[string]int{}, seen: map[int][]uint32{}, gaps: map[int][]Gap{}}
	for agent, ticks := range ledger.agents {
		c.agents[plan.AgentID(agent)] = agent
		c.seen[agent] = make([]uint32, len(ticks))
	}
	return c
}

// Row takes a row into account.
func (c *Check) Row(row Row) {
	agent, known := c.agents[row.AgentID]
	if !known {
		c.note(&c.report.Spurious, "a %s row of the unknown agent %q", row.Part, row.AgentID)
		return
	}
	tick, bit, whole := c.identify(agent, row)
	switch {
	case !whole:
		c.note(&c.report.Corrupt, "a %s row of agent %d that says tick %d is not what was taken: %s", row.Part, agent, tick, row.content())
	case tick < 0 || tick >= len(c.seen[agent]) || c.ledger.agents[agent][tick] == never:
		c.note(&c.report.Spurious, "a %s row of agent %d for tick %d, which it never took", row.Part, agent, tick)
	case c.plan.Poisoned(tick) != (row.Part == Quarantine) || c.wanted(agent, tick)&bit == 0:
		c.note(&c.report.Spurious, "a row of agent %d for tick %d is in %s, where it must not be", agent, tick, row.Part)
	case c.seen[agent][tick]&bit != 0:
		c.note(&c.report.Doubled, "the %s row %q of agent %d for tick %d is there again", row.Part, row.Labels, agent, tick)
	default:
		c.seen[agent][tick] |= bit
	}
}

// inQuarantine is the bit of a row there. Those of the families' instances are from 0.
const inQuarantine = 1 << 31

// identify reads the tick and the instance of a row, and says whether everything else of the row is what it should be.
func (c *Check) identify(agent int, row Row) (tick int, bit uint32, whole bool) {
	if row.Part == Quarantine {
		sample := &gohubv1.Sample{}
		if proto.Unmarshal(row.Sample, sample) != nil || sample.GetHost() == nil {
			return -1, 0, false
		}
		tick = tickOf(0, RowsOf("", sample)[0].Values)
		return tick, inQuarantine, proto.Equal(sample, c.plan.Sample(agent, tick))
	}
	one := families[row.Part]
	instance := one.instance(row.Labels)
	if len(row.Values) != len(one.Columns) || instance < 0 {
		return -1, 0, false
	}
	tick = tickOf(row.Part, row.Values)
	whole = slices.Equal(row.Values, c.plan.Values(row.Part, agent, tick, instance)) && row.Time == c.plan.Time(tick)
	return tick, 1 << (one.first + instance), whole
}

// tickOf reads the tick that a row names.
func tickOf(part Part, values []Value) int {
	if families[part].Columns[0].Float {
		return int(values[0].Float)
	}
	return int(values[0].Whole)
}

// wanted are the bits of the rows that a tick must have.
func (c *Check) wanted(agent, tick int) (bits uint32) {
	if c.plan.Poisoned(tick) {
		return inQuarantine
	}
	for part, one := range families {
		bits |= (1<<c.plan.instances(Part(part), agent, tick) - 1) << one.first
	}
	return bits
}

// content is what a row holds, for people.
func (r *Row) content() string {
	if r.Part == Quarantine {
		return fmt.Sprintf("%x", r.Sample)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "at %d %q", r.Time, r.Labels)
	for i, value := range r.Values {
		switch column := families[r.Part].Columns[i]; {
		case value.Known && column.Float:
			fmt.Fprintf(&text, " %s=%v", column.Name, value.Float)
		case value.Known:
			fmt.Fprintf(&text, " %s=%d", column.Name, value.Whole)
		}
	}
	return text.String()
}

// Gap takes a gap into account.
func (c *Check) Gap(gap Gap) {
	agent, known := c.agents[gap.AgentID]
	if !known {
		c.note(&c.report.Spurious, "a gap of the unknown agent %q", gap.AgentID)
		return
	}
	c.gaps[agent] = append(c.gaps[agent], gap)
}

// Report ends the check. What is not stored counts as missing, or, where a gap covers it, as told.
func (c *Check) Report() *Report {
	for _, agent := range c.ledger.Agents() {
		told := 0
		for tick, state := range c.ledger.agents[agent] {
			if state == certain {
				c.report.Produced++
			}
			there, wanted := c.seen[agent][tick], c.wanted(agent, tick)
			switch {
			case there == wanted:
				c.report.Stored++
			case there != 0:
				c.note(&c.report.Missing, "of tick %d of agent %d only a part is there", tick, agent)
			case state != certain:
			case c.covered(agent, tick):
				told++
			default:
				c.note(&c.report.Missing, "tick %d of agent %d is not there", tick, agent)
			}
		}
		if most := c.mostLost(agent); told > most {
			c.note(&c.report.Missing, "agent %d lost %d samples and told of %d", agent, told, most)
			c.report.Missing += told - most - 1
			told = most
		}
		c.report.Told += told
	}
	return &c.report
}

func (c *Check) covered(agent, tick int) bool {
	at := c.plan.Sample(agent, tick).GetTimeUnixMillis()
	return slices.ContainsFunc(c.gaps[agent], func(gap Gap) bool { return gap.From <= at && at <= gap.To })
}

// mostLost is how many samples an agent's gaps say are lost.
func (c *Check) mostLost(agent int) (samples int) {
	for _, gap := range c.gaps[agent] {
		if gap.Samples == 0 { // it could not tell
			return len(c.seen[agent])
		}
		samples += gap.Samples
	}
	return samples
}

func (c *Check) note(count *int, format string, args ...any) {
	*count++
	if len(c.report.Examples) < maxExamples {
		c.report.Examples = append(c.report.Examples, fmt.Sprintf(format, args...))
	}
}

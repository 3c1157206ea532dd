package oracle

import "slices"

// taking is what is known of how an agent took a tick.
type taking uint8

const (
	never   taking = iota
	maybe          // it was being appended when the agent was killed
	certain        // the append returned
)

// Ledger is what the agents took, by their numbers and ticks.
type Ledger struct{ agents map[int][]taking }

// Begin says that an append of ticks began.
func (l *Ledger) Begin(agent, first, count int) { l.set(agent, first, count, maybe) }

// Done says that it returned: each of the ticks must be stored once.
func (l *Ledger) Done(agent, first, count int) { l.set(agent, first, count, certain) }

// Failed says that it returned an error: none of the ticks may be stored.
func (l *Ledger) Failed(agent, first, count int) { l.set(agent, first, count, never) }

func (l *Ledger) set(agent, first, count int, to taking) {
	if l.agents == nil {
		l.agents = map[int][]taking{}
	}
	ticks := l.agents[agent]
	if over := first + count - len(ticks); over > 0 {
		ticks = append(ticks, make([]taking, over)...)
	}
	for tick := first; tick < first+count; tick++ {
		ticks[tick] = to
	}
	l.agents[agent] = ticks
}

// Next is the first tick that an agent has not begun, nor any after it.
func (l *Ledger) Next(agent int) int { return len(l.agents[agent]) }

// Agents are the numbers of those who took something, in order.
func (l *Ledger) Agents() []int {
	agents := make([]int, 0, len(l.agents))
	for agent := range l.agents {
		agents = append(agents, agent)
	}
	slices.Sort(agents)
	return agents
}

// Count is how many ticks were taken for certain.
func (l *Ledger) Count() (count int) {
	for _, ticks := range l.agents {
		for _, state := range ticks {
			if state == certain {
				count++
			}
		}
	}
	return count
}

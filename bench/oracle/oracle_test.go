package oracle

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

var plan = Plan{Seed: 7, Base: 1_700_000_000_000, Step: 1000, PoisonEvery: 5, Clock: []int64{0, -3_600_000, 60_000}, ClockTicks: 3}

// rowsOf are the rows that a database holds once a sample is stored.
func rowsOf(agent, tick int) []Row {
	id := plan.AgentID(agent)
	if plan.Poisoned(tick) {
		wire, err := proto.Marshal(plan.Sample(agent, tick))
		if err != nil {
			panic(err)
		}
		return []Row{{AgentID: id, Part: Quarantine, Sample: wire}}
	}
	return RowsOf(id, plan.Sample(agent, tick))
}

// stored is a ledger of two agents with ten ticks each, and the rows of all.
func stored() (*Ledger, []Row) {
	ledger := &Ledger{}
	var rows []Row
	for agent := range 2 {
		ledger.Begin(agent, 0, 10)
		ledger.Done(agent, 0, 10)
		for tick := range 10 {
			rows = append(rows, rowsOf(agent, tick)...)
		}
	}
	return ledger, rows
}

func verdict(ledger *Ledger, rows []Row, gaps ...Gap) *Report {
	check := NewCheck(&plan, ledger)
	for _, row := range rows {
		check.Row(row)
	}
	for _, gap := range gaps {
		check.Gap(gap)
	}
	report := check.Report()
	report.Examples = nil
	return report
}

// TestSamplesHoldThePlansValues reads samples as the contract has them: every family comes, with none, one and several
// instances, every metric comes, with a value and without, and all are what the plan says.
func TestSamplesHoldThePlansValues(t *testing.T) {
	require.Equal(t, "host_samples", Families()[0].Table)
	require.GreaterOrEqual(t, len(Families()), 7)
	counts := map[Part]map[int]bool{}
	type column struct {
		part  Part
		at    int
		known bool
	}
	seen := map[column]bool{}
	for tick := range 200 {
		found := map[Part]int{}
		for _, row := range RowsOf(plan.AgentID(3), plan.Sample(3, tick)) {
			if plan.Poisoned(tick) {
				continue
			}
			require.Len(t, row.Values, len(Families()[row.Part].Columns))
			require.Equal(t, tick, tickOf(row.Part, row.Values))
			require.Equal(t, plan.Values(row.Part, 3, tick, found[row.Part]), row.Values)
			require.Equal(t, found[row.Part], families[row.Part].instance(row.Labels))
			found[row.Part]++
			for i, value := range row.Values {
				seen[column{row.Part, i, value.Known}] = true
			}
		}
		for part := range families {
			if counts[Part(part)] == nil {
				counts[Part(part)] = map[int]bool{}
			}
			counts[Part(part)][found[Part(part)]] = true
		}
	}
	for part, one := range families {
		for i := range one.Columns {
			require.True(t, seen[column{Part(part), i, true}], "%s %s", one.name, one.Columns[i].Name)
			require.Equal(t, i > 0, seen[column{Part(part), i, false}], "%s %s is absent now and then", one.name, one.Columns[i].Name)
		}
		if one.most > 1 {
			require.Len(t, counts[Part(part)], one.most+1, one.name)
		}
	}
}

func TestCheckPassesWhatIsRight(t *testing.T) {
	ledger, rows := stored()
	require.Equal(t, &Report{Produced: 20, Stored: 20}, verdict(ledger, rows))
	ledger.Begin(0, 10, 3)
	require.Equal(t, &Report{Produced: 20, Stored: 20}, verdict(ledger, rows), "what was cut short may be absent")
	require.Equal(t, &Report{Produced: 20, Stored: 21}, verdict(ledger, append(rows, rowsOf(0, 11)...)), "or there")
}

func TestCheckFinds(t *testing.T) {
	id := plan.AgentID(0)
	const poisoned = 4
	// before is how many rows of agent 0 come before a tick's.
	before := func(tick int) (rows int) {
		for earlier := range tick {
			rows += len(rowsOf(0, earlier))
		}
		return rows
	}
	several := 0 // a tick with several rows
	for ; len(rowsOf(0, several)) < 8; several++ {
	}
	for name, test := range map[string]struct {
		change func(ledger *Ledger, rows []Row) []Row
		want   Report
	}{
		"a missing sample": {
			func(_ *Ledger, rows []Row) []Row { return rows[before(1):] },
			Report{Produced: 20, Stored: 19, Missing: 1},
		},
		"a row of a sample that is missing": {
			func(_ *Ledger, rows []Row) []Row { return slices.Delete(rows, before(several+1)-1, before(several+1)) },
			Report{Produced: 20, Stored: 19, Missing: 1},
		},
		"a part of a sample that was cut short": {
			func(ledger *Ledger, rows []Row) []Row {
				ledger.Begin(0, 10, 1)
				return append(rows, rowsOf(0, 10)[0])
			},
			Report{Produced: 20, Stored: 20, Missing: 1},
		},
		"a doubled sample": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, rowsOf(1, 3)...) },
			Report{Produced: 20, Stored: 20, Doubled: len(rowsOf(1, 3))},
		},
		"one doubled row of several": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, rows[before(several)+2]) },
			Report{Produced: 20, Stored: 20, Doubled: 1},
		},
		"a doubled sample in quarantine": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, rowsOf(1, 4)...) },
			Report{Produced: 20, Stored: 20, Doubled: 1},
		},
		"a sample that was never taken": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, rowsOf(0, 12)[0]) },
			Report{Produced: 20, Stored: 20, Spurious: 1},
		},
		"a sample whose append failed": {
			func(ledger *Ledger, rows []Row) []Row { ledger.Failed(0, 9, 1); return rows },
			Report{Produced: 19, Stored: 19, Spurious: 1},
		},
		"a row of nobody": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, Row{}) },
			Report{Produced: 20, Stored: 20, Spurious: 1},
		},
		"an instance that the sample does not have": {
			func(_ *Ledger, rows []Row) []Row {
				const filesystem = 2
				tick := 0
				for plan.Poisoned(tick) || plan.instances(filesystem, 0, tick) == mostInstances {
					tick++
				}
				labels := []string{families[filesystem].label(0, 2), families[filesystem].label(1, 2), families[filesystem].label(2, 2)}
				return append(rows, Row{AgentID: id, Part: filesystem, Time: plan.Time(tick), Labels: labels, Values: plan.Values(filesystem, 0, tick, 2)})
			},
			Report{Produced: 20, Stored: 20, Spurious: 1},
		},
		"a changed value": {
			func(_ *Ledger, rows []Row) []Row { rows[0].Values[1].Float += 0.5; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a value where there was none, or none where there was one": {
			func(_ *Ledger, rows []Row) []Row { rows[0].Values[5].Known = !rows[0].Values[5].Known; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a changed label": {
			func(_ *Ledger, rows []Row) []Row { rows[before(several)+2].Labels[0] += "x"; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a changed time": {
			func(_ *Ledger, rows []Row) []Row { rows[0].Time++; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a row under another agent": {
			func(_ *Ledger, rows []Row) []Row {
				rows[len(rows)-1-len(rowsOf(1, 8))].AgentID = id // before the one row of tick 9, which is poisoned
				return rows
			},
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"columns that were swapped": {
			func(_ *Ledger, rows []Row) []Row {
				values := rows[0].Values
				values[1], values[2] = values[2], values[1]
				return rows
			},
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a good sample in quarantine": {
			func(_ *Ledger, rows []Row) []Row {
				wire, _ := proto.Marshal(plan.Sample(0, 0))
				return append(rows, Row{AgentID: id, Part: Quarantine, Sample: wire})
			},
			Report{Produced: 20, Stored: 20, Spurious: 1},
		},
		"a damaged sample in quarantine": {
			func(_ *Ledger, rows []Row) []Row { rows[before(poisoned)].Sample[3] ^= 1; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ledger, rows := stored()
			require.Equal(t, &test.want, verdict(ledger, test.change(ledger, rows)))
		})
	}
}

func TestGapsExcuseWhatTheyTell(t *testing.T) {
	ledger, rows := stored()
	rows = rows[len(rowsOf(0, 0))+len(rowsOf(0, 1)):]
	gap := Gap{AgentID: plan.AgentID(0), From: plan.Time(0), To: plan.Time(1), Samples: 2}
	require.Equal(t, &Report{Produced: 20, Stored: 18, Told: 2}, verdict(ledger, rows, gap))
	gap.Samples = 1
	require.Equal(t, &Report{Produced: 20, Stored: 18, Told: 1, Missing: 1}, verdict(ledger, rows, gap), "it tells of too few")
	gap.Samples = 0
	require.Equal(t, &Report{Produced: 20, Stored: 18, Told: 2}, verdict(ledger, rows, gap), "it could not tell how many")
	gap.To = gap.From
	require.Equal(t, &Report{Produced: 20, Stored: 18, Told: 1, Missing: 1}, verdict(ledger, rows, gap), "it does not cover all")
	gap.AgentID = plan.AgentID(1)
	require.Equal(t, &Report{Produced: 20, Stored: 18, Missing: 2}, verdict(ledger, rows, gap), "it is another agent's")
}

package oracle

import (
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

func TestSamplesHoldThePlansValues(t *testing.T) {
	for _, row := range RowsOf(plan.AgentID(3), plan.Sample(3, 17)) {
		require.Len(t, row.Values, len(Columns(row.Part)))
		require.EqualValues(t, 17, row.Values[0])
		require.Equal(t, plan.Values(row.Part, 3, 17), row.Values[1:])
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
	const first, poisoned = 0, 4 // rows of ticks 0 and 4 of agent 0: 2 rows a tick before the poisoned one
	id := plan.AgentID(0)
	for name, test := range map[string]struct {
		change func(ledger *Ledger, rows []Row) []Row
		want   Report
	}{
		"a missing sample": {
			func(_ *Ledger, rows []Row) []Row { return rows[2:] },
			Report{Produced: 20, Stored: 19, Missing: 1},
		},
		"half of a sample": {
			func(_ *Ledger, rows []Row) []Row { return rows[1:] },
			Report{Produced: 20, Stored: 19, Missing: 1},
		},
		"half of a sample that was cut short": {
			func(ledger *Ledger, rows []Row) []Row {
				ledger.Begin(0, 10, 1)
				return append(rows, rowsOf(0, 10)[0])
			},
			Report{Produced: 20, Stored: 20, Missing: 1},
		},
		"a doubled sample": {
			func(_ *Ledger, rows []Row) []Row { return append(rows, rowsOf(1, 3)...) },
			Report{Produced: 20, Stored: 20, Doubled: 2},
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
		"a changed value": {
			func(_ *Ledger, rows []Row) []Row { rows[first].Values[3]++; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a changed time": {
			func(_ *Ledger, rows []Row) []Row { rows[first].Time++; return rows },
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"a row under another agent": {
			func(_ *Ledger, rows []Row) []Row {
				rows[len(rows)-2].AgentID = id // of tick 8: tick 9 is poisoned
				return rows
			},
			Report{Produced: 20, Stored: 19, Missing: 1, Corrupt: 1},
		},
		"columns that were swapped": {
			func(_ *Ledger, rows []Row) []Row {
				values := rows[first].Values
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
			func(_ *Ledger, rows []Row) []Row { rows[2*poisoned].Sample[3] ^= 1; return rows },
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
	rows = rows[4:] // ticks 0 and 1 of agent 0
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

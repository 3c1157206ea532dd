package bench

import (
	"fmt"
	"math"

	"github.com/gohub-io/gohub/bench/measure"
)

// liveBound is how old the newest sample on the dashboard may be: one interval passes before the next is taken, and one
// may be on its way.
func (o *Options) liveBound() float64 { return 2*o.Interval.Seconds() + 2 }

// liveAnswers in a row must be within the bound for the dashboard to be live: on a busy machine a single one says little.
const liveAnswers = 3

// liveAgain is when the dashboard was live after the database's return, NaN for never.
func (r *outage) liveAgain() float64 {
	live, answers, offset := math.NaN(), 0, 0.
	for _, phase := range r.result.Phases {
		if phase.Phase == phaseBefore || phase.Phase == phaseAway {
			continue
		}
		for _, one := range phase.Ages {
			switch {
			case one.P99 > r.options.liveBound():
				answers = 0
				continue
			case answers == 0:
				live = offset + one.Second
			}
			if answers++; answers == liveAnswers {
				return live
			}
		}
		offset += phase.Seconds
	}
	return math.NaN()
}

func (r *outage) report(report *measure.Report) {
	o, result := r.options, &r.result
	table := measure.Table{
		Title: "The database is killed, stays away, and comes back",
		Columns: []string{
			"database", "s", "server MiB", "heap MiB", "recent window MiB", "goroutines", "samples taken", "stored", "age on the dashboard p50 s", "p99 s", "highest s", "unanswered",
		},
		Notes: []string{
			fmt.Sprintf("%d agents, a sample every %s each, from memory; the server's resident memory, heap in use and goroutines are the highest of the phase, the recent window that of its end", o.Hosts, o.Interval),
			fmt.Sprintf("away for %s s; %d samples waited then; storing again %s s after the return, the dashboard's p99 within %g s again after %s s, all that waited stored after %s s",
				measure.Number(result.OutageSeconds), result.Backlog, measure.Number(result.StoringSeconds), o.liveBound(), measure.Number(result.LiveSeconds), measure.Number(result.DrainSeconds)),
			"age of each host's newest sample by GET /api/v1/hosts, over hosts and seconds",
			fmt.Sprintf("%d backlogs, %d previews, %d batches sent again, %d streams broken; every host's rows were checked at the end: %s",
				result.Fleet.Backlogs, result.Fleet.Previews, result.Fleet.Resent, result.Fleet.Breaks, result.Loss),
		},
	}
	highest := map[string]*outagePhase{}
	for _, phase := range result.Phases {
		highest[phase.Phase] = phase
		table.Rows = append(table.Rows, []string{
			phase.Phase, measure.Number(phase.Seconds), fmt.Sprint(phase.ResidentBytes >> 20), measure.Number(phase.HeapBytes / (1 << 20)), measure.Number(phase.WindowBytes / (1 << 20)), measure.Number(phase.Goroutines), fmt.Sprint(phase.Taken),
			fmt.Sprint(phase.Acked), measure.Number(phase.AgeP50), measure.Number(phase.AgeP99), measure.Number(phase.AgeMax),
			fmt.Sprintf("%d of %d", phase.Unanswered, phase.Asked),
		})
		if phase.Failure != "" {
			table.Notes = append(table.Notes, phase.Phase+": "+phase.Failure)
		}
	}
	report.Tables = append(report.Tables, table)
	report.Target("outage_lost", float64(result.Loss.Lost), "<=", 0)
	report.Target("outage_doubled", float64(result.Loss.Doubled), "<=", 0)
	report.Target("outage_drain_seconds", result.DrainSeconds, "<=", 300)
	report.Target("outage_live_lag_away_p99_seconds", highest[phaseAway].AgeP99, "<=", o.liveBound())
	report.Target("outage_live_lag_draining_p99_seconds", highest[phaseDraining].AgeP99, "<=", o.liveBound())
	// What was waiting fills the recent window when it is stored, which has a bound of its own.
	window := highest[phaseAfter].WindowBytes - highest[phaseAway].WindowBytes
	after := float64(max(highest[phaseDraining].ResidentBytes, highest[phaseAfter].ResidentBytes)) - window
	report.Target("outage_memory_draining_ratio_without_recent_window", after/float64(highest[phaseAway].ResidentBytes), "<=", 1.5)
	// What waits fills its bound at once. Whether memory is bounded shows after that.
	report.Target("outage_memory_growth_ratio", float64(highest[phaseAway].ResidentBytes)/float64(highest[phaseAway].FirstHalfBytes), "<=", 1.05)
	for _, phase := range result.Phases { // JSON has no NaN
		for _, value := range []*float64{&phase.AgeP50, &phase.AgeP99, &phase.AgeMax} {
			if math.IsNaN(*value) {
				*value = -1
			}
		}
	}
	if math.IsNaN(result.LiveSeconds) {
		result.LiveSeconds = -1
	}
	report.Runs = append(report.Runs, result)
}

package bench

import (
	"fmt"
	"math"

	"github.com/gohub-io/gohub/bench/measure"
)

// reportIngest makes the table and the targets of what was measured.
func (o *Options) reportIngest(report *measure.Report, runs []run, loads []workload) {
	pick := func(workload, side string, value func(run) float64) (values []float64) {
		for _, r := range runs {
			if r.Workload == workload && r.Side == side {
				values = append(values, value(r))
			}
		}
		return values
	}
	rate := func(r run) float64 { return r.RowsPerSecond }
	perRow := func(cpu func(run) float64) func(run) float64 {
		return func(r run) float64 { return cpu(r) / float64(r.Rows) * 1e6 }
	}
	serverCPU := perRow(func(r run) float64 { return r.ServerCPU })
	table := measure.Table{
		Title:   "Durable ingest: medians (lowest to highest)",
		Columns: []string{"rows", "side", "rows/s", "values/s", "server µs/row", "database µs/row", "generator µs/row", "rows/CPU-s", "checkpoints", "debt s"},
	}
	for _, load := range loads {
		for _, side := range []string{sideGoHub, sideCopy, sideVictoria} {
			rates := pick(load.name, side, rate)
			if len(rates) == 0 {
				continue
			}
			summary := measure.Summarise(rates)
			cell := func(value func(run) float64) string {
				return measure.Number(measure.Median(pick(load.name, side, value)))
			}
			table.Rows = append(table.Rows, []string{
				load.name, side, summary.String(), measure.Number(summary.Median * float64(load.shape.Columns())), cell(serverCPU),
				cell(perRow(func(r run) float64 { return r.DatabaseCPU })), cell(perRow(func(r run) float64 { return r.GeneratorCPU })),
				cell(run.rowsPerCPUSecond), cell(func(r run) float64 { return float64(r.Checkpoints) }), cell(func(r run) float64 { return r.DebtSeconds }),
			})
		}
		table.Notes = append(table.Notes, fmt.Sprintf("%s: %d hosts, %d samples each, %d a message, %d values and %d rows a sample",
			load.name, load.hosts, load.ticks, load.samples, load.shape.Columns(), load.shape.RowsPerSample()))
	}
	connections := fmt.Sprintf("a connection carries %d streams", o.StreamsPerConnection)
	if o.StreamsPerConnection <= 1 {
		connections = "each agent has a connection of its own"
	}
	table.Notes = append(table.Notes,
		connections+fmt.Sprintf(", %d messages ahead of the acknowledgements at most", o.Window),
		fmt.Sprintf("COPY: binary, %d connections, %d rows a transaction, payload finished before the clock starts; schema made by the server's migrations", o.CopyConnections, o.CopyRows),
		"both sides with fsync "+report.Environment["fsync"]+" and synchronous_commit "+report.Environment["synchronous_commit"]+
			"; rows, distinct times and two column sums of every host were right after every run",
		"VictoriaMetrics, where it was found, by InfluxDB lines on two connections; it does not sync what it acknowledges",
		"rows/CPU-s counts server and database; the generator is left out. The database's CPU is that of all its processes: let nothing else use it meanwhile")
	report.Tables = append(report.Tables, table)

	ratio := func(workload string, value func(run) float64, against string) float64 {
		return measure.Median(measure.Ratios(pick(workload, sideGoHub, value), pick(workload, against, value)))
	}
	target := func(name string, value float64, op string, bound float64) {
		if !math.IsNaN(value) {
			report.Target(name, value, op, bound)
		}
	}
	target("ingest_batched_ratio", ratio("batched", rate, sideCopy), ">=", 0.6)
	target("ingest_single_ratio", ratio("single", rate, sideCopy), ">=", 0.3)
	target("ingest_batched_cpu_ratio_moonshot", ratio("batched", run.rowsPerCPUSecond, sideCopy), ">=", 0.9)
	target("ingest_single_cpu_ratio_moonshot", ratio("single", run.rowsPerCPUSecond, sideCopy), ">=", 0.9)
	target("values_vs_victoriametrics", ratio("values", valuesRate, sideVictoria), ">=", 1)
	target("values_vs_victoriametrics_moonshot", ratio("values", valuesRate, sideVictoria), ">=", 2)
}

// valuesRate compares rows of as many values.
func valuesRate(r run) float64 { return r.RowsPerSecond }

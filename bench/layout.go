package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/timescale"
)

// layout is a way to index and to cut the table of samples.
type layout struct {
	index, chunk string
	// statements change the migrations' schema into it.
	statements []string
}

const dropIndex = "DROP INDEX host_samples_host_time"

// layouts are those that docs/decisions/0009-indexes-and-chunks.md compares. The first is the migrations'.
var layouts = []layout{
	{"(host_id, time DESC)", "6 h", nil},
	{"(host_id, time DESC)", "1 h", []string{"SELECT set_chunk_time_interval('host_samples_packed', interval '1 hour')"}},
	{"(host_id, time DESC)", "24 h", []string{"SELECT set_chunk_time_interval('host_samples_packed', interval '24 hours')"}},
	{"(time, host_id)", "6 h", []string{dropIndex, "CREATE INDEX ON host_samples_packed (time, host_id)"}},
	{"BRIN (time)", "6 h", []string{dropIndex, "CREATE INDEX ON host_samples_packed USING brin (time) WITH (pages_per_range = 32, autosummarize = on)"}},
	{"none", "6 h", []string{dropIndex}},
}

// layoutQuestions are asked of each layout in plain SQL: a host's number and the end of what is filled are its arguments.
var layoutQuestions = []struct{ name, sql string }{
	{"one host, last hour", "SELECT time_bucket('1 minute', time), avg(cpu_usage_percent) FROM host_samples WHERE host_id = $1 AND time >= $2::timestamptz - interval '1 hour' AND time < $2 GROUP BY 1"},
	{"one host, all hours", "SELECT time_bucket('5 minutes', time), avg(cpu_usage_percent) FROM host_samples WHERE host_id = $1 AND time < $2 GROUP BY 1"},
	{"its newest", "SELECT cpu_usage_percent FROM host_samples WHERE host_id = $1 AND time < $2 ORDER BY time DESC LIMIT 1"},
	{"fleet, last hour", "SELECT host_id, avg(cpu_usage_percent) FROM host_samples WHERE $1::integer > 0 AND time >= $2::timestamptz - interval '1 hour' AND time < $2 GROUP BY 1"},
}

// runLayout fills tables of samples that are indexed and cut in several ways, and asks each the same.
func runLayout(ctx context.Context, o *Options, report *measure.Report) error {
	if o.DatabaseURL == "sqlite" {
		return errors.New("the layouts are TimescaleDB's; give a database URL")
	}
	table := measure.Table{
		Title: "Layouts of the samples: medians (lowest to highest)", Columns: []string{"index", "chunks of", "rows/s by COPY", "MB", "of indexes"},
		Notes: []string{
			fmt.Sprintf("%d hosts of %d values, %d h every %s, copied in order of time on %d connections, %d rows a transaction", o.Hosts, o.Columns, o.Query.Hours, o.Interval, o.CopyConnections, o.CopyRows),
			fmt.Sprintf("questions in milliseconds, in plain SQL, %d times, warm, as if the last sample had just come", o.Query.Asks),
		},
	}
	for _, question := range layoutQuestions {
		table.Columns = append(table.Columns, question.name)
	}
	for _, one := range layouts {
		row, err := o.measureLayout(ctx, one)
		if err != nil {
			return fmt.Errorf("index %s, chunks of %s: %w", one.index, one.chunk, err)
		}
		o.say("layout: %v", row)
		table.Rows = append(table.Rows, row)
	}
	report.Tables = append(report.Tables, table)
	return nil
}

// measureLayout returns a row of the table.
func (o *Options) measureLayout(ctx context.Context, l layout) (row []string, err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	store, err := timescale.Open(ctx, db.url, storage.Options{Idle: true})
	if err != nil {
		return nil, err
	}
	hosts, err := o.registerHosts(ctx, store)
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	connection, err := connect(ctx, db)
	if err != nil {
		return nil, err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, statement := range l.statements {
		if _, err := connection.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	// Chunks are cut at multiples of their width, so that a day's begin is one of all.
	begin := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
	end := begin.Add(time.Duration(o.Query.Hours) * time.Hour)
	since := time.Now()
	rows, err := o.copySamples(ctx, db, hosts, begin, end, o.Interval)
	if err != nil {
		return nil, err
	}
	rate := float64(rows) / time.Since(since).Seconds()
	if _, err := connection.Exec(ctx, "ANALYZE host_samples_packed"); err != nil {
		return nil, err
	}
	var all, indexes int64
	err = connection.QueryRow(ctx, "SELECT total_bytes, index_bytes FROM hypertable_detailed_size('host_samples_packed')").Scan(&all, &indexes)
	if err != nil {
		return nil, err
	}
	row = []string{l.index, l.chunk, measure.Number(rate), measure.Number(float64(all) / 1e6), measure.Number(float64(indexes) / 1e6)}
	for _, question := range layoutQuestions {
		var took []float64
		for i := range o.Query.Asks {
			one, err := timed(func() error {
				rows, err := connection.Query(ctx, question.sql, pgx.QueryExecModeExec, int32(hosts[i*13%len(hosts)]), end)
				if err != nil {
					return err
				}
				rows.Close()
				return rows.Err()
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", question.name, err)
			}
			took = append(took, one)
		}
		row = append(row, measure.Summarise(took[1:]).String()) // the first warms
	}
	return row, nil
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
)

// QueryOptions are those of the mode query alone: how much the database holds.
type QueryOptions struct {
	// Hours of samples, one every Interval, that every host has.
	Hours int
	// DeepHosts have DeepDays of samples before, one every DeepInterval.
	DeepHosts, DeepDays int
	DeepInterval        time.Duration
	// Asks is how often a round asks GoHub the same kind of question; plain SQL is asked once a round.
	Asks int
}

// hostGroups is how many values the label has that the fleet is grouped by.
const hostGroups = 20

// longestRound bounds a round of one question: a slow one is asked less often than QueryOptions.Asks.
const longestRound = 3 * time.Second

// liveInterval is how often the fleet samples that streams while the questions about now are asked: an agent's default.
const liveInterval = 10 * time.Second

// runQuery fills a database, has the product roll it up, and asks a running server and plain SQL on the samples the same
// questions. First nothing else happens, and every answer is compared; then a fleet streams meanwhile.
func runQuery(ctx context.Context, o *Options, report *measure.Report) (err error) {
	if o.DatabaseURL == "sqlite" {
		return errors.New("plain SQL on samples is compared on TimescaleDB only; give a database URL")
	}
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	filled, err := o.fill(ctx, db)
	if err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	// Retention must not drop while this measures what it dropped.
	s, err := o.startServer(ctx, db, "", "", "GOHUB_RETENTION_RAW=forever", "GOHUB_RETENTION_MINUTE=forever", "GOHUB_RETENTION_HOUR=forever")
	if err != nil {
		return err
	}
	defer s.kill()
	asker, err := newAsker(ctx, db, s)
	if err != nil {
		return err
	}
	defer asker.close()
	var outcomes []*outcome
	for _, question := range filled.questions(o) {
		one, err := o.ask(ctx, asker, question)
		if err != nil {
			return fmt.Errorf("%s: %w", question.name, err)
		}
		outcomes = append(outcomes, one)
	}
	live, err := o.askUnderIngest(ctx, asker, s, filled)
	if err != nil {
		return err
	}
	o.reportQueries(report, filled, append(outcomes, live...))
	return s.stop()
}

// askUnderIngest asks about now while the fleet streams.
func (o *Options) askUnderIngest(ctx context.Context, asker *asker, s *server, filled *filled) (outcomes []*outcome, err error) {
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Connections: o.connections(o.Hosts), Interval: liveInterval, Window: o.Window, Seed: fillSeed,
		Shape: fleet.NewShape(o.Columns, 0, 0, 0),
	})
	running, cancel := context.WithCancel(ctx)
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(running) }()
	defer func() {
		cancel()
		<-finished
	}()
	if err := waitConnected(ctx, agents, o.Hosts); err != nil {
		return nil, err
	}
	agents.Start()
	for agents.Stats().Acked < int64(o.Hosts) { // each has its first sample
		if !sleep(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
	for _, question := range filled.liveQuestions(o) {
		one, err := o.ask(ctx, asker, question)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", question.name, err)
		}
		outcomes = append(outcomes, one)
	}
	return outcomes, nil
}

// outcome is the measurements of one question, in milliseconds. Of GoHub there are several a round.
type outcome struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Values int    `json:"values"`
	// Medians and 99th percentiles of each round, and of plain SQL its one time a round.
	GRPC    []float64 `json:"grpc_p50_ms"`
	GRPC99  []float64 `json:"grpc_p99_ms"`
	REST    []float64 `json:"rest_p50_ms"`
	REST99  []float64 `json:"rest_p99_ms"`
	SQL     []float64 `json:"sql_ms"`
	ratios  []float64
	compare bool
}

// ask asks one question: once to compare the answers, which also warms caches, then in rounds.
func (o *Options) ask(ctx context.Context, asker *asker, q question) (*outcome, error) {
	one := &outcome{Name: q.name, compare: q.sql != nil}
	have, source, err := asker.grpc(ctx, q, 0)
	if status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil { // the server's own bound; the targets miss
		o.say("query %s: %v", q.name, err)
		one.Source = "took too long"
		return one, nil
	}
	if err != nil {
		return nil, err
	}
	if len(have) == 0 && q.over == 0 { // few hosts may be busy
		return nil, errors.New("the answer is empty")
	}
	one.Source, one.Values = source, len(have)
	if one.compare {
		want, err := asker.sql(ctx, q, 0)
		if err != nil {
			return nil, err
		}
		if err := equalAnswers(want, have); err != nil {
			return nil, err
		}
	}
	for round := range o.Pairs {
		var overGRPC, overREST []float64
		begin := time.Now()
		for i := range o.Query.Asks {
			if time.Since(begin) > longestRound {
				break
			}
			number := round*o.Query.Asks + i
			took, err := timed(func() error { _, _, err := asker.grpc(ctx, q, number); return err })
			if err != nil {
				return nil, err
			}
			overGRPC = append(overGRPC, took)
			if took, err = timed(func() error { return asker.rest(ctx, q, number) }); err != nil {
				return nil, err
			}
			overREST = append(overREST, took)
		}
		one.GRPC, one.GRPC99 = append(one.GRPC, measure.Median(overGRPC)), append(one.GRPC99, measure.Quantile(overGRPC, 0.99))
		one.REST, one.REST99 = append(one.REST, measure.Median(overREST)), append(one.REST99, measure.Quantile(overREST, 0.99))
		if q.sql != nil {
			took, err := timed(func() error { _, err := asker.sql(ctx, q, round); return err })
			if err != nil {
				return nil, err
			}
			one.SQL = append(one.SQL, took)
		}
	}
	one.ratios = measure.Ratios(one.SQL, one.GRPC)
	o.say("query %s: GoHub %s ms, plain SQL %s ms", q.name, measure.Summarise(one.GRPC), measure.Summarise(one.SQL))
	return one, nil
}

func timed(do func() error) (milliseconds float64, err error) {
	begin := time.Now()
	err = do()
	return float64(time.Since(begin)) / float64(time.Millisecond), err
}

// reportQueries makes the table and holds the figures against the targets.
func (o *Options) reportQueries(report *measure.Report, filled *filled, outcomes []*outcome) {
	table := measure.Table{
		Title:   "Queries in milliseconds: medians of the rounds (lowest to highest)",
		Columns: []string{"query", "read from", "values", "gRPC p50", "gRPC p99", "REST p50", "REST p99", "plain SQL", "SQL / gRPC"},
		Notes: []string{
			filled.describe(o),
			fmt.Sprintf("%d rounds of up to %d questions (as many as begin in 3 s) over gRPC and over REST each, and one in plain SQL on the samples; all warm", o.Pairs, o.Query.Asks),
			"a ratio is of one round's times; answers of GoHub and of plain SQL were equal where both were asked",
		},
	}
	by := map[string]*outcome{}
	for _, one := range outcomes {
		by[one.Name] = one
		report.Runs = append(report.Runs, one)
		table.Rows = append(table.Rows, []string{
			one.Name, one.Source, fmt.Sprint(one.Values), measure.Summarise(one.GRPC).String(), measure.Summarise(one.GRPC99).String(),
			measure.Summarise(one.REST).String(), measure.Summarise(one.REST99).String(), measure.Summarise(one.SQL).String(), measure.Summarise(one.ratios).String(),
		})
	}
	report.Tables = append(report.Tables, table)
	rest := func(name string) float64 { return measure.Median(by[name].REST99) }
	report.Target("query_host_day_p99_ms", rest(hostDay), "<=", 10)
	report.Target("query_host_hour_p99_ms", rest(hostHourLive), "<=", 10)
	report.Target("query_host_hour_p99_ms_moonshot", rest(hostHourLive), "<=", 1)
	report.Target("query_latest_p99_ms", rest(latestLive), "<=", 20)
	report.Target("query_latest_p99_ms_moonshot", rest(latestLive), "<=", 1)
	report.Target("query_fleet_group_hourly_under_ingest_ms", measure.Median(by[groupHourlyLive].REST), "<=", 200)
	report.Target("query_fleet_group_points_under_ingest_ms", measure.Median(by[groupPointsLive].REST), "<=", 200)
	report.Target("query_fleet_group_over_raw_moonshot", measure.Median(by[groupHourly].ratios), ">=", 100)
	report.Target("query_long_range_over_raw", measure.Median(by[longRange].ratios), ">=", 50)
	report.Target("query_long_range_over_raw_moonshot", measure.Median(by[longRange].ratios), ">=", 500)
}

// connect opens the connection that plain SQL goes over.
func connect(ctx context.Context, db *database) (*pgx.Conn, error) {
	connection, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	if _, err := connection.Exec(ctx, "SET timezone = 'UTC'"); err != nil {
		return nil, errors.Join(err, connection.Close(context.WithoutCancel(ctx)))
	}
	return connection, nil
}

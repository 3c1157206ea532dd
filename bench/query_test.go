package bench

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestQueriesOnTimescaleDB fills little, and holds every answer of a real server against plain SQL.
func TestQueriesOnTimescaleDB(t *testing.T) {
	url := os.Getenv("GOHUB_TEST_DATABASE_URL")
	if testing.Short() || url == "" {
		t.Skip("builds and runs a server on TimescaleDB; set GOHUB_TEST_DATABASE_URL")
	}
	binary, _ := binaries(t)
	options := smallOptions(t, binary)
	options.DatabaseURL, options.Columns, options.Interval = url, 10, time.Minute
	options.Query = QueryOptions{Hours: 3, DeepHosts: 2, DeepDays: 2, DeepInterval: 10 * time.Minute, Asks: 2}
	report, err := Run(t.Context(), "query", options)
	require.NoError(t, err)
	const questions = 15
	require.Len(t, report.Runs, questions)
	for _, one := range report.Runs {
		result := one.(*outcome)
		if result.Name != "high-cpu-1" { // few hosts may be busy
			require.Positive(t, result.Values, result.Name)
		}
		require.Len(t, result.GRPC, options.Pairs, result.Name)
		require.Len(t, result.REST99, options.Pairs, result.Name)
		if result.compare {
			require.Len(t, result.SQL, options.Pairs, result.Name)
		}
	}
}

func TestQueriesNeedTimescaleDB(t *testing.T) {
	_, err := Run(t.Context(), "query", smallOptions(t, ""))
	require.ErrorContains(t, err, "TimescaleDB only")
}

// TestEqualAnswers gives the comparison answers that are wrong in each way.
func TestEqualAnswers(t *testing.T) {
	answerOf := func(value float64, series ...string) answer {
		a := answer{}
		for _, one := range series {
			a.put(cpu, one, 60_000, value)
		}
		return a
	}
	want := answerOf(18.109166666666667, "1", "2")
	require.NoError(t, equalAnswers(want, answerOf(18.10917, "1", "2")), "GoHub gives seven digits")
	require.ErrorContains(t, equalAnswers(want, answerOf(18.1092, "1", "2")), "plain SQL 18.109166666666667")
	require.ErrorContains(t, equalAnswers(want, answerOf(18.10917, "1")), "has 1 values, that of plain SQL 2")
	require.ErrorContains(t, equalAnswers(want, answerOf(18.10917, "1", "3")), "lacks cpu_usage_percent of 2 at 60000")
	require.Error(t, equalAnswers(answerOf(0, "1"), answerOf(1e-9, "1")))
}

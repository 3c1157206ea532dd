package measure

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values    []float64
		q, expect float64
	}{
		{[]float64{5}, 0.5, 5},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{4, 1, 3, 2}, 0, 1},
		{[]float64{4, 1, 3, 2}, 1, 4},
		{[]float64{10, 20}, 0.99, 19.9},
	} {
		require.InDelta(t, test.expect, Quantile(test.values, test.q), 1e-9, "%v at %v", test.values, test.q)
	}
	require.True(t, math.IsNaN(Median(nil)))
	values := []float64{3, 1, 2}
	Median(values)
	require.Equal(t, []float64{3, 1, 2}, values, "the argument stays as it is")
}

func TestRatiosGoPairByPair(t *testing.T) {
	require.Equal(t, []float64{0.5, 2}, Ratios([]float64{1, 4}, []float64{2, 2, 9}))
	require.Empty(t, Ratios(nil, []float64{1}))
}

func TestLine(t *testing.T) {
	first, last := Line([]float64{10, 20, 30, 40}, []float64{7, 9, 11, 13})
	require.InDelta(t, 7, first, 1e-9)
	require.InDelta(t, 13, last, 1e-9)
	first, last = Line([]float64{0, 1, 2, 3}, []float64{5, 6, 5, 6}) // one that saws grows little
	require.InDelta(t, 5.2, first, 1e-9)
	require.InDelta(t, 5.8, last, 1e-9)
	first, _ = Line([]float64{1}, []float64{1})
	require.True(t, math.IsNaN(first))
}

func TestSummary(t *testing.T) {
	s := Summarise([]float64{120_000, 90_000, 100_000})
	require.Equal(t, Summary{Median: 100_000, Low: 90_000, High: 120_000, Runs: []float64{120_000, 90_000, 100_000}}, s)
	require.Equal(t, "100.0 k (90.0 k to 120.0 k)", s.String())
	require.Equal(t, "-", Summarise(nil).String())
}

func TestNumber(t *testing.T) {
	for value, text := range map[float64]string{0.1234: "0.123", 1.5: "1.50", 123.4: "123", 9999: "9999", 12_345: "12.3 k", 3_210_000: "3.21 M"} {
		require.Equal(t, text, Number(value))
	}
}

func TestTargetLines(t *testing.T) {
	report := &Report{Mode: "test"}
	report.Target("ratio", 0.65432, ">=", 0.6)
	report.Target("ratio", 0.5, ">=", 0.6)
	report.Target("cost", 1, "<=", 1)
	report.Target("cost", 1.01, "<=", 1)
	report.Target("none", math.NaN(), "<=", 1)
	report.Tables = []Table{{Title: "A table", Columns: []string{"a", "b"}, Rows: [][]string{{"1", "22"}}, Notes: []string{"a note"}}}
	var output bytes.Buffer
	require.NoError(t, report.Print(&output))
	for _, line := range []string{
		"target ratio 0.6543 >= 0.6 pass\n", "target ratio 0.5 >= 0.6 miss\n", "target cost 1 <= 1 pass\n", "target cost 1.01 <= 1 miss\n",
		"target none NaN <= 1 miss\n", "A table\n", "a note\n",
	} {
		require.Contains(t, output.String(), line)
	}
	all := Targets([]*Report{report, {Mode: "other"}})
	require.Equal(t, []string{"test", "ratio", "0.6543", ">= 0.6", "pass"}, all.Rows[0])
	require.Len(t, all.Rows, 5)
	file := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, WriteJSON(file, []*Report{report}))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var back []Report
	require.NoError(t, json.Unmarshal(text, &back))
	require.Len(t, back[0].Targets, 5)
}

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("77 (odd ) name) S 12 77 77 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 9 0 1000 1 2"))
	require.NoError(t, err)
	require.Equal(t, stat{parent: 12, own: 3 * time.Second, children: 500 * time.Millisecond}, s)
	for _, bad := range []string{"", "77 name S 1", "77 (name) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestOwnProcess(t *testing.T) {
	require.Positive(t, OwnCPU())
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc on this system")
	}
	resident, err := ResidentBytes(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, resident, int64(1<<20))
	parent, err := Parent(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, os.Getppid(), parent)
	_, err = CPU(os.Getpid())
	require.NoError(t, err)
	_, err = TreeCPU(os.Getpid())
	require.NoError(t, err)
}

// Package measure has what every mode of the benchmark needs: medians with their spread, targets, tables, and what
// processes cost.
package measure

import (
	"fmt"
	"math"
	"slices"
)

// Median returns the middle of the values, NaN for none.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile returns the q-quantile of the values, between two of them where it falls there, NaN for none.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	place := q * float64(len(sorted)-1)
	low := int(place)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(place-float64(low))
}

// Summary is a measured quantity over several runs.
type Summary struct {
	Median float64   `json:"median"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Runs   []float64 `json:"runs"`
}

// Summarise orders runs into a summary.
func Summarise(runs []float64) Summary {
	s := Summary{Median: Median(runs), Runs: runs}
	if len(runs) > 0 {
		s.Low, s.High = slices.Min(runs), slices.Max(runs)
	}
	return s
}

// String shows the median and the spread, in thousands where that is shorter.
func (s Summary) String() string {
	if len(s.Runs) == 0 || math.IsNaN(s.Median) {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", Number(s.Median), Number(s.Low), Number(s.High))
}

// Number shows a value with three or four digits.
func Number(v float64) string {
	switch magnitude := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case magnitude >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case magnitude >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", v)
	case magnitude >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// Ratios divides run by run: a pair was measured one after the other, so what disturbs one disturbs both.
func Ratios(over, under []float64) []float64 {
	ratios := make([]float64, min(len(over), len(under)))
	for i := range ratios {
		ratios[i] = over[i] / under[i]
	}
	return ratios
}

// Line fits a straight line through points by least squares, and returns its height at the first and the last x. NaN for
// fewer than two points.
func Line(x, y []float64) (first, last float64) {
	n := float64(len(x))
	if len(x) < 2 || len(x) != len(y) {
		return math.NaN(), math.NaN()
	}
	var meanX, meanY float64
	for i := range x {
		meanX, meanY = meanX+x[i]/n, meanY+y[i]/n
	}
	var over, under float64
	for i := range x {
		over += (x[i] - meanX) * (y[i] - meanY)
		under += (x[i] - meanX) * (x[i] - meanX)
	}
	slope := over / under
	return meanY + slope*(x[0]-meanX), meanY + slope*(x[len(x)-1]-meanX)
}

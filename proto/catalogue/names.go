package catalogue

import (
	"math"
	"slices"
)

// Nearest returns the names of the three metrics that are most like a mistyped one.
func Nearest(name string) []string {
	const longest = 100 // what is longer is like no metric, and must cost nothing
	name = name[:min(len(name), longest)]
	names := make([]string, 0, len(byMetric))
	distances := make(map[string]int, len(byMetric))
	for known := range byMetric {
		names = append(names, known)
		distances[known] = distance(name, known)
	}
	slices.SortFunc(names, func(a, b string) int {
		if distances[a] != distances[b] {
			return distances[a] - distances[b]
		}
		if a < b {
			return -1
		}
		return 1
	})
	return names[:3]
}

// distance is the number of bytes to insert, delete or replace to make b of a (Levenshtein, with two rows).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// Round rounds to the seven significant digits that a Float metric has, so that what was 12.3 at the agent is not
// 12.300000190734863 in an answer.
func Round(value float64) float64 {
	if value == 0 || math.IsNaN(value) || math.IsInf(value, 0) {
		return value
	}
	// Negative powers of ten are not exact, so small and large numbers take different ways.
	if digits := 6 - int(math.Floor(math.Log10(math.Abs(value)))); digits >= 0 {
		scale := math.Pow10(digits)
		return math.Round(value*scale) / scale
	} else {
		scale := math.Pow10(-digits)
		return math.Round(value/scale) * scale
	}
}

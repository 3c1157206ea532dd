package catalogue

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Nearest returns up to three metrics whose names look most like a name that is none: a few letters away, or with it as
// a part.
func Nearest(name string) []string {
	// What is longer than any name with its typing mistakes resembles nothing, and would take long to compare.
	const longest, most = 100, 3
	if len(name) > longest {
		return nil
	}
	distances := map[string]int{}
	var found []string
	for _, family := range families {
		for _, metric := range family.Metrics {
			d := distance(name, metric.Name)
			if strings.Contains(metric.Name, name) || strings.Contains(name, metric.Name) {
				d = min(d, 2)
			}
			if d <= max(2, len(metric.Name)/3) {
				distances[metric.Name] = d
				found = append(found, metric.Name)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(distances[a], distances[b]) })
	return found[:min(len(found), most)]
}

// distance is how many bytes must be inserted, removed or replaced to make b of a (Levenshtein, with one row).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], step
		}
	}
	return row[len(b)]
}

// powersOfTen are exact in a float64, so one multiplication or division by them is off by half a unit at most.
var powersOfTen = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// Round rounds to the seven significant digits that a Float metric has, so that what was 12.3 at the agent is not
// 12.300000190734863 in an answer. Numbers that no metric has (below 1e-15, from 1e28, not finite) stay as they are.
func Round(value float64) float64 {
	if value == math.Trunc(value) && math.Abs(value) < 1e7 || math.IsNaN(value) || math.IsInf(value, 0) {
		return value
	}
	places := 6 - decimalExponent(math.Abs(value))
	switch {
	case places >= len(powersOfTen) || places <= -len(powersOfTen):
		return value
	case places >= 0:
		return math.Round(value*powersOfTen[places]) / powersOfTen[places]
	default:
		return math.Round(value/powersOfTen[-places]) * powersOfTen[-places]
	}
}

// decimalExponent is the power of ten that a positive number has, as 2 of 100 to 999. math.Log10 takes several times as long, and
// every number that is shown passes here.
func decimalExponent(value float64) int {
	const bias, fraction = 1023, 52
	binary := int(math.Float64bits(value)>>fraction) - bias
	exponent := binary * 1233 >> 12 // by log10(2): this, or one less than it is
	if value >= math.Pow10(exponent+1) {
		exponent++
	}
	return exponent
}

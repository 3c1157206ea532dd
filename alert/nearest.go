package alert

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// maxNear is how many names an error suggests.
const maxNear = 3

// nearest returns the metrics whose names look most like a name that is none: a few letters away, or containing it.
func nearest(name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	// What is longer than any name with its typing mistakes resembles nothing, and would take long to compare.
	if len(name) > 100 {
		return nil
	}
	var found []candidate
	for _, family := range catalogue.Families() {
		for _, metric := range family.Metrics {
			d := distance(name, metric.Name)
			if strings.Contains(metric.Name, name) || strings.Contains(name, metric.Name) {
				d = min(d, 2)
			}
			if d <= max(2, len(metric.Name)/3) {
				found = append(found, candidate{metric.Name, d})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range found[:min(len(found), maxNear)] {
		names = append(names, c.name)
	}
	return names
}

// distance is how many bytes must be inserted, removed or replaced to make b of a (Levenshtein).
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

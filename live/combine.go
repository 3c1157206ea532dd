package live

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// combiner makes of hosts' series those of their groups, as storage's statement does (storage.Selection.SQL).
type combiner struct {
	query storage.RangeQuery
	grid  *grid
	// filled tells of each group which buckets have a row, whatever is in it.
	filled map[int32][]bool
	// cells are by group, each with the buckets of one metric after the other.
	cells map[int32][]cell
}

// cell is a bucket of a group.
type cell struct {
	series                 int
	value, least, greatest float64
	// all are the averages, where a quantile is asked for.
	all []float64
}

func newCombiner(query storage.RangeQuery, grid *grid) *combiner {
	return &combiner{query: query, grid: grid, filled: map[int32][]bool{}, cells: map[int32][]cell{}}
}

// fill notes the buckets in which a host has rows.
func (c *combiner) fill(group int32, buckets []bucket) {
	filled := c.filled[group]
	if filled == nil {
		filled = make([]bool, c.grid.count)
		c.filled[group] = filled
		c.cells[group] = make([]cell, c.grid.count*len(c.query.Metrics))
	}
	for i := range buckets {
		filled[i] = filled[i] || buckets[i].count > 0
	}
}

// add adds the buckets of a metric of a host whose group has been filled.
func (c *combiner) add(group int32, metric int, buckets []bucket) {
	cells := c.cells[group][metric*c.grid.count:]
	function := c.query.Across.Function
	for i := range buckets {
		b, into := &buckets[i], &cells[i]
		if b.count == 0 {
			continue
		}
		average := b.sum / float64(b.count)
		first := into.series == 0
		into.series++
		switch {
		case function == storage.Sum:
			into.value, into.least, into.greatest = into.value+average, into.least+b.least, into.greatest+b.greatest
			continue
		case function == storage.Quantile:
			into.all = append(into.all, average)
		case first:
			into.value = average
		case function == storage.Least:
			into.value = min(into.value, average)
		case function == storage.Greatest:
			into.value = max(into.value, average)
		default:
			into.value += average
		}
		if first {
			into.least, into.greatest = b.least, b.greatest
		}
		into.least, into.greatest = min(into.least, b.least), max(into.greatest, b.greatest)
	}
}

// finish returns the series, by metric and group, and how many rows they are.
func (c *combiner) finish() (all []storage.Series, rows int, err error) {
	var groups []int32
	for group, filled := range c.filled {
		groups = append(groups, group)
		for _, there := range filled {
			if there {
				rows++
			}
		}
	}
	if rows > c.query.MaxRows {
		return nil, 0, fmt.Errorf("%w: over %d rows of %s", storage.ErrTooManyRows, c.query.MaxRows, recentLayout.family.Name)
	}
	if count := len(groups) * len(c.query.Metrics); c.query.MaxSeries > 0 && count > c.query.MaxSeries {
		return nil, 0, fmt.Errorf("%w: over %d series of %s", storage.ErrTooManySeries, c.query.MaxSeries, recentLayout.family.Name)
	}
	slices.Sort(groups)
	for i, metric := range c.query.Metrics {
		for _, group := range groups {
			one := storage.Series{Metric: metric, Group: group}
			cells := c.cells[group][i*c.grid.count:][:c.grid.count]
			for place := range cells {
				if cell := &cells[place]; cell.series > 0 {
					one.Times = append(one.Times, time.UnixMilli(c.grid.start(place)).UTC())
					one.Avg, one.Min, one.Max = append(one.Avg, c.result(cell)), append(one.Min, cell.least), append(one.Max, cell.greatest)
				}
			}
			if len(one.Times) > 0 {
				all = append(all, one)
			}
		}
	}
	return all, rows, nil
}

// result is what the function makes of the hosts' averages. A quantile is interpolated as percentile_cont does.
func (c *combiner) result(cell *cell) float64 {
	switch c.query.Across.Function {
	case storage.Mean:
		return cell.value / float64(cell.series)
	case storage.Quantile:
		slices.Sort(cell.all)
		rank := c.query.Across.Quantile * float64(len(cell.all)-1)
		below := cell.all[int(rank)]
		above := cell.all[int(math.Ceil(rank))]
		return below + (above-below)*(rank-math.Floor(rank))
	default:
		return cell.value
	}
}

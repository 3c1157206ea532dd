package live

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// maxGathered bounds the hosts' averages that quantiles are made of: 32 MB, which is 5,000 hosts over an hour at 10 s, with room.
const maxGathered = 4 << 20

// errTooMuch: memory does not answer, as it would take too much of it; storage can.
var errTooMuch = errors.New("too much to gather")

// combiner makes of hosts' series those of their groups, as storage's statement does (storage.Selection.SQL). What it holds is bounded
// by the limits of the query, which are checked as it grows.
type combiner struct {
	query  storage.RangeQuery
	grid   *grid
	groups map[int32]*combined
	// rows are those of all groups.
	rows int
	// gathered are the averages that wait for a quantile.
	gathered int
}

// combined is a group.
type combined struct {
	// rows tells of each bucket which row it is, from 1 on, and 0 of one without: of long ranges in short steps most have none.
	rows []int32
	// cells have a row's metrics side by side.
	cells []cell
}

// cell is a bucket of a group.
type cell struct {
	series                 int
	value, least, greatest float64
	// all are the averages, where a quantile is asked for.
	all []float64
}

func newCombiner(query storage.RangeQuery, grid *grid) *combiner {
	return &combiner{query: query, grid: grid, groups: map[int32]*combined{}}
}

// fill notes the buckets in which a host has rows, whatever is in them. It fails over the query's limits as storage does.
func (c *combiner) fill(group int32, buckets []bucket) error {
	of := c.groups[group]
	if of == nil {
		if count := (len(c.groups) + 1) * len(c.query.Metrics); c.query.MaxSeries > 0 && count > c.query.MaxSeries {
			return fmt.Errorf("%w: over %d series of %s", storage.ErrTooManySeries, c.query.MaxSeries, recentLayout.family.Name)
		}
		of = &combined{rows: make([]int32, c.grid.count)}
		c.groups[group] = of
	}
	width := len(c.query.Metrics)
	added := 0
	for i := range buckets {
		if buckets[i].count == 0 || of.rows[i] > 0 {
			continue
		}
		if c.rows++; c.rows > c.query.MaxRows {
			return fmt.Errorf("%w: over %d rows of %s", storage.ErrTooManyRows, c.query.MaxRows, recentLayout.family.Name)
		}
		added++
		of.rows[i] = int32(len(of.cells)/width + added)
	}
	of.cells = append(of.cells, make([]cell, added*width)...)
	return nil
}

// add adds the buckets of a metric of a host whose group has been filled.
func (c *combiner) add(group int32, metric int, buckets []bucket) error {
	of, width := c.groups[group], len(c.query.Metrics)
	function := c.query.Across.Function
	for i := range buckets {
		b := &buckets[i]
		if b.count == 0 {
			continue
		}
		into := &of.cells[int(of.rows[i]-1)*width+metric]
		average := b.sum / float64(b.count)
		first := into.series == 0
		into.series++
		switch {
		case function == storage.Sum:
			into.value, into.least, into.greatest = into.value+average, into.least+b.least, into.greatest+b.greatest
			continue
		case function == storage.Quantile:
			if c.gathered++; c.gathered > maxGathered {
				return errTooMuch
			}
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
	return nil
}

// finish returns the series, by metric and group, and how many rows they are.
func (c *combiner) finish() (all []storage.Series, rows int) {
	groups := slices.Sorted(maps.Keys(c.groups))
	width := len(c.query.Metrics)
	for i, metric := range c.query.Metrics {
		for _, group := range groups {
			one := storage.Series{Metric: metric, Group: group}
			of := c.groups[group]
			for place, row := range of.rows {
				if row == 0 {
					continue
				}
				if cell := &of.cells[int(row-1)*width+i]; cell.series > 0 {
					one.Times = append(one.Times, time.UnixMilli(c.grid.start(place)).UTC())
					one.Avg, one.Min, one.Max = append(one.Avg, c.result(cell)), append(one.Min, cell.least), append(one.Max, cell.greatest)
				}
			}
			if len(one.Times) > 0 {
				all = append(all, one)
			}
		}
	}
	return all, c.rows
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

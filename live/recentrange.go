package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// maxVerifies bounds how often a position is read anew because batches were on their way.
const maxVerifies = 3

// longest is how far back the window answers, even of a host that had nothing before: imports of older samples are not told. The
// hour is for clocks that differ, and for the time that an import takes to commit.
const longest = storage.ImportsTold - time.Hour

// Range answers the end of a range, from the border on, which is a border of buckets; storage has to answer what is before.
// The border is q.To where nothing can be answered. Rows is how many the answer has, as storage counts them. q.Parts is
// not looked at: the answer is made of samples.
func (r *Recent) Range(ctx context.Context, q storage.RangeQuery) (series []storage.Series, border time.Time, rows int, err error) {
	if q.Top != nil {
		return nil, q.To, 0, nil
	}
	for _, metric := range q.Metrics {
		if metric.Family != recentLayout.family {
			return nil, q.To, 0, nil
		}
	}
	if !r.border(q).Before(q.To) { // what others have stored can only make it later
		return nil, q.To, 0, nil
	}
	if exact, err := r.verify(ctx, q.Hosts); err != nil || !exact {
		return nil, q.To, 0, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	border = r.borderOf(q)
	if !border.Before(q.To) {
		return nil, q.To, 0, nil
	}
	series, rows, err = r.read(q, border)
	if errors.Is(err, errTooMuch) {
		return nil, q.To, 0, nil
	}
	return series, border, rows, err
}

func (r *Recent) border(q storage.RangeQuery) time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.borderOf(q)
}

// borderOf is the first border of buckets from which on all samples of the hosts are here, q.To if there is none. It is called
// with mu held.
func (r *Recent) borderOf(q storage.RangeQuery) time.Time {
	from := q.From.UnixMilli()
	since := max(from, r.options.Now().Add(-longest).UnixMilli())
	if len(q.Hosts) == 0 {
		for _, h := range r.hosts {
			since = max(since, h.complete)
		}
	}
	for _, id := range q.Hosts {
		if h := r.hosts[id]; h != nil {
			since = max(since, h.complete)
		}
	}
	if since >= q.To.UnixMilli() {
		return q.To
	}
	if len(q.Edges) > 0 {
		return q.Edges[sort.Search(len(q.Edges)-1, func(i int) bool { return q.Edges[i].UnixMilli() >= since })]
	}
	step := q.Step.Milliseconds()
	if border := from + (since-from+step-1)/step*step; border < q.To.UnixMilli() {
		return time.UnixMilli(border).UTC()
	}
	return q.To
}

// seen is what was known of a host before its position was read.
type seen struct {
	position, landed uint64
	flying           int
}

// verify tells whether all that is stored of the hosts came by this server since their windows are complete. Who shares the
// database, or imports into it, may have stored something without a word to this server; the positions tell. The window of such a
// host begins anew.
func (r *Recent) verify(ctx context.Context, hosts []storage.HostID) (bool, error) {
	for range maxVerifies {
		before := r.glance(hosts)
		stored, err := r.options.Store.Positions(ctx, hosts)
		if err != nil {
			return false, fmt.Errorf("check the recent window: %w", err)
		}
		differing := slices.DeleteFunc(stored, func(p storage.Position) bool { return before[p.Host].position == sum(p) })
		if len(differing) == 0 {
			return true, nil
		}
		if r.beginAnew(differing, before) {
			return false, nil
		}
	}
	return false, nil
}

func (r *Recent) glance(hosts []storage.HostID) map[storage.HostID]seen {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make(map[storage.HostID]seen, len(hosts))
	if len(hosts) == 0 {
		for id, h := range r.hosts {
			all[id] = seen{h.position, h.landed, h.flying}
		}
	}
	for _, id := range hosts {
		if h := r.hosts[id]; h != nil {
			all[id] = seen{h.position, h.landed, h.flying}
		}
	}
	return all
}

// beginAnew begins the windows of those hosts anew whose stored position is another than what this server made it, and
// tells whether there are any. Of the others a batch was on its way meanwhile.
func (r *Recent) beginAnew(stored []storage.Position, before map[storage.HostID]seen) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for _, p := range stored {
		h, was := r.host(p.Host), before[p.Host]
		if was.flying > 0 || h.flying > 0 || h.landed != was.landed {
			continue
		}
		h.position = sum(p)
		h.complete = max(h.complete, r.fromNow())
		found = true
	}
	return found
}

// bucket is what the readings of a metric make in one.
type bucket struct {
	sum, least, greatest float64
	count                int
}

// read makes the series from border on. It is called with mu held.
func (r *Recent) read(q storage.RangeQuery, border time.Time) ([]storage.Series, int, error) {
	hosts := slices.Sorted(slices.Values(q.Hosts))
	if len(hosts) == 0 {
		for id := range r.hosts {
			hosts = append(hosts, id)
		}
		slices.Sort(hosts)
	}
	grid := newGrid(q, border)
	grid.clip(r.newest(hosts))
	var (
		found   = make([][]storage.Series, len(q.Metrics))
		buckets = make([]bucket, grid.count)
		places  []int32
		rows    int
		some    int // hosts
		groups  map[storage.HostID]int32
		across  *combiner
	)
	if q.Across != nil {
		across = newCombiner(q, &grid)
		groups = make(map[storage.HostID]int32, len(q.Across.Groups))
		for i, group := range q.Across.Groups {
			groups[q.Hosts[i]] = group
		}
	}
	for _, id := range hosts {
		h := r.hosts[id]
		if h == nil {
			continue
		}
		places = places[:0]
		clear(buckets)
		filled := 0
		for page := h.first; page != nil; page = page.later {
			for _, at := range page.times[:page.rows] {
				place := grid.place(at)
				places = append(places, place)
				if place >= 0 {
					if buckets[place].count == 0 {
						filled++
					}
					buckets[place].count++
				}
			}
		}
		if filled == 0 {
			continue
		}
		if across != nil {
			if err := across.fill(groups[id], buckets); err != nil {
				return nil, 0, err
			}
			for i, metric := range q.Metrics {
				clear(buckets)
				h.gather(metric, places, buckets)
				if err := across.add(groups[id], i, buckets); err != nil {
					return nil, 0, err
				}
			}
			continue
		}
		if rows += filled; rows > q.MaxRows {
			return nil, 0, fmt.Errorf("%w: over %d rows of %s", storage.ErrTooManyRows, q.MaxRows, recentLayout.family.Name)
		}
		for i, metric := range q.Metrics {
			clear(buckets)
			h.gather(metric, places, buckets)
			if one := grid.series(metric, id, buckets); len(one.Times) > 0 {
				found[i] = append(found[i], one)
			}
		}
		if some++; q.MaxSeries > 0 && some*len(q.Metrics) > q.MaxSeries {
			return nil, 0, fmt.Errorf("%w: over %d series of %s", storage.ErrTooManySeries, q.MaxSeries, recentLayout.family.Name)
		}
	}
	if across != nil {
		all, rows := across.finish()
		return all, rows, nil
	}
	return slices.Concat(found...), rows, nil
}

// newest is the time of the newest row of the hosts, below any other if there is none. It is called with mu held.
func (r *Recent) newest(hosts []storage.HostID) int64 {
	newest := int64(math.MinInt64)
	for _, id := range hosts {
		if h := r.hosts[id]; h != nil {
			for page := h.first; page != nil; page = page.later {
				newest = max(newest, page.newest)
			}
		}
	}
	return newest
}

// gather adds the readings of a metric to the buckets. places has that of each row, below 0 for none.
func (h *recentHost) gather(metric *catalogue.Metric, places []int32, buckets []bucket) {
	column := recentLayout.at[metric.Index] * pageRows
	for page := h.first; page != nil; page = page.later {
		words, upper := page.words[column:column+page.rows], []uint32(nil)
		if metric.Type == catalogue.Uint64 {
			upper = page.words[column+pageRows:]
		}
		for row, word := range words {
			place := places[row]
			if place < 0 {
				continue
			}
			var value float64
			switch {
			case upper != nil:
				bits := uint64(upper[row])<<32 | uint64(word)
				if bits == missing {
					continue
				}
				value = float64(bits)
			case word == math.MaxUint32:
				continue
			case metric.Type == catalogue.Float:
				value = float64(math.Float32frombits(word))
			default:
				value = float64(word)
			}
			b := &buckets[place]
			if b.count == 0 {
				b.least, b.greatest = value, value
			}
			b.sum += value
			b.count++
			b.least, b.greatest = min(b.least, value), max(b.greatest, value)
		}
		places = places[page.rows:]
	}
}

// grid finds the buckets of times.
type grid struct {
	from, to, step int64
	edges          []int64
	count          int
}

func newGrid(q storage.RangeQuery, border time.Time) grid {
	g := grid{from: border.UnixMilli(), to: q.To.UnixMilli(), step: q.Step.Milliseconds()}
	for _, edge := range q.Edges {
		if !edge.Before(border) {
			g.edges = append(g.edges, edge.UnixMilli())
		}
	}
	if g.count = int((g.to - g.from + g.step - 1) / g.step); len(g.edges) > 0 {
		g.count = len(g.edges) - 1
	}
	return g
}

// clip leaves the buckets after the newest row out, which have none: a range may reach far into the future.
func (g *grid) clip(newest int64) {
	if newest < g.to {
		g.count = int(g.place(newest)) + 1
	}
}

func (g *grid) place(at int64) int32 {
	if at < g.from || at >= g.to {
		return -1
	}
	if len(g.edges) == 0 {
		return int32((at - g.from) / g.step)
	}
	place, exact := slices.BinarySearch(g.edges, at)
	if !exact {
		place--
	}
	return int32(place)
}

// start is that of a bucket.
func (g *grid) start(place int) int64 {
	if len(g.edges) > 0 {
		return g.edges[place]
	}
	return g.from + int64(place)*g.step
}

// series leaves the buckets without a reading out.
func (g *grid) series(metric *catalogue.Metric, host storage.HostID, buckets []bucket) storage.Series {
	some := 0
	for i := range buckets {
		if buckets[i].count > 0 {
			some++
		}
	}
	values := make([]float64, 3*some)
	one := storage.Series{
		Metric: metric, Host: host, Times: make([]time.Time, 0, some),
		Avg: values[:0:some], Min: values[some : some : 2*some], Max: values[2*some : 2*some],
	}
	for i := range buckets {
		b := &buckets[i]
		if b.count == 0 {
			continue
		}
		one.Times = append(one.Times, time.UnixMilli(g.start(i)).UTC())
		one.Avg = append(one.Avg, b.sum/float64(b.count))
		one.Min, one.Max = append(one.Min, b.least), append(one.Max, b.greatest)
	}
	return one
}

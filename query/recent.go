package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// Recent answers the end of a range from memory.
type Recent interface {
	// Range returns the series from a border of buckets on, that border, and how many rows they are, counted as q.MaxRows is. The
	// border is q.To where there is nothing to be had.
	Range(ctx context.Context, q storage.RangeQuery) (series []storage.Series, border time.Time, rows int, err error)
}

// memory is what sources call the recent window.
const memory = "memory"

// readFamily reads the series of the query's family: the end of the range from memory, as far as it has it and the plan
// reads samples there, and the rest from storage. It tells what is read from storage, and whether something is from
// memory.
//
//	from            the last part that is raw   border          to
//	├─── 1m ───┼──────────── raw ─────────────────┼─── memory ───┤
func (s *Service) readFamily(ctx context.Context, query storage.RangeQuery) (series []storage.Series, parts []storage.Part, fromMemory bool, err error) {
	query = query.WithParts()
	recent, border, rows, err := s.readRecent(ctx, query)
	if err != nil {
		return nil, nil, false, err
	}
	fromMemory = border.Before(query.To)
	if !border.After(query.From) {
		return recent, nil, fromMemory, nil
	}
	query = before(query, border)
	query.MaxRows -= rows
	if series, err = s.options.Store.Range(ctx, query); err != nil {
		return nil, nil, false, err
	}
	return join(query, series, recent), query.Parts, fromMemory, nil
}

// readRecent reads the end of the query's range from memory. What rollups answer of hosts each by itself is left to them: their
// averages are rounded, and the answer must not depend on whether there is a window. Where hosts are combined it must not in its seven
// digits, and the minutes of a fleet's last hour take the database a fifth of a second.
func (s *Service) readRecent(ctx context.Context, query storage.RangeQuery) (series []storage.Series, border time.Time, rows int, err error) {
	last := query.Parts[len(query.Parts)-1]
	switch {
	case s.options.Recent == nil || last.Resolution != storage.Raw:
		return nil, query.To, 0, nil
	case query.Across != nil: // from any bucket on
	case len(query.Edges) > 0:
		first := slices.IndexFunc(query.Edges, func(edge time.Time) bool { return !edge.Before(last.From) })
		query.Edges = query.Edges[first:] // the last is To, which is after the part's start
		query.From = query.Edges[0]
	default:
		query.From = ceil(last.From, query.Step)
	}
	if !query.From.Before(query.To) {
		return nil, query.To, 0, nil
	}
	return s.options.Recent.Range(ctx, query)
}

// before cuts the query's range off at a border of buckets.
func before(query storage.RangeQuery, border time.Time) storage.RangeQuery {
	if !border.Before(query.To) {
		return query
	}
	var parts []storage.Part
	for _, part := range query.Parts {
		if part.From.Before(border) {
			if part.To.After(border) {
				part.To = border
			}
			parts = append(parts, part)
		}
	}
	query.To, query.Parts = border, parts
	if len(query.Edges) > 0 {
		query.Edges = query.Edges[:1+slices.IndexFunc(query.Edges, func(edge time.Time) bool { return !edge.Before(border) })]
	}
	return query
}

// join appends to each series of hosts its later part, and keeps the order of storage.
func join(query storage.RangeQuery, series, later []storage.Series) []storage.Series {
	if len(later) == 0 {
		return series
	}
	type key struct {
		place int
		host  storage.HostID
		group int32
	}
	of := func(one storage.Series) key { return key{slices.Index(query.Metrics, one.Metric), one.Host, one.Group} }
	places := make(map[key]int, len(series))
	for i, one := range series {
		places[of(one)] = i
	}
	for _, one := range later {
		i, found := places[of(one)]
		if !found {
			series = append(series, one)
			continue
		}
		first := &series[i]
		first.Times = append(first.Times, one.Times...)
		first.Avg, first.Min, first.Max = append(first.Avg, one.Avg...), append(first.Min, one.Min...), append(first.Max, one.Max...)
	}
	slices.SortFunc(series, func(a, b storage.Series) int {
		left, right := of(a), of(b)
		return cmp.Or(cmp.Compare(left.place, right.place), cmp.Compare(left.host, right.host), cmp.Compare(left.group, right.group))
	})
	return series
}

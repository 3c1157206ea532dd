package query

import (
	"context"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Limits of one range query beside those of its window.
const (
	maxMetrics = 64
	maxHostIDs = 10_000
	maxGroups  = 10_000
	maxGroupBy = 8
	maxGaps    = 1000 // more could not be told apart on a chart
	// maxTopOffset series of the earlier period are named to the database one by one, with up to four parameters each.
	maxTopOffset = 5000
)

// listInterval is how often agents list processes unless they are configured otherwise, which they do not tell. In a finer step hosts
// that list them seldom are missing.
const listInterval = 30 * time.Second

// QueryRange implements the contract.
func (s *Service) QueryRange(ctx context.Context, request *gohubv1.QueryRangeRequest) (*gohubv1.QueryRangeResponse, error) {
	picking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query, err := s.readQuery(picking, request)
	if err != nil {
		return nil, err
	}
	release, err := s.slots.take(ctx)
	if err != nil {
		return nil, s.statusOf(err)
	}
	defer release()
	ctx, cancel = context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.planQuery(ctx, query); err != nil {
		return nil, err
	}
	response, err := s.answer(ctx, query)
	if err != nil {
		return nil, s.statusOf(err)
	}
	// With the slot still taken: who waits for room has its answer in memory.
	if err := reserve(ctx, bytesOf(response.GetSeries())); err != nil {
		return nil, s.statusOf(err)
	}
	return response, nil
}

// chunkValues is about how many values a message of a streamed answer has: some 200 KB, and no series is split.
const chunkValues = 8192

// QueryRangeStream implements the contract.
func (s *Service) QueryRangeStream(request *gohubv1.QueryRangeStreamRequest, stream grpc.ServerStreamingServer[gohubv1.QueryRangeStreamResponse]) error {
	ctx, of := s.withShare(stream.Context())
	defer of.release()
	response, err := s.QueryRange(ctx, request.GetQuery())
	if err != nil {
		return err
	}
	// Send waits for who does not read, as long as the connection is there.
	defer time.AfterFunc(s.options.Limits.SendTimeout, cutter(ctx)).Stop()
	series := response.GetSeries()
	response.Series = nil
	part := response
	for {
		piece := &parcel{
			message: &gohubv1.QueryRangeStreamResponse{Part: part}, share: of.split(bytesOf(part.GetSeries())), cut: cutter(ctx), timeout: s.options.Limits.SendTimeout,
		}
		if err := stream.SendMsg(piece); err != nil {
			return err
		}
		if len(series) == 0 {
			return nil
		}
		count, values := 0, 0
		for count < len(series) && (count == 0 || values+len(series[count].GetTimes()) <= chunkValues) {
			values += len(series[count].GetTimes())
			count++
		}
		part = &gohubv1.QueryRangeResponse{Series: series[:count]}
		series = series[count:]
	}
}

// answer reads what the query asks for.
func (s *Service) answer(ctx context.Context, q *rangeQuery) (*gohubv1.QueryRangeResponse, error) {
	response := &gohubv1.QueryRangeResponse{
		From: seconds(q.from), To: seconds(q.to), Step: q.step.Seconds(), Source: q.source(), Resolution: q.resolution().String(), Notes: q.notes,
	}
	for _, part := range q.parts {
		response.Parts = append(response.Parts, &gohubv1.RangePart{Resolution: part.Resolution.String(), From: seconds(part.From), To: seconds(part.To)})
	}
	if len(q.hosts.hosts) == 0 {
		return response, nil // a selector may match nothing; to storage, no host would be all of them
	}
	var err error
	budget := &budget{values: s.options.Limits.Values, series: s.options.Limits.Series}
	if response.Series, err = s.readSeries(ctx, q, budget); err != nil {
		return nil, err
	}
	if budget.fromMemory {
		response.Source = strings.TrimPrefix(plan{parts: budget.parts}.source()+"+"+memory, "+")
	}
	if q.offset > 0 && (q.top == nil || len(budget.chosen) > 0) {
		earlier := *q
		earlier.plan = q.earlier
		if q.top != nil { // the period before is not ranked by itself, or else it would have other series
			earlier.top = &storage.Top{Series: q.top.Series, Metric: q.top.Metric, Chosen: budget.chosen}
		}
		series, err := s.readSeries(ctx, &earlier, budget)
		if err != nil {
			return nil, err
		}
		for _, one := range series {
			one.Offset = q.offset.Seconds()
			for i := range one.Times {
				one.Times[i] = float64(int64(math.Round(one.Times[i]*1000))+q.offset.Milliseconds()) / 1000
			}
		}
		response.Series = append(response.Series, series...)
	}
	if len(q.hosts.hosts) == 1 && !q.hosts.all {
		if response.Gaps, err = s.options.Store.Gaps(ctx, q.hosts.ids()[0], q.from, q.to, maxGaps); err != nil {
			return nil, err
		}
	}
	return response, nil
}

// budget is what is left of an answer's limits, and where the answer came from so far.
type budget struct {
	values, series int
	parts          []storage.Part
	fromMemory     bool
	// chosen are the series that were ranked first, where the query asks for the top.
	chosen []storage.SeriesKey
}

// note remembers what was read for a family: of the parts, which are those of the plan or less, the most.
func (b *budget) note(parts []storage.Part, fromMemory bool) {
	if len(parts) > len(b.parts) {
		b.parts = parts
	}
	b.fromMemory = b.fromMemory || fromMemory
}

// readSeries reads the query's series, and fails with storage.ErrTooManyRows or ErrTooManySeries as soon as there is more
// than an answer may have. It asks one family at a time, as a row of each makes another number of values.
func (s *Service) readSeries(ctx context.Context, q *rangeQuery, left *budget) ([]*gohubv1.Series, error) {
	query := storage.RangeQuery{
		Hosts: q.hosts.ids(), Metrics: q.metrics, From: q.from, To: q.to, Step: q.step, Edges: q.edges, Across: q.across, Top: q.top,
	}
	names := make(map[storage.HostID]string, len(q.hosts.hosts))
	for _, host := range q.hosts.hosts {
		names[storage.HostID(host.GetHostId())] = host.GetFacts().GetHostname()
	}
	var all []*gohubv1.Series
	read := func(query storage.RangeQuery, groups []map[string]string, labels readLabels) error {
		series, parts, fromMemory, err := s.readFamily(ctx, query)
		if err != nil {
			return err
		}
		left.note(parts, fromMemory)
		for _, found := range series {
			if query.Top != nil && len(query.Top.Chosen) == 0 && found.Metric == query.Top.Metric {
				left.chosen = append(left.chosen, storage.SeriesKey{Host: found.Host, Group: found.Group, Labels: found.Labels})
			}
			encoded := encodeSeries(found)
			if labels != nil {
				if err := showLabels(encoded, labels); err != nil {
					return err
				}
			}
			if found.Host != 0 {
				encoded.HostId, encoded.Hostname = uint32(found.Host), names[found.Host]
			} else if groups != nil {
				encoded.Group = groups[found.Group]
			}
			if q.fillNull {
				q.fillIn(encoded)
			}
			left.values -= len(encoded.Times)
			if left.series--; left.series < 0 {
				return storage.ErrTooManySeries
			}
			if left.values < 0 {
				return storage.ErrTooManyRows
			}
			all = append(all, encoded)
		}
		return nil
	}
	for _, selection := range query.Selections() {
		if query.Parts = q.parts; !storage.RolledUp(selection.Family) {
			query.Parts = nil
		}
		query.Metrics, query.MaxRows, query.MaxSeries = selection.Metrics, left.values/len(selection.Metrics), max(left.series, 1)
		if err := read(query, q.groups, nil); err != nil {
			return nil, err
		}
	}
	for i := range q.customs {
		one := &q.customs[i]
		query.Parts, query.MaxRows, query.MaxSeries = q.parts, left.values, max(left.series, 1)
		ofCustom, groups, labels, err := s.customQuery(ctx, q, one, query)
		if err != nil {
			return nil, err
		}
		if err := read(ofCustom, groups, labels); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// fillIn puts NaN into the buckets without a reading.
func (q *rangeQuery) fillIn(series *gohubv1.Series) {
	filled := &gohubv1.Series{}
	next := 0
	q.buckets(func(at time.Time) {
		value, least, greatest := math.NaN(), math.NaN(), math.NaN()
		if next < len(series.Times) && series.Times[next] == seconds(at) {
			value, least, greatest = series.Avg[next], series.Min[next], series.Max[next]
			next++
		}
		filled.Times = append(filled.Times, seconds(at))
		filled.Avg, filled.Min, filled.Max = append(filled.Avg, value), append(filled.Min, least), append(filled.Max, greatest)
	})
	series.Times, series.Avg, series.Min, series.Max = filled.Times, filled.Avg, filled.Min, filled.Max
}

func encodeSeries(series storage.Series) *gohubv1.Series {
	encoded := &gohubv1.Series{Metric: series.Metric.Name, Labels: map[string]string{}, Avg: series.Avg, Min: series.Min, Max: series.Max}
	for i, name := range series.LabelNames {
		encoded.Labels[name] = series.Labels[i]
	}
	encoded.Times = make([]float64, len(series.Times))
	for i, at := range series.Times {
		encoded.Times[i] = seconds(at)
	}
	if series.Metric.Type == catalogue.Float {
		for _, column := range [][]float64{series.Avg, series.Min, series.Max} {
			for i, value := range column {
				column[i] = catalogue.Round(value)
			}
		}
	}
	return encoded
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

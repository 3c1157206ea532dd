package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// rangeQuery is a request that was checked.
type rangeQuery struct {
	plan
	// metrics are those of the catalogue, customs the others.
	metrics []*catalogue.Metric
	customs []customMetric
	hosts   selection
	across  *storage.Across
	groupBy []string
	// groups has the values of each group's attributes, where the query asks for groups.
	groups []map[string]string
	top    *storage.Top
	offset time.Duration
	// chosen tells that the step was not asked for, and interval is how often most of the hosts take a sample.
	chosen   bool
	interval time.Duration
	// combined are the hosts of which a series of the answer may be together with others.
	combined selection
	// earlier is the plan of the period before, where offset is not 0.
	earlier  plan
	fillNull bool
	notes    []string
}

// readQuery checks a request. Its errors are statuses.
func (s *Service) readQuery(ctx context.Context, request *gohubv1.QueryRangeRequest) (*rangeQuery, error) {
	q := &rangeQuery{}
	var err error
	if q.metrics, q.customs, err = findMetrics(request.GetMetrics()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if q.hosts, err = s.selectHosts(ctx, request); err != nil {
		return nil, err
	}
	if err = q.readShape(request); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	usual, shortest := q.hosts.intervals()
	q.chosen, q.interval = request.GetStep() == 0, usual
	usual = max(usual, q.combined.longestInterval(patience))
	listed := slices.ContainsFunc(q.metrics, func(m *catalogue.Metric) bool { return m.Family.Ephemeral })
	if listed {
		usual = max(usual, listInterval)
	}
	if q.window, err = planWindow(request, usual, shortest, s.options.Now()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if listed && q.across != nil && q.step < listInterval {
		q.notes = append(q.notes, fmt.Sprintf("agents list processes every %s, so a point of %s has those of the hosts only that listed them in it; ask for a step of %[1]s or longer", listInterval, q.step))
	}
	if request.GetTimezone() != "" && q.calendar == nil {
		q.notes = append(q.notes, "timezone is not used: it says where days begin, and the step is no whole number of days")
	}
	return q, nil
}

// planQuery says where the query is read. Its errors are statuses.
func (s *Service) planQuery(ctx context.Context, q *rangeQuery) error {
	coverage, err := s.options.Store.Coverage(ctx)
	if err != nil {
		return s.statusOf(fmt.Errorf("read the rollups' coverage: %w", err))
	}
	ephemeral := 0
	for _, metric := range q.metrics {
		if !storage.RolledUp(metric.Family) {
			ephemeral++
		}
	}
	if ephemeral == len(q.metrics)+len(q.customs) {
		coverage = nil // there are samples only
	} else if ephemeral > 0 {
		q.notes = append(q.notes, "metrics of processes are read from samples, which are kept for less long: they are not rolled up")
	}
	q.plan = makePlan(q.window, coverage)
	if q.chosen && q.calendar == nil && q.offset == 0 {
		var thinned bool
		if q.plan, thinned = q.thin(len(q.hosts.hosts), q.interval, s.options.Now(), coverage); thinned {
			q.notes = append(q.notes, fmt.Sprintf("for so many hosts the step is %s, which takes less reading; ask for a step to have it finer", q.step))
		}
	}
	if q.offset > 0 {
		if q.calendar != nil {
			return status.Error(codes.InvalidArgument, "offset can not be combined with timezone or calendar, whose buckets are not all of one width; ask for the earlier range by from and to")
		}
		// Both periods have one step, or else they could not be laid over each other.
		q.earlier = makePlan(q.shift(-q.offset), coverage)
		if q.earlier.coarsened {
			coarsened := makePlan(q.widen(q.earlier.step), coverage)
			coarsened.coarsened = true
			q.plan = coarsened
		}
		if q.offset%q.step != 0 {
			return status.Errorf(codes.InvalidArgument, "offset (%s) is not a multiple of the step (%s), so the buckets of the two periods would not meet; ask for a step that divides it", q.offset, q.step)
		}
		q.earlier = makePlan(q.shift(-q.offset), coverage)
	}
	if q.coarsened {
		q.notes = append(q.notes, fmt.Sprintf("so far back nothing finer than %s is kept: the step is %s", max(q.resolution(), q.earlier.resolution()), q.step))
	}
	if rare := q.combined.rarerThan(q.step); rare > 0 {
		longest := q.combined.longestInterval(math.MaxInt64)
		q.notes = append(q.notes, fmt.Sprintf("%d of the %d hosts that are combined sample less often than every %s, and are missing from points; ask for a step of %s to have all hosts in each",
			rare, len(q.combined.hosts), q.step, longest))
	}
	return nil
}

// readShape reads how series are combined, ranked, compared and filled.
func (q *rangeQuery) readShape(request *gohubv1.QueryRangeRequest) error {
	if err := q.readAcross(request); err != nil {
		return err
	}
	if request.GetTop() > 0 {
		all := slices.Clone(q.metrics)
		for _, one := range q.customs {
			all = append(all, one.metric)
		}
		by := cmp.Or(request.GetTopBy(), request.GetMetrics()[0])
		i := slices.IndexFunc(all, func(m *catalogue.Metric) bool { return m.Name == by })
		if i < 0 {
			return fmt.Errorf("top_by is %q, which is none of the query's metrics", clip(by))
		}
		q.top = &storage.Top{Series: int(request.GetTop()), Metric: all[i]}
		for _, metric := range all {
			if metric != q.top.Metric && len(q.customs) > 0 {
				return fmt.Errorf("top compares series of one family, or of one custom metric, and not those of %s with those of %s; ask for them apart",
					clip(q.top.Metric.Name), clip(metric.Name))
			}
			if metric.Family != q.top.Metric.Family {
				return fmt.Errorf("top compares series of one family, and %s is of %s while %s is of %s; ask for them apart",
					q.top.Metric.Name, q.top.Metric.Family.Name, metric.Name, metric.Family.Name)
			}
		}
	} else if request.GetTopBy() != "" {
		return errors.New("top_by is given without top, the number of series")
	}
	offset := request.GetOffset()
	if math.IsNaN(offset) || offset < 0 || offset > longestRange.Seconds() {
		return fmt.Errorf("offset is %v, not a number of seconds up to %v", offset, longestRange.Seconds())
	}
	q.offset = time.Duration(math.Round(offset*1000)) * time.Millisecond
	if q.top != nil && q.offset > 0 && request.GetTop() > maxTopOffset {
		return fmt.Errorf("top is %d, and with offset the limit is %d", request.GetTop(), maxTopOffset)
	}
	switch request.GetFill() {
	case "", "none":
	case "null":
		q.fillNull = true
	default:
		return fmt.Errorf("fill is %q; it is none or null", clip(request.GetFill()))
	}
	return nil
}

var functions = map[string]storage.Function{
	"avg": storage.Mean, "min": storage.Least, "max": storage.Greatest, "sum": storage.Sum, "quantile": storage.Quantile,
}

func (q *rangeQuery) readAcross(request *gohubv1.QueryRangeRequest) error {
	by := request.GetGroupBy()
	name := request.GetAggregate()
	if len(by) > maxGroupBy {
		return fmt.Errorf("group_by has %d names, the limit is %d", len(by), maxGroupBy)
	}
	if name == "" && len(by) > 0 {
		name = "avg"
	}
	quantile := request.GetQuantile()
	if name != "quantile" && quantile != 0 {
		return errors.New("quantile is given without aggregate=quantile")
	}
	if name == "" {
		return nil
	}
	function, known := functions[name]
	if !known {
		return fmt.Errorf("aggregate is %q; it is one of avg, min, max, sum and quantile", clip(name))
	}
	if function == storage.Quantile && !(quantile > 0 && quantile <= 1) {
		return fmt.Errorf("quantile is %v; for aggregate=quantile it is above 0 and at most 1, as 0.95", quantile)
	}
	q.across = &storage.Across{Function: function, Quantile: quantile}
	q.groupBy = by
	var ofHosts []string
	for _, name := range by {
		switch {
		case q.isInstanceLabel(name):
			q.across.By = append(q.across.By, name)
		case !isName(name):
			return fmt.Errorf("group_by has %q, which is no name of a label or a fact", clip(name))
		default:
			ofHosts = append(ofHosts, name)
		}
	}
	if len(ofHosts) == 0 {
		q.combined = q.hosts.together(make([]int32, len(q.hosts.hosts)))
		return nil
	}
	var err error
	if q.across.Groups, q.groups, err = q.hosts.groups(ofHosts); err != nil {
		return err
	}
	// The numbers stand beside the hosts' ids.
	q.hosts.all = false
	groups := q.across.Groups
	if len(q.customs) > 0 { // whose series may have labels of these names, and then no host's tell them apart
		ofHosts = slices.DeleteFunc(ofHosts, func(name string) bool { return !label.Reserved(name) })
		groups, _, err = q.hosts.groups(ofHosts)
	}
	q.combined = q.hosts.together(groups)
	return err
}

// isInstanceLabel tells whether one of the metrics' families has the label.
func (q *rangeQuery) isInstanceLabel(name string) bool {
	return len(q.customs) > 0 && slices.ContainsFunc(catalogue.Custom().Labels, func(l catalogue.Label) bool { return l.Name == name }) || slices.ContainsFunc(q.metrics, func(m *catalogue.Metric) bool {
		return slices.ContainsFunc(m.Family.Labels, func(l catalogue.Label) bool { return l.Name == name })
	})
}

func isName(name string) bool {
	if name == "" || len(name) > 64 || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	for i := range len(name) {
		if !isNameByte(name[i]) {
			return false
		}
	}
	return true
}

// findMetrics looks the names up, and for an unknown one says which are like it.
func findMetrics(names []string) (metrics []*catalogue.Metric, customs []customMetric, err error) {
	if len(names) == 0 {
		return nil, nil, errors.New("metrics is empty: name at least one, as GET /api/v1/metrics lists them")
	}
	if len(names) > maxMetrics {
		return nil, nil, fmt.Errorf("%d metrics are over the limit of %d in one query", len(names), maxMetrics)
	}
	for i, name := range names {
		if strings.HasPrefix(name, customPrefix) {
			one, err := findCustom(name)
			if err != nil {
				return nil, nil, err
			}
			if !slices.Contains(names[:i], name) {
				customs = append(customs, one)
			}
			continue
		}
		metric, known := catalogue.MetricByName(name)
		if !known {
			return nil, nil, unknownMetric(name)
		}
		metrics = append(metrics, metric)
	}
	return metrics, customs, nil
}

func unknownMetric(name string) error {
	const customs = "; a custom metric is asked for as " + customPrefix + "NAME"
	if near := catalogue.Nearest(name); len(near) > 0 {
		return fmt.Errorf("there is no metric %q; the nearest are %s%s", clip(name), strings.Join(near, ", "), customs)
	}
	return fmt.Errorf("there is no metric %q; GET /api/v1/metrics lists them%s", clip(name), customs)
}

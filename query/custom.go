package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/proto/custom"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// customPrefix begins the names of custom metrics where metrics are asked for, so that none can be taken for one of the
// catalogue, nor a misspelt one of the catalogue for one of them.
const customPrefix = "custom:"

// customMetric is a custom metric that a query asks for.
type customMetric struct {
	// metric is that of the family custom, with the name that the query gives it.
	metric *catalogue.Metric
	name   string
	// series are the matchers of its series' labels, none for all.
	series selector
	// own are the names to group by that the series have as labels, known once the series are ranked: those chosen of them are looked
	// for by the same names in the period before.
	own map[string]bool
}

// findCustom reads what follows the prefix: a name, and perhaps matchers in braces, as queue_length{queue=~"in.*"}.
func findCustom(text string) (customMetric, error) {
	rest := strings.TrimPrefix(text, customPrefix)
	one := customMetric{name: rest}
	var err error
	if brace := strings.IndexByte(rest, '{'); brace >= 0 {
		one.name = rest[:brace]
		if one.series, err = parseSelector(rest[brace:]); err != nil {
			return one, fmt.Errorf("custom metric %q: %w", clip(text), err)
		}
	}
	if err := custom.CheckName(one.name); err != nil {
		return one, fmt.Errorf("custom metric %q: %w", clip(text), err)
	}
	metric := *catalogue.Custom().Metrics[0]
	metric.Name = text
	one.metric = &metric
	return one, nil
}

// readLabels reads the text of a custom series' labels.
type readLabels func(text string) ([]custom.Label, error)

// customQuery makes of the query for all metrics the one for a custom metric, tells the values of the groups of hosts, and
// how the text of an answer's labels is read.
//
// A series can be grouped by labels of its own and by those of its host, whose label it is grouped by where it has none of that name.
// Which have a name is known from the series.
func (s *Service) customQuery(ctx context.Context, q *rangeQuery, one *customMetric, query storage.RangeQuery) (storage.RangeQuery, []map[string]string, readLabels, error) {
	query.Metrics, query.Custom = []*catalogue.Metric{one.metric}, one.name
	read := readLabels(custom.Parse)
	names := slices.DeleteFunc(slices.Clone(q.groupBy), label.Reserved)
	if len(names) == 0 && len(one.series) == 0 {
		return query, q.groups, read, nil
	}
	texts, err := s.options.Store.CustomLabels(ctx, query)
	if err != nil {
		return query, nil, nil, err
	}
	var series [][]custom.Label
	query.Known = []storage.Relabelling{}
	own := map[string]bool{}
	for _, text := range texts {
		if err := ctx.Err(); err != nil {
			return query, nil, nil, err
		}
		labels, err := custom.Parse(text)
		if err != nil {
			return query, nil, nil, fmt.Errorf("labels of %s in the database: %w", one.name, err)
		}
		if !one.series.matches(valuesOf(labels)) {
			continue
		}
		query.Known = append(query.Known, storage.Relabelling{From: text, To: text})
		series = append(series, labels)
		for _, l := range labels {
			own[l.Name] = own[l.Name] || slices.Contains(names, l.Name)
		}
	}
	if query.Top != nil && len(query.Top.Chosen) > 0 {
		own = one.own
	}
	one.own = own
	if !slices.ContainsFunc(names, func(name string) bool { return own[name] }) {
		return query, q.groups, read, nil
	}
	// What a series lacks of these it has of its host, if one has any of them.
	fallen := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !own[name] })
	if query.HostParts = q.hosts.parts(fallen); query.HostParts != nil {
		read = func(text string) ([]custom.Label, error) { return unquoted(fallen, text) }
	}
	for i, labels := range series {
		if query.HostParts != nil {
			query.Known[i].To, query.Known[i].Parts = "", quoted(fallen, valuesOf(labels))
			continue
		}
		kept := slices.DeleteFunc(labels, func(l custom.Label) bool { return !own[l.Name] })
		if query.Known[i].To, err = custom.Format(kept); err != nil {
			return query, nil, nil, fmt.Errorf("labels of %s in the database: %w", one.name, err)
		}
	}
	across := *q.across
	across.By = append(slices.Clone(across.By), catalogue.Custom().Labels[1].Name)
	query.Across = &across
	ofHosts := slices.DeleteFunc(slices.Clone(q.groupBy), func(name string) bool { return own[name] || q.isInstanceLabel(name) })
	if across.Groups = nil; len(ofHosts) == 0 {
		return query, nil, read, nil
	}
	var groups []map[string]string
	across.Groups, groups, err = q.hosts.groups(ofHosts)
	return query, groups, read, err
}

func valuesOf(labels []custom.Label) attributes {
	return func(name string) string {
		for _, l := range labels {
			if l.Name == name {
				return l.Value
			}
		}
		return ""
	}
}

// parts are the hosts' values of labels, quoted; nil if no host has one of the labels.
func (s selection) parts(names []string) [][]string {
	all, some := make([][]string, len(s.hosts)), false
	for i, host := range s.hosts {
		all[i] = quoted(names, attributesOf(host, host.GetStatus()))
		for j, part := range all[i] {
			if some = some || part != ""; part == "" {
				all[i][j] = `""`
			}
		}
	}
	if !some {
		return nil
	}
	return all
}

// quoted are values that can be told apart where they stand one behind the other; what has no value is empty.
func quoted(names []string, of attributes) []string {
	parts := make([]string, len(names))
	for i, name := range names {
		if value := of(name); value != "" {
			parts[i] = strconv.Quote(value)
		}
	}
	return parts
}

// unquoted are labels of the names, read from their values as quoted has made them.
func unquoted(names []string, text string) ([]custom.Label, error) {
	var labels []custom.Label
	for _, name := range names {
		part, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, err
		}
		value, err := strconv.Unquote(part)
		if err != nil {
			return nil, err
		}
		if text = text[len(part):]; value != "" {
			labels = append(labels, custom.Label{Name: name, Value: value})
		}
	}
	return labels, nil
}

// showLabels puts the labels of a custom series in the place of their text.
func showLabels(series *gohubv1.Series, read readLabels) error {
	text := series.Labels[catalogue.Custom().Labels[1].Name]
	labels, err := read(text)
	if err != nil {
		return fmt.Errorf("labels of %s in the database: %w", series.Metric, err)
	}
	series.Labels = make(map[string]string, len(labels))
	for _, l := range labels {
		series.Labels[l.Name] = l.Value
	}
	return nil
}

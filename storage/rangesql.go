package storage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RangeDialect is what the range statements of the two databases differ in. Each function takes placeholders, never values:
// what comes from outside reaches a statement as a parameter only.
type RangeDialect struct {
	// Placeholder of the n-th parameter, from 1.
	Placeholder func(n int) string
	// Time, Width, Hosts, Pairs and Times make of Go values what is bound: a time, the width of a bucket, a list of hosts, hosts
	// with the numbers of their groups (as many parameters as PairsTable takes), and a list of times.
	Time  func(time.Time) any
	Width func(time.Duration) any
	Hosts func([]HostID) any
	Pairs func([]HostID, []int32) []any
	Times func([]time.Time) any
	// Bucket is the start of the bucket that a row's time is in, for buckets of one width.
	Bucket func(width string) string
	// BucketOf is the same for buckets between a list of times.
	BucketOf func(times string) string
	// Instant is the start of a bucket that is bound as a time.
	Instant func(time string) string
	// Millis makes Unix milliseconds of a bucket's start.
	Millis func(bucket string) string
	// AmongHosts tells whether a row's host_id is in a list.
	AmongHosts func(hosts string) string
	// EveryHost is a condition that all rows meet, which makes the database use its index on hosts; empty if none is needed.
	EveryHost string
	// PairsTable is a table with the columns host_id and grp.
	PairsTable func(pairs []string) string
	// Texts makes what is bound of relabellings with so many parts, in as many parameters as TextsTable takes, which is a table with
	// the columns labels, becomes, and own0 and on, the parts.
	Texts      func(texts []Relabelling, parts int) []any
	TextsTable func(texts []string, parts int) string
	// HostParts is the same for the parts of hosts. HostPartsTable has the columns host_id, and part0 and on.
	HostParts      func(hosts []HostID, all [][]string, parts int) []any
	HostPartsTable func(all []string, parts int) string
	// Quantile aggregates an expression.
	Quantile func(expression, quantile string) string
	// Collate makes texts sort by their bytes.
	Collate string
}

// statement collects a statement's parameters while its text is written.
type statement struct {
	RangeDialect
	args []any
}

func (s *statement) arg(value any) string {
	s.args = append(s.args, value)
	return s.Placeholder(len(s.args))
}

// bind adds several parameters.
func (s *statement) bind(values []any) []string {
	placeholders := make([]string, len(values))
	for i, value := range values {
		placeholders[i] = s.arg(value)
	}
	return placeholders
}

// SQL returns the statement that answers the selection, and its parameters. Every name in it comes from the catalogue. Its
// rows have the bucket's start in Unix milliseconds, the host or the group, the labels, and for each metric the average, the
// minimum and the maximum.
//
// It is built of subqueries, each on top of the one before:
//
//	parts    for each part of the range: a row a bucket, host and instance, with sum, count, minimum and maximum
//	merged   the parts together, where there are several: a bucket at a border is in two
//	series   the same with averages
//	combined across hosts and instances, where the query asks for it
//	first    the series to keep, where the query asks for the top
func (s Selection) SQL(dialect RangeDialect) (string, []any) {
	w := &statement{RangeDialect: dialect}
	labels := list(s.labels())
	key := "host_id"
	sql := s.series(w)
	if s.query.Across != nil {
		key = "grp"
		sql = s.combined(w, sql)
	}
	from := "(" + sql + ") AS combined"
	with := ""
	if top := s.query.Top; top != nil && len(top.Chosen) > 0 {
		with = fmt.Sprintf("WITH combined AS (%s), first(%s%s) AS (%s) ", sql, key, labels, s.chosen(w))
		from = fmt.Sprintf("combined JOIN first USING (%s%s)", key, labels)
	} else if top != nil {
		var place int
		for i, metric := range s.Metrics {
			if metric == top.Metric {
				place = i
			}
		}
		with = fmt.Sprintf("WITH combined AS (%s), first AS (SELECT %s%s FROM combined GROUP BY %s%s HAVING avg(v%d) IS NOT NULL ORDER BY avg(v%d) DESC, %s%s LIMIT %s) ",
			sql, key, labels, key, labels, place, place, key, labels, w.arg(top.Series))
		from = fmt.Sprintf("combined JOIN first USING (%s%s)", key, labels)
	}
	var columns, order strings.Builder
	for i := range s.Metrics {
		fmt.Fprintf(&columns, ", v%d, l%d, h%d", i, i, i)
	}
	for _, label := range s.labels() {
		order.WriteString(", " + label + w.Collate)
	}
	return fmt.Sprintf("%sSELECT %s, %s%s%s FROM %s ORDER BY %s%s, bucket LIMIT %s",
		with, w.Millis("bucket"), key, labels, columns.String(), from, key, order.String(), w.arg(s.query.MaxRows+1)), w.args
}

// chosen is a row for each series that another query has ranked.
func (s Selection) chosen(w *statement) string {
	var rows []string
	for _, one := range s.query.Top.Chosen {
		key := int64(one.Host)
		if s.query.Across != nil {
			key = int64(one.Group)
		}
		row := "CAST(" + w.arg(key) + " AS bigint)"
		for _, label := range one.Labels {
			row += ", CAST(" + w.arg(label) + " AS text)"
		}
		rows = append(rows, "("+row+")")
	}
	return "VALUES " + strings.Join(rows, ", ")
}

// series is a row a bucket, host and instance: the average, the minimum and the maximum of each metric.
func (s Selection) series(w *statement) string {
	var all []string
	for _, label := range s.Family.Labels {
		all = append(all, label.Name)
	}
	labels := list(all)
	var stretches []string
	for _, part := range s.query.Parts {
		stretches = append(stretches, s.part(w, part, labels))
	}
	sql := stretches[0]
	if len(stretches) > 1 {
		var columns strings.Builder
		for i := range s.Metrics {
			fmt.Fprintf(&columns, ", sum(s%d) AS s%d, sum(c%d) AS c%d, min(l%d) AS l%d, max(h%d) AS h%d", i, i, i, i, i, i, i, i)
		}
		sql = fmt.Sprintf("SELECT bucket, host_id%s%s FROM (%s) AS parts GROUP BY bucket, host_id%s",
			labels, columns.String(), strings.Join(stretches, " UNION ALL "), labels)
	}
	var columns strings.Builder
	for i := range s.Metrics {
		fmt.Fprintf(&columns, ", s%d / nullif(c%d, 0) AS v%d, l%d, h%d", i, i, i, i, i)
	}
	if s.query.Known == nil {
		return fmt.Sprintf("SELECT bucket, host_id%s%s FROM (%s) AS merged", labels, columns.String(), sql)
	}
	parts := s.query.parts()
	becomes, group, from := "becomes", "", fmt.Sprintf("(%s) AS merged JOIN %s USING (labels)", sql, w.TextsTable(w.bind(w.Texts(s.query.Known, parts)), parts))
	if parts > 0 {
		of, columns := s.query.HostParts, parts
		if s.groupsWithParts() { // in one list, as SQLite goes through all pairs of two
			of, columns = make([][]string, len(of)), parts+1
			for i, host := range s.query.HostParts {
				of[i] = append(slices.Clone(host), strconv.Itoa(int(s.query.Across.Groups[i])))
			}
			group = fmt.Sprintf(", CAST(part%d AS integer) AS grp", parts)
		}
		from += fmt.Sprintf(" JOIN %s USING (host_id)", w.HostPartsTable(w.bind(w.HostParts(s.query.Hosts, of, columns)), columns))
	}
	for i := range parts {
		becomes += fmt.Sprintf(" || coalesce(nullif(own%d, ''), part%d)", i, i)
	}
	return fmt.Sprintf("SELECT bucket, host_id, name, %s AS labels%s%s FROM %s", becomes, group, columns.String(), from)
}

// groupsWithParts tells whether the hosts' groups come with their parts.
func (s Selection) groupsWithParts() bool {
	return s.query.Known != nil && s.query.parts() > 0 && s.query.Across != nil && len(s.query.Across.Groups) > 0
}

// LabelsSQL returns the statement that lists the labels which series of the query's custom metric have, as texts.
func (s Selection) LabelsSQL(dialect RangeDialect) (string, []any) {
	w := &statement{RangeDialect: dialect}
	var parts []string
	for _, part := range s.query.Parts {
		parts = append(parts, fmt.Sprintf("SELECT labels FROM %s WHERE %s", part.Resolution.Relation(s.Family), s.condition(w, part)))
	}
	return fmt.Sprintf("SELECT labels FROM (%s) AS parts GROUP BY labels ORDER BY labels%s LIMIT %s",
		strings.Join(parts, " UNION ALL "), w.Collate, w.arg(s.query.MaxSeries+1)), w.args
}

// condition bounds a part's rows.
func (s Selection) condition(w *statement, part Part) string {
	hosts := ""
	switch {
	case len(s.query.Hosts) > 0:
		hosts = w.AmongHosts(w.arg(w.Hosts(s.query.Hosts))) + " AND "
	case w.EveryHost != "":
		hosts = w.EveryHost + " AND "
	}
	if s.query.Custom != "" {
		hosts += "name = " + w.arg(s.query.Custom) + " AND "
	}
	return fmt.Sprintf("%stime >= %s AND time < %s", hosts, w.arg(w.Time(part.From)), w.arg(w.Time(part.To)))
}

// part is a row a bucket, host and instance of one part of the range.
func (s Selection) part(w *statement, part Part, labels string) string {
	if len(s.query.Edges) == 0 && s.query.Step == part.Resolution.Step() {
		return s.rolledUp(w, part, labels)
	}
	bucket, by := "", "1, host_id"
	first, last := s.query.bucketOf(part.From), s.query.bucketOf(part.To.Add(-time.Millisecond))
	switch {
	case first.Equal(last): // there is nothing to find out for each row
		bucket, by = w.Instant(w.arg(w.Time(first))), "host_id"
	case len(s.query.Edges) > 0:
		bucket = w.BucketOf(w.arg(w.Times(s.query.Edges)))
	default:
		bucket = w.Bucket(w.arg(w.Width(s.query.Step)))
	}
	var columns strings.Builder
	for i, metric := range s.Metrics {
		sum, count, least, greatest := "sum(CAST("+metric.Column+" AS double precision))", "count("+metric.Column+")", "min("+metric.Column+")", "max("+metric.Column+")"
		if part.Resolution != Raw {
			sum = fmt.Sprintf("sum(%s * %s)", Avg.Column(metric), Count.Column(metric))
			count = "sum(" + Count.Column(metric) + ")"
			least, greatest = "min("+Min.Column(metric)+")", "max("+Max.Column(metric)+")"
		}
		fmt.Fprintf(&columns, ", %s AS s%d, %s AS c%d, CAST(%s AS double precision) AS l%d, CAST(%s AS double precision) AS h%d", sum, i, count, i, least, i, greatest, i)
	}
	return fmt.Sprintf("SELECT %s AS bucket, host_id%s%s FROM %s WHERE %s GROUP BY %s%s",
		bucket, labels, columns.String(), part.Resolution.Relation(s.Family), s.condition(w, part), by, labels)
}

// rolledUp is the same of a part whose rows are the buckets.
func (s Selection) rolledUp(w *statement, part Part, labels string) string {
	var columns strings.Builder
	for i, metric := range s.Metrics {
		average, count := Avg.Column(metric), Count.Column(metric)
		fmt.Fprintf(&columns, ", %s * %s AS s%d, CAST(%s AS bigint) AS c%d, CAST(%s AS double precision) AS l%d, CAST(%s AS double precision) AS h%d",
			average, count, i, count, i, Min.Column(metric), i, Max.Column(metric), i)
	}
	return fmt.Sprintf("SELECT time AS bucket, host_id%s%s FROM %s WHERE %s", labels, columns.String(), part.Resolution.Relation(s.Family), s.condition(w, part))
}

// combined is a row a bucket and group.
func (s Selection) combined(w *statement, series string) string {
	across := s.query.Across
	var columns strings.Builder
	for i := range s.Metrics {
		value, least, greatest := "", "min", "max"
		v := fmt.Sprintf("v%d", i)
		switch across.Function {
		case Least:
			value = "min(" + v + ")"
		case Greatest:
			value = "max(" + v + ")"
		case Sum:
			value, least, greatest = "sum("+v+")", "sum", "sum"
		case Quantile:
			value = w.Quantile(v, w.arg(across.Quantile))
		default:
			value = "avg(" + v + ")"
		}
		fmt.Fprintf(&columns, ", %s AS v%d, %s(l%d) AS l%d, %s(h%d) AS h%d", value, i, least, i, i, greatest, i, i)
	}
	from, group, by := "("+series+") AS series", "0 AS grp", ""
	switch {
	case s.groupsWithParts():
		group, by = "grp", ", grp"
	case len(across.Groups) > 0:
		from += " JOIN " + w.PairsTable(w.bind(w.Pairs(s.query.Hosts, across.Groups))) + " USING (host_id)"
		group, by = "grp", ", grp"
	}
	labels := list(s.labels())
	return fmt.Sprintf("SELECT bucket, %s%s%s FROM %s GROUP BY bucket%s%s", group, labels, columns.String(), from, by, labels)
}

// list is names with a comma before each.
func list(names []string) string {
	var text strings.Builder
	for _, name := range names {
		text.WriteString(", " + name)
	}
	return text.String()
}

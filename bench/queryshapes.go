package bench

import (
	"fmt"
	"strings"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// question is asked of GoHub and, in other words, of the database.
type question struct {
	name string
	// metrics are names in the API, which for the host family are the columns' too.
	metrics []string
	// request is the i-th one; nil asks for the latest values of all hosts.
	request func(i int) *gohubv1.QueryRangeRequest
	// sql is the same as plain SQL on samples; nil where there is nothing to compare.
	sql func(i int) string
	// greatest takes the answer's maxima instead of its averages, and over only what is greater.
	greatest bool
	over     float64
}

// Names of the questions that have targets.
const (
	hostDay         = "one host, 24 h, up to 500 points"
	longRange       = "deep hosts by site, all days, up to 500 points"
	groupHourly     = "fleet by site, 12 h, hourly"
	groupPoints     = "fleet by site, 12 h, each 2 minutes"
	hostHourLive    = "one host, last hour, under ingest"
	latestLive      = "latest of all hosts, under ingest"
	groupHourlyLive = groupHourly + ", under ingest"
	groupPointsLive = "fleet by site, 12 h, no step asked, under ingest"
)

const cpu = "cpu_usage_percent"

// devops are the five metrics that the shapes of TSBS's devops queries read.
var devops = []string{cpu, "cpu_user_percent", "cpu_system_percent", "cpu_iowait_percent", "load1"}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func between(from, to time.Time) string {
	return fmt.Sprintf("time >= '%s' AND time < '%s'", from.Format(time.RFC3339), to.Format(time.RFC3339))
}

// bucket is a select list's first column.
func bucket(width string) string {
	return "(extract(epoch FROM time_bucket('" + width + "', time, TIMESTAMPTZ 'epoch')) * 1000)::bigint"
}

// each makes one column a metric.
func each(metrics []string, format string) string {
	columns := make([]string, len(metrics))
	for i, metric := range metrics {
		columns[i] = fmt.Sprintf(format, metric)
	}
	return strings.Join(columns, ", ")
}

// bySite is plain SQL for the average of hosts' averages.
func bySite(width, where string) string {
	return "SELECT bucket, value, avg(v) FROM (SELECT " + bucket(width) + " AS bucket, host_id, avg(" + cpu + "::float8) AS v FROM host_samples WHERE " + where +
		" GROUP BY 1, 2) AS hosts JOIN host_labels USING (host_id) WHERE name = 'site' GROUP BY 1, 2"
}

// questions are those about what was filled, of which every answer is known.
func (f *filled) questions(o *Options) []question {
	end := f.end.Truncate(time.Hour)
	deepDays := f.end.Truncate(24 * time.Hour)
	deep := f.hosts[:min(o.Query.DeepHosts, len(f.hosts))]
	host := func(i int) uint32 { return uint32(deep[i%len(deep)]) }
	// What spans less than the fleet's hours may begin anywhere in them.
	shifted := func(i int) time.Time { return end.Add(-time.Duration(i%20) * time.Minute) }
	some := func(i, count int) (ids []uint32, list string) {
		var texts []string
		for j := range count {
			id := uint32(f.hosts[(i*17+j*31)%len(f.hosts)])
			ids, texts = append(ids, id), append(texts, fmt.Sprint(id))
		}
		return ids, "host_id IN (" + strings.Join(texts, ", ") + ")"
	}
	hours := time.Duration(min(o.Query.Hours, 12)) * time.Hour
	fleetBy := func(step float64) func(int) *gohubv1.QueryRangeRequest {
		return func(int) *gohubv1.QueryRangeRequest {
			return &gohubv1.QueryRangeRequest{Selector: "*", GroupBy: []string{"site"}, Metrics: []string{cpu}, From: unix(end.Add(-hours)), To: unix(end), Step: step}
		}
	}
	return []question{
		{
			name: hostDay, metrics: []string{cpu},
			request: func(i int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{HostId: host(i), Metrics: []string{cpu}, From: unix(end.Add(-24 * time.Hour)), To: unix(end), MaxPoints: 500}
			},
			sql: func(i int) string {
				return "SELECT " + bucket("5 minutes") + ", host_id::text, avg(" + cpu + "::float8) FROM host_samples WHERE host_id = " + fmt.Sprint(host(i)) + " AND " +
					between(end.Add(-24*time.Hour), end) + " GROUP BY 1, 2"
			},
		},
		{
			name: groupHourly, metrics: []string{cpu}, request: fleetBy(3600),
			sql: func(int) string { return bySite("1 hour", between(end.Add(-hours), end)) },
		},
		{
			name: groupPoints, metrics: []string{cpu}, request: fleetBy(120),
			sql: func(int) string { return bySite("2 minutes", between(end.Add(-hours), end)) },
		},
		{
			name: longRange, metrics: []string{cpu},
			request: func(int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{HostIds: hostIDs(deep), GroupBy: []string{"site"}, Metrics: []string{cpu}, From: unix(f.deep), To: unix(deepDays), Step: deepStep(o).Seconds()}
			},
			sql: func(int) string {
				return bySite(fmt.Sprintf("%d seconds", int(deepStep(o).Seconds())), inList(deep)+" AND "+between(f.deep, deepDays))
			},
		},
		{
			name: "single-groupby-1-1-1", metrics: []string{cpu}, greatest: true,
			request: func(i int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{HostId: host(i), Metrics: []string{cpu}, From: unix(shifted(i).Add(-time.Hour)), To: unix(shifted(i)), Step: 60}
			},
			sql: func(i int) string {
				return "SELECT " + bucket("1 minute") + ", host_id::text, max(" + cpu + ")::float8 FROM host_samples WHERE host_id = " + fmt.Sprint(host(i)) + " AND " +
					between(shifted(i).Add(-time.Hour), shifted(i)) + " GROUP BY 1, 2"
			},
		},
		{
			name: "single-groupby-5-8-1", metrics: devops, greatest: true,
			request: func(i int) *gohubv1.QueryRangeRequest {
				ids, _ := some(i, 8)
				return &gohubv1.QueryRangeRequest{HostIds: ids, Aggregate: "max", Metrics: devops, From: unix(shifted(i).Add(-time.Hour)), To: unix(shifted(i)), Step: 60}
			},
			sql: func(i int) string {
				_, among := some(i, 8)
				return "SELECT " + bucket("1 minute") + ", '', " + each(devops, "max(%s)::float8") + " FROM host_samples WHERE " + among + " AND " +
					between(shifted(i).Add(-time.Hour), shifted(i)) + " GROUP BY 1"
			},
		},
		{
			name: "double-groupby-1", metrics: []string{cpu},
			request: func(int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{Selector: "*", Metrics: []string{cpu}, From: unix(end.Add(-hours)), To: unix(end), Step: 3600}
			},
			sql: func(int) string {
				return "SELECT " + bucket("1 hour") + ", host_id::text, avg(" + cpu + "::float8) FROM host_samples WHERE " + between(end.Add(-hours), end) + " GROUP BY 1, host_id"
			},
		},
		{
			name: "cpu-max-all-8", metrics: devops, greatest: true,
			request: func(i int) *gohubv1.QueryRangeRequest {
				ids, _ := some(i, 8)
				return &gohubv1.QueryRangeRequest{HostIds: ids, Aggregate: "max", Metrics: devops, From: unix(end.Add(-min(hours, 8*time.Hour))), To: unix(end), Step: 3600}
			},
			sql: func(i int) string {
				_, among := some(i, 8)
				return "SELECT " + bucket("1 hour") + ", '', " + each(devops, "max(%s)::float8") + " FROM host_samples WHERE " + among + " AND " +
					between(end.Add(-min(hours, 8*time.Hour)), end) + " GROUP BY 1"
			},
		},
		{
			// The API has no filter by value: the asker picks.
			name: "high-cpu-1", metrics: []string{cpu}, over: 50, greatest: true,
			request: func(i int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{HostId: host(i), Metrics: []string{cpu}, From: unix(end.Add(-hours)), To: unix(end), Step: max(o.Interval, time.Minute).Seconds()}
			},
			sql: func(i int) string {
				return "SELECT (extract(epoch FROM time) * 1000)::bigint, host_id::text, " + cpu + "::float8 FROM host_samples WHERE host_id = " + fmt.Sprint(host(i)) +
					" AND " + cpu + " > 50 AND " + between(end.Add(-hours), end)
			},
		},
		{
			name: "lastpoint", metrics: []string{cpu},
			sql: func(int) string {
				return "SELECT DISTINCT ON (host_id) (extract(epoch FROM time) * 1000)::bigint, host_id::text, " + cpu + "::float8 FROM host_samples ORDER BY host_id, time DESC"
			},
		},
		{
			name: "groupby-orderby-limit", metrics: []string{cpu}, greatest: true,
			request: func(int) *gohubv1.QueryRangeRequest {
				return &gohubv1.QueryRangeRequest{Selector: "*", Aggregate: "max", Metrics: []string{cpu}, From: unix(end.Add(-5 * time.Minute)), To: unix(end), Step: 60}
			},
			sql: func(int) string {
				return "SELECT " + bucket("1 minute") + " AS minute, '', max(" + cpu + ")::float8 FROM host_samples WHERE time < '" + end.Format(time.RFC3339) +
					"' GROUP BY minute ORDER BY minute DESC LIMIT 5"
			},
		},
	}
}

// liveQuestions are about now.
func (f *filled) liveQuestions(o *Options) []question {
	hours := time.Duration(min(o.Query.Hours, 12)) * time.Hour
	fleetBy := func(step float64) func(int) *gohubv1.QueryRangeRequest {
		return func(int) *gohubv1.QueryRangeRequest {
			return &gohubv1.QueryRangeRequest{Selector: "*", GroupBy: []string{"site"}, Metrics: []string{cpu}, From: unix(time.Now().Add(-hours)), Step: step}
		}
	}
	return []question{
		{name: hostHourLive, metrics: []string{cpu}, request: func(i int) *gohubv1.QueryRangeRequest {
			return &gohubv1.QueryRangeRequest{HostId: uint32(f.hosts[i*13%len(f.hosts)]), Metrics: []string{cpu}}
		}},
		{name: latestLive, metrics: []string{cpu}},
		{name: groupHourlyLive, metrics: []string{cpu}, request: fleetBy(3600)},
		{name: groupPointsLive, metrics: []string{cpu}, request: fleetBy(0)},
	}
}

// deepStep makes at most 500 points of the deep hosts' days.
func deepStep(o *Options) time.Duration {
	days := time.Duration(o.Query.DeepDays) * 24 * time.Hour
	for _, step := range []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour} {
		if days <= 500*step {
			return step
		}
	}
	return 24 * time.Hour
}

func hostIDs(hosts []storage.HostID) (ids []uint32) {
	for _, host := range hosts {
		ids = append(ids, uint32(host))
	}
	return ids
}

func inList(hosts []storage.HostID) string {
	var texts []string
	for _, host := range hosts {
		texts = append(texts, fmt.Sprint(host))
	}
	return "host_id IN (" + strings.Join(texts, ", ") + ")"
}

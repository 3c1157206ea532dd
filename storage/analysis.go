package storage

import (
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// View is one of the views that analysts read: analysis.NAME, or analysis_NAME where the database has no schemas.
type View struct{ Name, Query string }

// ViewDialect is what the queries of views differ in between the two databases.
type ViewDialect struct {
	// Hosts is the query of the view of hosts, which has host_id and HostColumns; HostsView is that view's name.
	Hosts, HostsView string
	// Time is the columns of a row's time, of the relation s.
	Time string
}

// hostColumns are those of the view of hosts that every row of samples has too.
const hostColumns = "h.hostname, h.labels, h.os, h.platform, h.platform_version, h.arch"

// Views returns the views of the catalogue, that of hosts first: then one a family and resolution, as hosts_1h. They use only
// names of the catalogue.
func (d ViewDialect) Views() []View {
	views := []View{{Name: "hosts", Query: d.Hosts}}
	for _, family := range catalogue.Families() {
		for _, r := range Resolutions {
			if r == Raw || RolledUp(family) {
				views = append(views, View{Name: viewName(family, r), Query: d.query(family, r)})
			}
		}
	}
	return views
}

func viewName(family *catalogue.Family, r Resolution) string {
	plural := family.Name + "s"
	if strings.HasSuffix(family.Name, "s") {
		plural = family.Name + "es"
	}
	return plural + "_" + r.String()
}

func (d ViewDialect) query(family *catalogue.Family, r Resolution) string {
	columns := []string{d.Time, "s.host_id", hostColumns}
	for _, label := range family.Labels {
		column := "s." + label.Name
		if label.Name == "labels" { // of a custom series; the host's have the name
			column += " AS series_labels"
		}
		columns = append(columns, column)
	}
	for _, metric := range family.Metrics {
		if r == Raw {
			columns = append(columns, "s."+metric.Column)
			continue
		}
		for _, of := range []Rollup{Avg, Min, Max, Count, Last} {
			columns = append(columns, "s."+of.Column(metric))
		}
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + r.Relation(family) + " AS s JOIN " + d.HostsView + " AS h ON h.host_id = s.host_id"
}

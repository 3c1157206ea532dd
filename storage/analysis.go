package storage

import (
	"slices"
	"strings"
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
var hostColumns = []string{"hostname", "labels", "os", "platform", "platform_version", "arch"}

// Views returns the views of the catalogue, that of hosts first: then one a family and resolution, as hosts_1h. They use only
// names of the catalogue.
func (d ViewDialect) Views() []View {
	views := []View{{Name: "hosts", Query: d.Hosts}}
	for _, table := range Tables(Resolutions[:]...) {
		views = append(views, View{Name: viewName(table), Query: d.query(table)})
	}
	return views
}

func viewName(table Table) string {
	plural := table.Family.Name + "s"
	if strings.HasSuffix(table.Family.Name, "s") {
		plural = table.Family.Name + "es"
	}
	return plural + "_" + table.Resolution.String()
}

func (d ViewDialect) query(table Table) string {
	family, r := table.Family, table.Resolution
	columns := []string{d.Time, "s.host_id", "h." + strings.Join(hostColumns, ", h.")}
	for _, label := range family.Labels {
		column := "s." + label.Name
		if slices.Contains(hostColumns, label.Name) {
			column += " AS series_" + label.Name
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
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + table.Name() + " AS s JOIN " + d.HostsView + " AS h ON h.host_id = s.host_id"
}

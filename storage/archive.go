package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
)

// ErrImportedElsewhere: another import is at the same file.
var ErrImportedElsewhere = errors.New("another import is at the same file")

// Archive is what export and import need of a store, beside Store. Both drivers' stores have it. Rows go in and out as they are
// stored, in the order of a table's columns.
type Archive interface {
	// ArchivedHosts returns every host, by id.
	ArchivedHosts(ctx context.Context) ([]ArchivedHost, error)
	// Extent is from the oldest row of the hosts to just after the newest; zero where there is none.
	Extent(ctx context.Context, table Table, hosts []HostID) (Span, error)
	// ReadRows yields the rows of hosts in a span, in order of host, time and labels. A row is valid until yield returns, whose
	// error ends the reading and is returned.
	ReadRows(ctx context.Context, table Table, hosts []HostID, span Span, yield func([]Cell) error) error

	// ImportHosts makes those hosts that are not there, known by their agents, and returns the ids of all. What is there already
	// stays: facts, labels and cursors. first_seen is the earlier one.
	ImportHosts(ctx context.Context, hosts []ArchivedHost) (map[HostID]HostID, error)
	// Imported tells how far a file is imported.
	Imported(ctx context.Context, digest string) (ImportProgress, error)
	// ImportRows stores a part of a file, and with it, in one transaction, how far the file is. What the rows change about
	// rollups is noted as for samples that come late. The hosts' Positions move.
	ImportRows(ctx context.Context, part ImportPart) (ImportCounts, error)
	// Settle rolls up all that can be, and has what is imported behind that count as late. Rows of rollups are imported only where
	// the store has rolled up already, so it comes before them.
	Settle(ctx context.Context) error
}

// ArchivedHost is a host as it is exported, with the cursors of its spools by their epoch: without them, a database that the host
// moves to would store again what the old one had stored and not yet acknowledged.
type ArchivedHost struct {
	Host
	Cursors map[uint64]Cursor
}

// Table is a family at a resolution.
type Table struct {
	Family     *catalogue.Family
	Resolution Resolution
}

// Tables are all that there are: of each resolution all families, the samples first.
func Tables(resolutions ...Resolution) []Table {
	var tables []Table
	for _, r := range resolutions {
		for _, family := range catalogue.Families() {
			if r == Raw || RolledUp(family) {
				tables = append(tables, Table{family, r})
			}
		}
	}
	return tables
}

// Name is that of the table in the database.
func (t Table) Name() string { return t.Resolution.Relation(t.Family) }

// CellKind is the type of a column.
type CellKind int

// The kinds. A timestamp is in Unix microseconds.
const (
	Timestamp CellKind = iota
	Int32
	Int64
	Float32
	Float64
	Text
)

// Cell is one value of a row. Int or Float or Text has it, as the column's kind says.
type Cell struct {
	// Valid is false for NULL.
	Valid bool
	Int   int64
	Float float64
	Text  string
}

// Scan implements sql.Scanner. A timestamp that a database gives as a number is left as it is.
func (c *Cell) Scan(value any) error {
	*c = Cell{Valid: true}
	switch value := value.(type) {
	case nil:
		c.Valid = false
	case int64:
		c.Int = value
	case float64:
		c.Float = value
	case string:
		c.Text = value
	case []byte:
		c.Text = string(value)
	case time.Time:
		c.Int = value.UnixMicro()
	default:
		return fmt.Errorf("a column of the type %T", value)
	}
	return nil
}

// TableColumn is one column of a table.
type TableColumn struct {
	Name string
	Kind CellKind
	// Nullable says that there may be no value.
	Nullable bool
}

// TimeColumn and HostColumn are where a table's rows have the time and the host.
const (
	TimeColumn = 0
	HostColumn = 1
)

// Columns returns the columns as rows have them.
func (t Table) Columns() []TableColumn {
	columns := []TableColumn{{Name: "time", Kind: Timestamp}, {Name: "host_id", Kind: Int32}}
	if t.Resolution == Raw && len(t.Family.Labels) == 0 {
		columns = append(columns, TableColumn{Name: "received_at", Kind: Timestamp})
	}
	for _, label := range t.Family.Labels {
		columns = append(columns, TableColumn{Name: label.Name, Kind: Text})
	}
	for _, metric := range t.Family.Metrics {
		value := cellKind(metric.Type)
		if t.Resolution == Raw {
			columns = append(columns, TableColumn{metric.Column, value, true})
			continue
		}
		columns = append(
			columns,
			TableColumn{Avg.Column(metric), Float64, true}, TableColumn{Min.Column(metric), value, true}, TableColumn{Max.Column(metric), value, true},
			TableColumn{Count.Column(metric), Int32, false}, TableColumn{Last.Column(metric), value, true},
		)
	}
	return columns
}

func cellKind(of catalogue.Type) CellKind {
	switch of {
	case catalogue.Float:
		return Float32
	case catalogue.Uint32:
		return Int32
	case catalogue.Uint64:
		return Int64
	default:
		return Float64
	}
}

// ErrNoImportOfRollups: the database's rollups are continuous aggregates, which take no rows but what they make themselves.
var ErrNoImportOfRollups = errors.New("the rollups of this database are continuous aggregates, into which nothing can be imported; import into one with timescaledb.license = apache, and move it to the Community edition after that (docs/storage.md)")

// ImportPart is rows of a file that follow one another. Rows of one host and time are in one part: of what is in the database
// already, the part that comes second leaves out its own.
type ImportPart struct {
	// Digest names the file by its content, and Name for people.
	Digest, Name string
	Table        Table
	// From and To are how many of the file's rows are before the part, and up to its end. Whole says that the file ends there.
	From, To int64
	Whole    bool
	Rows     [][]Cell
}

// ImportProgress is how far a file is imported.
type ImportProgress struct {
	Rows  int64
	Whole bool
}

// ImportCounts is what became of rows.
type ImportCounts struct {
	// Stored rows are new, Present ones were there: samples of the host's agent or of an earlier import, or a rollup that has no
	// fewer readings.
	Stored, Present int64
	// Expired rows are older than what the store keeps at the resolution. Ahead are rollups of a time that the store has not
	// rolled up: it makes them itself.
	Expired, Ahead int64
}

// Add sums counts up.
func (c *ImportCounts) Add(other ImportCounts) {
	c.Stored += other.Stored
	c.Present += other.Present
	c.Expired += other.Expired
	c.Ahead += other.Ahead
}

// Due returns those of the part's rows that the store should take: none that it does not keep, and of rollups none from until on.
func (p ImportPart) Due(since, until time.Time) (due [][]Cell, counts ImportCounts) {
	for _, row := range p.Rows {
		at := time.UnixMicro(row[TimeColumn].Int)
		switch {
		case at.Before(since):
			counts.Expired++
		case p.Table.Resolution != Raw && at.Add(p.Table.Resolution.Step()).After(until):
			counts.Ahead++
		default:
			due = append(due, row)
		}
	}
	return due, counts
}

// Settle counts what became of the due rows, of which stored went in.
func (c *ImportCounts) Settle(due int, stored int64) { c.Stored, c.Present = stored, int64(due)-stored }

// SpanOf is from the oldest row to just after the newest.
func (t Table) SpanOf(rows [][]Cell) Span {
	oldest, newest := rows[0][TimeColumn].Int, rows[0][TimeColumn].Int
	for _, row := range rows[1:] {
		oldest, newest = min(oldest, row[TimeColumn].Int), max(newest, row[TimeColumn].Int)
	}
	width := max(t.Resolution.Step(), time.Millisecond)
	return Span{time.UnixMicro(oldest).UTC(), time.UnixMicro(newest).Add(width).UTC()}
}

// SpansOf is SpanOf for each host of rows that are in order of hosts.
func (t Table) SpansOf(rows [][]Cell) (hosts []HostID, spans []Span) {
	for len(rows) > 0 {
		host := rows[0][HostColumn].Int
		end := slices.IndexFunc(rows, func(row []Cell) bool { return row[HostColumn].Int != host })
		if end < 0 {
			end = len(rows)
		}
		hosts, spans = append(hosts, HostID(host)), append(spans, t.SpanOf(rows[:end]))
		rows = rows[end:]
	}
	return hosts, spans
}

// Incoming is the temporary table that a part's rows are in, with the columns of the table that they go to.
const Incoming = "incoming"

// IncomingSQL makes it empty: a query that returns no row of a table with the columns.
func IncomingSQL(table string, columns []string) string {
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + table + " LIMIT 0"
}

// ReadSQL returns the query of ReadRows, with what it is bound to.
func (t Table) ReadSQL(dialect RangeDialect, hosts []HostID, span Span) (string, []any) {
	w := &statement{RangeDialect: dialect}
	among := w.AmongHosts(w.arg(w.Hosts(hosts)))
	from, to := w.arg(w.Time(span.From)), w.arg(w.Time(span.To))
	order := ""
	for _, label := range t.Family.Labels {
		order += ", " + label.Name
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s AND time >= %s AND time < %s ORDER BY host_id, time%s", t.names(""), t.Name(), among, from, to, order), w.args
}

// ExtentSQL returns the query of Extent: the oldest and the newest time, found host by host in the index.
func (t Table) ExtentSQL(dialect RangeDialect, hosts []HostID) (string, []any) {
	w := &statement{RangeDialect: dialect}
	end := func(order string) string {
		return "(SELECT time FROM " + t.Name() + " AS s WHERE s.host_id = h.host_id ORDER BY time " + order + " LIMIT 1)"
	}
	return fmt.Sprintf("SELECT min(oldest), max(newest) FROM (SELECT %s AS oldest, %s AS newest FROM hosts AS h WHERE %s) AS ends",
		end("ASC"), end("DESC"), w.AmongHosts(w.arg(w.Hosts(hosts)))), w.args
}

// AddSQL returns the statement that stores what is incoming and not there yet, into the table that the rows are in and its columns.
// between bounds a time.
func (t Table) AddSQL(stored string, columns []string, between string) string {
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT i.%s FROM %s AS i WHERE NOT EXISTS (SELECT 1 FROM %s AS r WHERE %s AND r.time %s)",
		stored, strings.Join(columns, ", "), strings.Join(columns, ", i."), Incoming, stored, t.same(), between)
}

// Superseded says of the row r that it is a rollup of which the incoming row i has one with more readings.
func (t Table) Superseded() string {
	return t.same() + " AND " + t.readings("r.") + " < " + t.readings("i.")
}

// same says that the rows i and r are of the same instance and time.
func (t Table) same() string {
	condition := "r.host_id = i.host_id AND r.time = i.time"
	for _, label := range t.Family.Labels {
		condition += " AND r." + label.Name + " = i." + label.Name
	}
	return condition
}

func (t Table) readings(row string) string {
	var counts []string
	for _, metric := range t.Family.Metrics {
		counts = append(counts, row+Count.Column(metric))
	}
	return strings.Join(counts, " + ")
}

// names are those of the columns, with the name of a row in front of each.
func (t Table) names(row string) string {
	var names []string
	for _, column := range t.Columns() {
		names = append(names, row+column.Name)
	}
	return strings.Join(names, ", ")
}

// ColumnNames lists the columns.
func (t Table) ColumnNames() []string { return strings.Split(t.names(""), ", ") }

// NewRow makes a row, and what a database scans it into.
func NewRow(columns []TableColumn) (row []Cell, targets []any) {
	row, targets = make([]Cell, len(columns)), make([]any, len(columns))
	for i := range row {
		targets[i] = &row[i]
	}
	return row, targets
}

// AttachCursors reads rows of host_id, epoch, seq and checksum, and gives each host its cursors.
func AttachCursors(rows ResultRows, hosts []Host) ([]ArchivedHost, error) {
	archived := make([]ArchivedHost, len(hosts))
	place := make(map[HostID]int, len(hosts))
	for i, host := range hosts {
		place[host.ID] = i
		archived[i] = ArchivedHost{Host: host, Cursors: map[uint64]Cursor{}}
	}
	for rows.Next() {
		var (
			id                   HostID
			epoch, seq, checksum int64
		)
		if err := rows.Scan(&id, &epoch, &seq, &checksum); err != nil {
			return nil, fmt.Errorf("scan a cursor: %w", err)
		}
		if i, known := place[id]; known && epoch != ImportEpoch {
			archived[i].Cursors[uint64(epoch)] = Cursor{Seq: uint64(seq), Checksum: uint32(checksum)}
		}
	}
	return archived, rows.Err()
}

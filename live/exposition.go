package live

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// Hosts are kept in blocks of this size: a block is what a change of a host's labels makes anew, and what is held
	// still while it is copied.
	blockHosts = 64
	// While a scraper comes, changed numbers are made text this often, so that a scrape finds little to do.
	refreshEvery = time.Second
	// If none has come for this long, the text is dropped: the server of a fleet without Prometheus has none.
	scraperGone = 10 * time.Minute
	// hostGone is for how long a silent host keeps gohub_host_up at 0. It is as far back as a restarted server looks.
	hostGone = 24 * time.Hour
	// scrapePiece is about how much is copied before it is written, so that a slow scraper holds nothing.
	scrapePiece = 64 << 10
)

// Exposition keeps the newest values of the fleet as the text that Prometheus reads, so that a scrape copies. Each
// series is its head (the metric's name), the labels of its row, which all metrics of the row share, and its number; a
// sample makes only those numbers anew that have changed. Exposition groups by metric and samples come by host, so the
// numbers stand in columns:
//
//	table (a family) ─▶ block (64 hosts) ─▶ labels   a text a row
//	                                        numbers  a column a metric, a number a row
//
// The values of a host disappear when it is down; gohub_host_up stays at 0 for hostGone, and the time of its last sample.
type Exposition struct {
	state   *State
	tables  []*table
	exposed []exposed
	// countsCPU says that shares of CPU time are added up.
	countsCPU bool
	// woken tells Run that a scraper came, capacity 1.
	woken chan struct{}

	mu sync.Mutex // guards all below, and the tables' blocks
	// hosts are those of the state by their index, and made what the text of each was made of.
	hosts []*host
	made  []made
	view  View
	// cpu are counters of each host, if countsCPU.
	cpu []cpuSeconds
	// scratch is for the numbers of a block that is made anew.
	scratch   []number
	scrapedAt time.Time
}

// made says what a host's text was made of.
type made struct {
	version uint64
	shape   uint32
	phase   phase
}

// phase is what the exposition shows of a host.
type phase uint8

const (
	phaseNone    phase = iota // not looked at yet, or silent for too long
	phaseUnknown              // the time of the last sample only
	phaseUp                   // everything
	phaseDown                 // that it is down, and the time of the last sample
)

// table is the text of a family's rows.
type table struct {
	family *catalogue.Family
	slots  []slot
	// sets are the ways to write a row's labels; the metrics' own is the first.
	sets   []labelSet
	blocks []tableBlock
}

// slot makes one number of a row.
type slot struct {
	metric *catalogue.Metric
	shift  int
	// derive makes the number where it is no reading of a metric. Only it sees hosts that are not up.
	derive func(v *View, row int, text *numberText)
}

// labelSet appends a row's labels without the braces: name="value",….
type labelSet func(buf []byte, v *View, row int) []byte

// tableBlock is the rows of blockHosts hosts.
type tableBlock struct {
	// first has the first row of each host, and behind the last one the number of rows.
	first [blockHosts + 1]uint32
	// labels has a text a set.
	labels []labelText
	// numbers has len(slots) columns of as many numbers as there are rows.
	numbers []number
}

// labelText holds texts one after the other: the labels of a row, with what follows them up to the number.
type labelText struct {
	text []byte
	ends []uint32
}

// exposed is a metric of the exposition.
type exposed struct {
	name, help string
	counter    bool
	table      *table
	set        int
	lines      []line
}

// line is one series of a row: head goes before the labels.
type line struct {
	head string
	slot int
}

// ExpositionOptions choose what is exposed.
type ExpositionOptions struct {
	// NodeExporter adds the names that node_exporter gives to the same things, see docs/prometheus.md.
	NodeExporter bool
}

// NewExposition returns the exposition of every host: a gauge or a counter for each metric of the catalogue that has a
// Prometheus name, with the labels host (the host's name), host_id and those of its family, and then the custom series with
// names of their own. Two hosts may have one name.
func NewExposition(state *State, o ExpositionOptions) *Exposition {
	e := &Exposition{state: state, woken: make(chan struct{}, 1)}
	for _, family := range families {
		if family.Ephemeral || family == catalogue.Custom() {
			continue
		}
		t := &table{family: family, sets: []labelSet{ownLabels(family)}}
		if family == catalogue.Host() {
			e.expose(t, "gohub_host_up", "Whether the host's samples arrive (1) or not (0). Absent while the server has just started and can not tell.", deriveUp)
			e.expose(t, "gohub_host_last_sample_timestamp_seconds", "When the host took its newest sample, by its own clock.", deriveLastSample)
		}
		for _, metric := range family.Metrics {
			if metric.PrometheusName == "" {
				continue
			}
			shift := 0
			if metric.PrometheusScale == 0.01 {
				shift = -2
			}
			t.slots = append(t.slots, slot{metric: metric, shift: shift})
			e.exposed = append(e.exposed, exposed{
				name: metric.PrometheusName, help: metric.Help, counter: metric.Kind == gohubv1.Kind_KIND_COUNTER,
				table: t, lines: []line{{head: metric.PrometheusName + "{", slot: len(t.slots) - 1}},
			})
		}
		e.tables = append(e.tables, t)
	}
	if o.NodeExporter {
		e.addNodeExporter()
	}
	slices.SortFunc(e.exposed, func(a, b exposed) int { return cmp.Compare(a.name, b.name) })
	return e
}

// expose adds a gauge that is no reading of the catalogue.
func (e *Exposition) expose(t *table, name, help string, derive func(*View, int, *numberText)) {
	t.slots = append(t.slots, slot{derive: derive})
	e.exposed = append(e.exposed, exposed{name: name, help: help, table: t, lines: []line{{head: name + "{", slot: len(t.slots) - 1}}})
}

// Names are the names of all metrics that the exposition may hold.
func (e *Exposition) Names() []string {
	var names []string
	for _, metric := range e.exposed {
		names = append(names, metric.name)
	}
	return names
}

func deriveUp(v *View, _ int, text *numberText) {
	switch v.phase {
	case phaseUp:
		text.setCount(1)
	case phaseDown:
		text.setCount(0)
	}
}

func deriveLastSample(v *View, _ int, text *numberText) {
	if v.phase != phaseNone && !v.sampled.IsZero() {
		text.setMillis(v.sampled.UnixMilli())
	}
}

// ownLabels writes host, host_id and the family's labels, in the order of the names.
func ownLabels(family *catalogue.Family) labelSet {
	type source struct {
		name  string
		label int // of the family, or one of the next
	}
	const hostname, id = -1, -2
	sources := []source{{"host", hostname}, {"host_id", id}}
	for i, label := range family.Labels {
		sources = append(sources, source{label.Name, i})
	}
	slices.SortFunc(sources, func(a, b source) int { return cmp.Compare(a.name, b.name) })
	return func(buf []byte, v *View, row int) []byte {
		for i, from := range sources {
			if i > 0 {
				buf = append(buf, ',')
			}
			switch from.label {
			case hostname:
				buf = appendLabel(buf, from.name, v.hostname)
			case id:
				buf = appendLabel(buf, from.name, v.idText())
			default:
				buf = appendLabel(buf, from.name, v.Label(family, row, from.label))
			}
		}
		return buf
	}
}

func appendLabel(buf []byte, name, value string) []byte {
	buf = append(append(buf, name...), `="`...)
	return append(appendEscaped(buf, value, true), '"')
}

// appendEscaped writes a text as the format wants it in labels, and but for the quotes in help.
func appendEscaped(buf []byte, text string, quotes bool) []byte {
	if !strings.ContainsAny(text, "\\\n\"") {
		return append(buf, text...)
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			buf = append(buf, '\\', 'n')
		case c == '\\', c == '"' && quotes:
			buf = append(buf, '\\', c)
		default:
			buf = append(buf, c)
		}
	}
	return buf
}

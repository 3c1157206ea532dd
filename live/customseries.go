package live

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/proto/custom"
)

// maxCustomSeries bounds the custom series of one scrape: a hundred for each of a thousand hosts. Those of the hosts that became
// known first are there.
const maxCustomSeries = 100_000

// customLine is a custom series of a host that is up.
type customLine struct {
	name, labels string
	// host is the host's labels, without braces.
	host  string
	value float64
}

// customLines are the custom series of all hosts that are up, by name and then by host, and how many more there are than a
// scrape may have. Names that others have, own among them, are left out. What few hosts have is made text when it is asked for: there are too
// many names to keep it by metric, as the catalogue's is.
func (e *Exposition) customLines(own []string) (lines []customLine, left int) {
	var taken map[string]bool
	m := e.state.moment()
	var b block
	var v View
	for _, h := range e.state.all() {
		h.mu.Lock()
		from := &h.blocks[catalogue.Custom().Place()]
		if from.rows == 0 || h.phase(m) != phaseUp {
			h.mu.Unlock()
			continue
		}
		b.copy(from)
		v.id, v.hostname = h.id, h.identity.GetFacts().GetHostname()
		h.mu.Unlock()
		if taken == nil {
			taken = e.taken(own)
		}
		host := string(appendLabel(append(appendLabel(nil, "host", v.hostname), ','), "host_id", v.idText()))
		for row := range b.rows {
			name := b.label(row, 0)
			value, ok := b.value(row, 0)
			switch {
			case !ok || taken[name] || strings.HasPrefix(name, "gohub_") && !custom.Own(name):
			case len(lines) == maxCustomSeries:
				left++
			default:
				lines = append(lines, customLine{name: name, labels: b.label(row, 1), host: host, value: value})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b customLine) int { return cmp.Compare(a.name, b.name) })
	return lines, left
}

// taken are the names that no custom series may have.
func (e *Exposition) taken(own []string) map[string]bool {
	taken := make(map[string]bool, len(own)+len(e.exposed))
	for _, name := range own {
		taken[name] = true
	}
	for i := range e.exposed {
		taken[e.exposed[i].name] = true
	}
	return taken
}

// writeCustom writes the custom series, with the names that the hosts give them. It appends to buf, and returns what it has not
// written of it.
func (e *Exposition) writeCustom(w io.Writer, buf []byte, openMetrics bool, own []string) ([]byte, error) {
	lines, left := e.customLines(own)
	kind := " untyped\n"
	if openMetrics {
		kind = " unknown\n"
	}
	for i := range lines {
		line := &lines[i]
		if i == 0 || line.name != lines[i-1].name {
			buf = append(append(append(buf, "# HELP "...), line.name...), " As programs on the hosts tell it.\n"...)
			buf = append(append(append(buf, "# TYPE "...), line.name...), kind...)
		}
		buf = line.append(buf)
		if len(buf) >= scrapePiece {
			if _, err := w.Write(buf); err != nil {
				return buf, err
			}
			buf = buf[:0]
		}
	}
	if left > 0 {
		const name = "gohub_hosts_custom_series_left_out"
		buf = append(buf, "# HELP "+name+" Custom series that a scrape has no room for.\n# TYPE "+name+" gauge\n"+name+" "...)
		buf = append(strconv.AppendInt(buf, int64(left), 10), '\n')
	}
	return buf, nil
}

// append writes one line. The text of the labels is written as the format wants it.
func (l *customLine) append(buf []byte) []byte {
	buf = append(append(append(buf, l.name...), '{'), l.host...)
	if l.labels != "" {
		buf = append(buf, ',')
		if strings.Contains(l.labels, `host="`) || strings.Contains(l.labels, `host_id="`) {
			buf = append(buf, renamed(l.labels)...)
		} else {
			buf = append(buf, l.labels[1:]...)
		}
	} else {
		buf = append(buf, '}')
	}
	buf = append(buf, ' ')
	return append(strconv.AppendFloat(buf, l.value, 'g', -1, 64), '\n')
}

// renamed gives the labels host and host_id, which the exposition has itself, the names that Prometheus gives such labels of its
// targets. It returns the text without the first brace.
func renamed(text string) string {
	labels, err := custom.Parse(text)
	if err != nil {
		return "}" // ingest takes no such text
	}
	names := map[string]bool{"host": true, "host_id": true}
	for _, label := range labels {
		if label.Name != "host" && label.Name != "host_id" {
			names[label.Name] = true
		}
	}
	var buf []byte
	for i, label := range labels {
		if i > 0 {
			buf = append(buf, ',')
		}
		name := label.Name
		if name == "host" || name == "host_id" {
			for name = "exported_" + name; names[name]; {
				name = "exported_" + name
			}
			names[name] = true
		}
		buf = appendLabel(buf, name, label.Value)
	}
	return string(append(buf, '}'))
}

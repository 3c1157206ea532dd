package live

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// maxScrapes is how many scrapes are answered at once; a pair of Prometheus servers and a person need three.
const maxScrapes = 4

// MetricsHandler answers scrapes with the exposition, in the text format 0.0.4 or OpenMetrics 1.0, compressed by gzip or
// zstd, as the scraper asks. own, which may be nil, goes before it: the server's own metrics. Errors go to log.
func (e *Exposition) MetricsHandler(own prometheus.Gatherer, log *slog.Logger) http.Handler {
	places := make(chan struct{}, maxScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			w.Header().Set("Retry-After", "5")
			http.Error(w, fmt.Sprintf("%d scrapes are being answered already", maxScrapes), http.StatusServiceUnavailable)
			return
		}
		format := negotiateFormat(r.Header)
		var first []byte
		var names []string
		if own != nil {
			var err error
			if first, names, err = encodeOwn(own, format); err != nil {
				log.Error("scrape refused", "error", err)
				http.Error(w, "the server's own metrics can not be told", http.StatusInternalServerError)
				return
			}
		}
		w.Header().Set("Content-Type", string(format))
		w.Header().Set("Vary", "Accept, Accept-Encoding")
		body, finish := compress(w, r.Header)
		_, err := body.Write(first)
		if err == nil {
			err = e.write(body, format.FormatType() == expfmt.TypeOpenMetrics, names)
		}
		if finishErr := finish(); err == nil {
			err = finishErr
		}
		if err != nil {
			log.Debug("scrape not finished", "remote", r.RemoteAddr, "error", err)
		}
	})
}

// encodeOwn encodes without the end that OpenMetrics has. It returns the names of all metrics too.
func encodeOwn(own prometheus.Gatherer, format expfmt.Format) (text []byte, names []string, err error) {
	gathered, err := own.Gather()
	if err != nil {
		return nil, nil, fmt.Errorf("gather the server's own metrics: %w", err)
	}
	var buffer strings.Builder
	encoder := expfmt.NewEncoder(&buffer, format)
	for _, family := range gathered {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			names = append(names, family.GetName()+suffix)
		}
		if err := encoder.Encode(family); err != nil {
			return nil, nil, fmt.Errorf("encode %s: %w", family.GetName(), err)
		}
	}
	return []byte(buffer.String()), names, nil
}

// negotiateFormat picks text or OpenMetrics by the rules of client_golang. We have no protobuf, so it is taken out of what
// the scraper offers.
func negotiateFormat(header http.Header) expfmt.Format {
	var offers []string
	for _, accept := range header.Values("Accept") {
		for _, offer := range strings.Split(accept, ",") {
			if !strings.HasPrefix(strings.TrimSpace(offer), expfmt.ProtoType) {
				offers = append(offers, offer)
			}
		}
	}
	return expfmt.NegotiateAccept(http.Header{"Accept": {strings.Join(offers, ",")}}, expfmt.DefaultOpenMetricsAcceptedFormats()...)
}

var (
	gzipWriters = sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is right
		}
		return w
	}}
	zstdWriters = sync.Pool{New: func() any {
		// A window of 128 KiB finds the labels of a host in the metric before for some thousand hosts.
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(128<<10))
		if err != nil {
			panic(err) // the options are right
		}
		return w
	}}
)

// compress returns what writes to w as the scraper accepts it, and what is to be called at the end.
func compress(w http.ResponseWriter, header http.Header) (body io.Writer, finish func() error) {
	switch encoding := negotiateEncoding(header.Values("Accept-Encoding")); encoding {
	case "zstd":
		w.Header().Set("Content-Encoding", encoding)
		z := zstdWriters.Get().(*zstd.Encoder)
		z.Reset(w)
		return z, func() error { defer zstdWriters.Put(z); return z.Close() }
	case "gzip":
		w.Header().Set("Content-Encoding", encoding)
		z := gzipWriters.Get().(*gzip.Writer)
		z.Reset(w)
		return z, func() error { defer gzipWriters.Put(z); return z.Close() }
	default:
		return w, func() error { return nil }
	}
}

// negotiateEncoding returns that of gzip and zstd which the client likes best, gzip where it likes both (as client_golang
// does, and it takes no longer), or "".
func negotiateEncoding(accept []string) string {
	best, quality := "", 0.0
	for _, clause := range strings.Split(strings.Join(accept, ","), ",") {
		name, parameters, _ := strings.Cut(clause, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil {
				continue
			}
		}
		if (name == "zstd" || name == "gzip") && (q > quality || q == quality && q > 0 && name == "gzip") {
			best, quality = name, q
		}
	}
	return best
}

// pieces are buffers for text on its way to a scraper.
var pieces = sync.Pool{New: func() any { return new([]byte) }}

// write brings the text up to date and writes all of it, but for custom series with names of the server's own metrics. What is locked is locked for a piece at a time: a slow scraper holds
// up nobody, but may get values of a sample that came while it read.
func (e *Exposition) write(w io.Writer, openMetrics bool, own []string) error {
	now := e.state.now()
	e.mu.Lock()
	e.scrapedAt = now
	e.mu.Unlock()
	select {
	case e.woken <- struct{}{}:
	default: // it knows
	}
	e.refresh()

	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	buf := (*piece)[:0]
	for i := range e.exposed {
		metric := &e.exposed[i]
		before := len(buf)
		buf = metric.appendMeta(buf, openMetrics)
		meta := len(buf)
		for block := 0; ; block++ {
			var more bool
			if buf, more = e.appendBlock(buf, metric, block); !more {
				break
			}
			if len(buf) >= scrapePiece {
				if _, err := w.Write(buf); err != nil {
					*piece = buf
					return err
				}
				buf, before, meta = buf[:0], 0, -1
			}
		}
		if len(buf) == meta {
			buf = buf[:before] // a metric without series is not there
		}
	}
	buf, err := e.writeCustom(w, buf, openMetrics, own)
	if err == nil {
		if openMetrics {
			buf = append(buf, "# EOF\n"...)
		}
		_, err = w.Write(buf)
	}
	*piece = buf
	return err
}

// appendBlock copies a metric's series of one block, and tells whether there is such a block.
func (e *Exposition) appendBlock(buf []byte, metric *exposed, block int) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if block >= len(metric.table.blocks) {
		return buf, false
	}
	b := &metric.table.blocks[block]
	for _, line := range metric.lines {
		buf = b.appendLines(buf, line, metric.set)
	}
	return buf, true
}

// appendLines copies one series of every row that has its number.
func (b *tableBlock) appendLines(buf []byte, line line, set int) []byte {
	rows := int(b.first[blockHosts])
	if rows == 0 {
		return buf
	}
	labels := &b.labels[set]
	numbers := b.numbers[line.slot*rows : (line.slot+1)*rows]
	// No text is longer than this, and behind the last number there is room to copy more than it has.
	n := len(buf)
	buf = slices.Grow(buf, len(labels.text)+rows*(len(line.head)+len(numberText{})+1))
	buf = buf[:cap(buf)]
	start := uint32(0)
	for row := range numbers {
		end := labels.ends[row]
		if text := &numbers[row].text; text[textLength] > 0 {
			n += copy(buf[n:], line.head)
			n += copy(buf[n:], labels.text[start:end])
			*(*numberText)(buf[n:]) = *text
			n += int(text[textLength])
			buf[n] = '\n'
			n++
		}
		start = end
	}
	return buf[:n]
}

// units are those that OpenMetrics is told where a name ends with one.
var units = []string{"_bytes_per_second", "_bytes", "_seconds", "_ratio", "_celsius"}

// appendMeta writes what goes before a metric's series.
func (m *exposed) appendMeta(buf []byte, openMetrics bool) []byte {
	name, kind := m.name, "gauge"
	if m.counter {
		kind = "counter"
		if openMetrics {
			name = strings.TrimSuffix(name, "_total")
		}
	}
	buf = append(append(append(buf, "# HELP "...), name...), ' ')
	buf = appendEscaped(buf, m.help, openMetrics)
	buf = append(append(append(append(buf, "\n# TYPE "...), name...), ' '), kind...)
	if openMetrics {
		for _, unit := range units {
			if strings.HasSuffix(name, unit) {
				buf = append(append(append(append(buf, "\n# UNIT "...), name...), ' '), unit[1:]...)
				break
			}
		}
	}
	return append(buf, '\n')
}

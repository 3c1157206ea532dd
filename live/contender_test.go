package live

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

var hostLabels = []string{"host", "host_id"}

var (
	upDesc = prometheus.NewDesc("gohub_host_up",
		"Whether the host's samples arrive (1) or not (0). Absent while the server has just started and can not tell.",
		hostLabels, nil)
	lastSampleDesc = prometheus.NewDesc("gohub_host_last_sample_timestamp_seconds",
		"When the host took its newest sample, by its own clock.",
		hostLabels, nil)
)

// exported is how a metric of the catalogue goes out. One without a desc does not.
type exported struct {
	desc    *prometheus.Desc
	counter bool
	scale   float64
}

// collector gives out the State by client_golang: what the exposition is held against, for its content and its time.
type collector struct {
	state *State
	// exports is by the family's place in families and the metric's in the family.
	exports [][]exported
	// names holds hostLabels and the family's labels, and order their indices in the order of the names, which is the
	// one that Prometheus wants.
	names [][]string
	order [][]int
}

// measurement is a prometheus.Metric that shares its labels with the others of its row: the library's own constant metrics
// take ten times as many allocations.
type measurement struct {
	exported *exported
	labels   []*dto.LabelPair
	value    float64
}

func (m *measurement) Desc() *prometheus.Desc { return m.exported.desc }

func (m *measurement) Write(out *dto.Metric) error {
	out.Label = m.labels
	if m.exported.counter {
		out.Counter = &dto.Counter{Value: &m.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &m.value}
	}
	return nil
}

var (
	exportedUp         = exported{desc: upDesc}
	exportedLastSample = exported{desc: lastSampleDesc}
)

func newCollector(state *State) prometheus.Collector {
	c := &collector{
		state:   state,
		exports: make([][]exported, len(families)),
		names:   make([][]string, len(families)),
		order:   make([][]int, len(families)),
	}
	for i, family := range families {
		names := slices.Clone(hostLabels)
		for _, label := range family.Labels {
			names = append(names, label.Name)
		}
		for j := range names {
			c.order[i] = append(c.order[i], j)
		}
		slices.SortFunc(c.order[i], func(a, b int) int { return cmp.Compare(names[a], names[b]) })
		c.names[i] = names
		c.exports[i] = make([]exported, len(family.Metrics))
		for j, metric := range family.Metrics {
			if family.Ephemeral || metric.PrometheusName == "" {
				continue
			}
			c.exports[i][j] = exported{
				desc:    prometheus.NewDesc(metric.PrometheusName, metric.Help, names, nil),
				counter: metric.Kind == gohubv1.Kind_KIND_COUNTER,
				scale:   metric.PrometheusScale,
			}
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- upDesc
	descs <- lastSampleDesc
	for _, family := range c.exports {
		for _, metric := range family {
			if metric.desc != nil {
				descs <- metric.desc
			}
		}
	}
}

// Collect implements prometheus.Collector. No lock is held while it sends: a slow scrape holds no one up.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	now := c.state.moment()
	var ready []*measurement
	for _, h := range c.state.all() {
		h.mu.Lock()
		ready = c.appendHost(ready[:0], h, h.phase(now))
		h.mu.Unlock()
		for _, metric := range ready {
			metrics <- metric
		}
	}
}

// appendHost adds the host's metrics to ready. It is called with h.mu held.
func (c *collector) appendHost(ready []*measurement, h *host, phase phase) []*measurement {
	own := [2]string{h.identity.GetFacts().GetHostname(), strconv.FormatUint(uint64(h.id), 10)}
	labels := c.labelPairs(0, own, nil)
	if !h.sampled.IsZero() && phase != phaseNone {
		ready = append(ready, &measurement{&exportedLastSample, labels, float64(h.sampled.UnixMilli()) / 1e3})
	}
	switch phase {
	case phaseNone, phaseUnknown:
		return ready
	case phaseDown:
		return append(ready, &measurement{&exportedUp, labels, 0})
	}
	ready = append(ready, &measurement{&exportedUp, labels, 1})
	for i := range h.blocks {
		if families[i].Ephemeral {
			continue
		}
		b := &h.blocks[i]
		for row := range b.rows {
			// The metrics of a row are one allocation. Never more are appended: their addresses are given away.
			metrics := make([]measurement, 0, len(c.exports[i]))
			var rowLabels []string
			for j := range b.family.Labels {
				rowLabels = append(rowLabels, b.label(row, j))
			}
			labels := c.labelPairs(i, own, rowLabels)
			for j := range c.exports[i] {
				export := &c.exports[i][j]
				value, ok := b.value(row, j)
				if export.desc == nil || !ok {
					continue
				}
				metrics = append(metrics, measurement{export, labels, value * export.scale})
				ready = append(ready, &metrics[len(metrics)-1])
			}
		}
	}
	return ready
}

// labelPairs returns the labels of a row of a family, sorted by name.
func (c *collector) labelPairs(family int, own [2]string, row []string) []*dto.LabelPair {
	names, order := c.names[family], c.order[family]
	values := append(own[:], row...)
	pairs := make([]dto.LabelPair, len(order))
	sorted := make([]*dto.LabelPair, len(order))
	for i, at := range order {
		pairs[i].Name, pairs[i].Value = &names[at], &values[at]
		sorted[i] = &pairs[i]
	}
	return sorted
}

package ingest

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	streams      prometheus.Gauge
	rows         prometheus.Counter
	samples      prometheus.Counter
	quarantined  prometheus.Counter
	omitted      prometheus.Counter
	duplicates   prometheus.Counter
	fenced       prometheus.Counter
	refused      prometheus.Counter
	refusedHosts prometheus.Counter
	dropped      prometheus.Counter
	held         prometheus.Counter
	clones       prometheus.Counter
	isolated     prometheus.Gauge
	flushErrors  prometheus.Counter
	flushSeconds prometheus.Histogram
	flushRows    prometheus.Histogram
	lag          prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, shards []*shard, budget *budget, clock *clock) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		streams:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "gohub_ingest_streams", Help: "Agents that are connected."}),
		rows:         counter("gohub_ingest_rows_total", "Rows that were stored in sample tables."),
		samples:      counter("gohub_ingest_samples_total", "Samples that were stored."),
		quarantined:  counter("gohub_ingest_quarantined_samples_total", "Samples that were refused and put into quarantine with a reason."),
		omitted:      counter("gohub_ingest_omitted_readings_total", "Readings that were left out of their samples because no database can keep such a number."),
		duplicates:   counter("gohub_ingest_duplicate_batches_total", "Batches that were sent again although they were stored already."),
		fenced:       counter("gohub_ingest_fenced_batches_total", "Batches of a stream that another one had replaced."),
		refused:      counter("gohub_ingest_refused_messages_total", "Messages that ended their stream because they were malformed."),
		refusedHosts: counter("gohub_ingest_refused_hosts_total", "Times that a new agent was refused because there are as many hosts as there may be."),
		dropped:      counter("gohub_ingest_dropped_samples_total", "Samples that could not even be put into quarantine."),
		held:         counter("gohub_ingest_held_batches_total", "Batches that were not taken because their samples are ahead of the server's clock or too old by it, and it is the suspect."),
		clones:       counter("gohub_ingest_replaced_epochs_total", "Streams that ended another one of the same agent with another epoch: a copied machine, or an agent that was restarted at once."),
		isolated:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "gohub_ingest_isolated_agents", Help: "Agents that wait because the database can not take their next batch, not for its values; it is tried again."}),
		flushErrors:  counter("gohub_ingest_flush_errors_total", "Tries of a flush that failed."),
		flushSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gohub_ingest_flush_seconds", Help: "Time to store one flush, commit included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		flushRows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gohub_ingest_flush_rows", Help: "Rows in one flush, those of the quarantine and of gaps among them.", Buckets: prometheus.ExponentialBuckets(1, 4, 9),
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gohub_ingest_lag_seconds", Help: "Time from when a sample was taken, by the agent's clock, to when the server had it.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
		}),
	}
	registerer.MustRegister(m.streams, m.rows, m.samples, m.quarantined, m.omitted, m.duplicates, m.fenced, m.refused, m.refusedHosts, m.dropped, m.held, m.clones, m.isolated, m.flushErrors, m.flushSeconds, m.flushRows, m.lag)
	registerer.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_buffered_bytes", Help: "Memory of samples that wait to be stored."},
			func() float64 { return float64(budget.used.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_buffer_limit_bytes", Help: "Memory that samples that wait to be stored may take."},
			func() float64 { return float64(budget.limit) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_clock_suspect", Help: "Whether the server's clock seems to be wrong (1): agents keep samples that are ahead of it, or too old by it."},
			clock.suspect),
	)
	for i, s := range shards {
		labels := prometheus.Labels{"shard": strconv.Itoa(i)}
		registerer.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_ring_depth", Help: "Batches in a shard's ring.", ConstLabels: labels},
				func() float64 { return float64(s.ring.depth()) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_ring_slots", Help: "Batches that a shard's ring has room for.", ConstLabels: labels},
				func() float64 { return float64(len(s.ring.slots)) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gohub_ingest_failing", Help: "Whether a shard can not store what it has (1): it tries again, and holds its agents back.", ConstLabels: labels},
				func() float64 {
					if s.failing.Load() != nil {
						return 1
					}
					return 0
				}),
		)
	}
	return m
}

package relay

import (
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what a relay tells of itself.
type metrics struct {
	sent, received traffic
	dropped        prometheus.Counter
	gaps           prometheus.Counter
	resyncs        prometheus.Counter
	refused        prometheus.Counter
}

// traffic counts messages and their bytes.
type traffic struct{ messages, bytes prometheus.Counter }

func (t traffic) count(bytes int) {
	t.messages.Inc()
	t.bytes.Add(float64(bytes))
}

func newMetrics(r *Relay, registerer prometheus.Registerer) *metrics {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gohub_cluster_messages_total", Help: "Messages to and from other servers.",
	}, []string{"direction"})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gohub_cluster_bytes_total", Help: "Bytes of the messages to and from other servers.",
	}, []string{"direction"})
	m := &metrics{
		sent:     traffic{messages.WithLabelValues("out"), bytes.WithLabelValues("out")},
		received: traffic{messages.WithLabelValues("in"), bytes.WithLabelValues("in")},
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_cluster_dropped_total", Help: "Updates for other servers that were dropped, because NATS was away or slow; the others ask for what is new.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_cluster_gaps_total", Help: "Times that updates of another server were missing.",
		}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_cluster_resyncs_total", Help: "Times that another server was asked for all its hosts.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_cluster_refused_total", Help: "Messages, or hosts in them, that could not be read.",
		}),
	}
	if registerer == nil {
		return m
	}
	registerer.MustRegister(messages, bytes, m.dropped, m.gaps, m.resyncs, m.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_cluster_peers", Help: "Other servers that are heard.",
		}, func() float64 { return float64(r.heardPeers()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gohub_cluster_connected", Help: "1 while there is a connection to NATS.",
		}, func() float64 {
			if r.bus != nil && r.bus.IsConnected() {
				return 1
			}
			return 0
		}))
	return m
}

func (r *Relay) heardPeers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := 0
	for _, p := range r.peers {
		if !p.lost {
			heard++
		}
	}
	return heard
}

// redact takes the users and passwords of NATS' URLs out of a text.
func redact(text, urls string) string {
	for one := range strings.SplitSeq(urls, ",") {
		one = strings.TrimSpace(one)
		before, after, found := strings.Cut(one, "@")
		if !found {
			continue
		}
		text = strings.ReplaceAll(text, one, "nats://…@"+after)
		if _, secret, found := strings.Cut(before, "://"); found {
			text = strings.ReplaceAll(text, secret, "…")
		}
		if parsed, err := url.Parse(one); err == nil {
			if password, set := parsed.User.Password(); set && password != "" {
				text = strings.ReplaceAll(text, password, "…")
			}
		}
	}
	return text
}

package live

import "github.com/prometheus/client_golang/prometheus"

// reason says why a viewer went; it is the label of gohub_live_closed_total.
type reason string

const (
	reasonClient      reason = "client"       // the viewer left
	reasonGoingAway   reason = "going_away"   // the server stops
	reasonSession     reason = "session"      // what let the viewer in holds no more
	reasonProtocol    reason = "protocol"     // the viewer broke the WebSocket protocol
	reasonTooBig      reason = "too_big"      // a request over a bound
	reasonPingTimeout reason = "ping_timeout" // no answer to a ping
	reasonWrite       reason = "write"        // a write failed or took too long
)

var reasons = []reason{
	reasonClient, reasonGoingAway, reasonSession, reasonProtocol, reasonTooBig, reasonPingTimeout, reasonWrite,
}

// hubMetrics is what the hub tells of itself.
type hubMetrics struct {
	viewers   prometheus.Gauge
	messages  prometheus.Counter
	bytes     prometheus.Counter
	conflated prometheus.Counter
	lag       prometheus.Histogram
	closed    map[reason]prometheus.Counter
	// Those who were not let in.
	refusedFull, refusedAddress prometheus.Counter
}

// newHubMetrics registers the metrics, or keeps them to itself if the registerer is nil. Like every registration of
// this program's own metrics it panics if it is done twice.
func newHubMetrics(registerer prometheus.Registerer) *hubMetrics {
	m := &hubMetrics{
		viewers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gohub_live_viewers",
			Help: "Viewers: open WebSocket connections and gRPC watches.",
		}),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_live_messages_total",
			Help: "Messages written to viewers, control frames left out.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_live_bytes_total",
			Help: "Bytes written to viewers, frame headers and control frames of WebSocket included.",
		}),
		conflated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_live_conflated_total",
			Help: "Times that a viewer read too slowly and got a snapshot in place of deltas.",
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gohub_live_lag_seconds",
			Help: "From the receipt of a sample to the delta that tells of it written to a viewer.",
			// The target is 20 ms; finer around it.
			Buckets: []float64{.001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
		closed: make(map[reason]prometheus.Counter),
	}
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gohub_live_closed_total",
		Help: "Viewers that went, by reason.",
	}, []string{"reason"})
	for _, r := range reasons {
		m.closed[r] = closed.WithLabelValues(string(r))
	}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gohub_live_refused_total",
		Help: "Viewers that were not let in, by bound: of all viewers (all), or of those of one address (address).",
	}, []string{"bound"})
	m.refusedFull, m.refusedAddress = refused.WithLabelValues("all"), refused.WithLabelValues("address")
	if registerer != nil {
		registerer.MustRegister(m.viewers, m.messages, m.bytes, m.conflated, m.lag, closed, refused)
	}
	return m
}

package notify

import "github.com/prometheus/client_golang/prometheus"

// What an attempt to deliver came to.
const (
	resultSent     = "sent"
	resultRetried  = "retried"
	resultRejected = "rejected"
)

type metrics struct {
	notifications *prometheus.CounterVec
	dropped       *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gohub_alert_notifications_total",
			Help: "Attempts to deliver a message to a receiver: sent, retried (failed for now) or rejected (failed for good).",
		}, []string{"receiver", "result"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gohub_alert_notifications_dropped_total",
			Help: "Alert events that a receiver was never told: rejected, too old, over the queue's bound, or left at the end.",
		}, []string{"receiver"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if err := r.Register(m.notifications); err != nil {
		return err
	}
	return r.Register(m.dropped)
}

// prepare makes the receiver's counters exist from the start.
func (m *metrics) prepare(receiver string) {
	for _, result := range []string{resultSent, resultRetried, resultRejected} {
		m.notifications.WithLabelValues(receiver, result)
	}
	m.dropped.WithLabelValues(receiver)
}

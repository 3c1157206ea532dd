package alert

import (
	"github.com/prometheus/client_golang/prometheus"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

type metrics struct {
	alerts     *prometheus.GaugeVec
	evaluation prometheus.Histogram
	saveErrors prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		alerts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gohub_alerts",
			Help: "Alerts by state: pending, firing, or resolved within the last hour.",
		}, []string{"state"}),
		evaluation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gohub_alert_evaluation_seconds",
			Help: "Time that one evaluation of all rules on all hosts takes.",
			// From a handful of hosts to a fleet on a busy machine: 100 µs to 6.5 s.
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		saveErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gohub_alert_save_errors_total",
			Help: "Failed attempts to load or save the states of alerts.",
		}),
	}
	m.count(nil)
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.alerts, m.evaluation, m.saveErrors} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// count sets the gauge from the list of alerts.
func (m *metrics) count(alerts []*gohubv1.Alert) {
	n := map[gohubv1.AlertState]int{}
	for _, a := range alerts {
		n[a.GetState()]++
	}
	for state, name := range map[gohubv1.AlertState]string{pending: "pending", firing: "firing", resolved: "resolved"} {
		m.alerts.WithLabelValues(name).Set(float64(n[state]))
	}
}

package alert

import (
	"time"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// shown is a host of the contract as a source shows it.
type shown struct{ *gohubv1.Host }

// messages is a source of hosts of the contract, which are easy to write down.
type messages []*gohubv1.Host

func (m messages) Each(see func(Host)) {
	for _, h := range m {
		see(shown{h})
	}
}

func (s shown) ID() uint32       { return s.GetHostId() }
func (s shown) Hostname() string { return s.GetFacts().GetHostname() }
func (s shown) Interval() time.Duration {
	return time.Duration(s.GetFacts().GetIntervalMillis()) * time.Millisecond
}
func (s shown) Status() gohubv1.HostStatus { return s.GetStatus() }

func (s shown) Sampled() time.Time {
	if at := s.GetLatest().GetTime(); at != nil {
		return at.AsTime()
	}
	return time.Time{}
}

func (s shown) Rows(family *catalogue.Family) int {
	if family == catalogue.Host() {
		return 1
	}
	return len(s.instances(family))
}

func (s shown) Label(family *catalogue.Family, row, i int) string {
	return s.instances(family)[row].GetLabels()[family.Labels[i].Name]
}

func (s shown) Value(metric *catalogue.Metric, row int) (float64, bool) {
	values := s.GetLatest().GetValues()
	if metric.Family != catalogue.Host() {
		values = s.instances(metric.Family)[row].GetValues()
	}
	value, ok := values[metric.Name]
	return value, ok
}

func (s shown) instances(family *catalogue.Family) []*gohubv1.Instance {
	var of []*gohubv1.Instance
	for _, instance := range s.GetLatest().GetInstances() {
		if instance.GetFamily() == family.Name {
			of = append(of, instance)
		}
	}
	return of
}

package live

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// topicKey names what a viewer can subscribe to: the fleet, a part of it, or a host with everything. Requests that mean the same
// have the same key, so that their viewers share what is encoded.
type topicKey struct {
	fleet bool
	host  storage.HostID // if not fleet
	// columns are the metrics' places of a fleet, and set says which hosts of it; empty is all.
	columns, set string
	form         form
}

// form is how messages are encoded.
type form uint8

const (
	formJSON   form = iota
	formBinary      // docs/live.md describes it
	formProto       // protobuf, for gRPC
)

// shape is what of a host a topic's messages have.
type shape struct {
	// everything is all families, not the host family only.
	everything bool
	// columns are the metrics of the host family, nil for all.
	columns []bool
	// nulls: what is not known is null or empty in JSON, as in REST, and not absent.
	nulls bool
}

// has tells whether a metric of a family is in the messages.
func (s *shape) has(family *catalogue.Family, metric int) bool {
	return s.columns == nil || s.columns[metric] || family.Place() != 0
}

// subject is what a request names.
type subject struct {
	key   topicKey
	shape shape
	// match tells whether a host belongs to it, nil for all.
	match func(*gohubv1.Host) bool
	// none: the viewer wants alerts only.
	none bool
}

// parseSubject makes a subject of a request; the error is for the viewer to read.
func parseSubject(request *gohubv1.LiveRequest, in form) (subject, error) {
	s := subject{key: topicKey{fleet: true, form: in}}
	switch topic := request.GetTopic().(type) {
	case *gohubv1.LiveRequest_Host:
		s.key = topicKey{host: storage.HostID(topic.Host.GetHostId()), form: in}
		s.shape.everything = true
		return s, nil
	case *gohubv1.LiveRequest_Fleet:
		return s, s.choose(topic.Fleet.GetMetrics())
	case *gohubv1.LiveRequest_Set:
		if err := s.pick(topic.Set); err != nil {
			return s, err
		}
		return s, s.choose(topic.Set.GetMetrics())
	case *gohubv1.LiveRequest_Alerts:
		s.none = true
		return s, nil
	default:
		return s, errors.New("the request names no topic")
	}
}

// choose takes the metrics that are wanted; none is all.
func (s *subject) choose(names []string) error {
	if len(names) == 0 {
		return nil
	}
	s.shape.columns = make([]bool, len(catalogue.Host().Metrics))
	for _, name := range names {
		metric, ok := catalogue.MetricByName(name)
		if !ok || metric.Family != catalogue.Host() {
			return fmt.Errorf("no metric %q of hosts", name)
		}
		s.shape.columns[metric.Index] = true
	}
	var key strings.Builder
	for _, chosen := range s.shape.columns {
		if chosen {
			key.WriteByte('+')
		} else {
			key.WriteByte('-')
		}
	}
	s.key.columns = key.String()
	return nil
}

// factLabels are what of a host's facts a set can be picked by.
var factLabels = map[string]func(*gohubv1.HostFacts) string{
	"hostname":         (*gohubv1.HostFacts).GetHostname,
	"os":               (*gohubv1.HostFacts).GetOs,
	"platform":         (*gohubv1.HostFacts).GetPlatform,
	"platform_version": (*gohubv1.HostFacts).GetPlatformVersion,
	"kernel_version":   (*gohubv1.HostFacts).GetKernelVersion,
	"arch":             (*gohubv1.HostFacts).GetArch,
	"cpu_model":        (*gohubv1.HostFacts).GetCpuModel,
	"agent_version":    (*gohubv1.HostFacts).GetAgentVersion,
}

// pick takes what the hosts of a set have in common.
func (s *subject) pick(set *gohubv1.SetTopic) error {
	labels, ids := set.GetLabels(), slices.Clone(set.GetHostIds())
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if factLabels[name] == nil {
			return fmt.Errorf("hosts have no label %q; they have %s", name, strings.Join(slices.Sorted(maps.Keys(factLabels)), ", "))
		}
		key.WriteString(name + "=" + strconv.Quote(labels[name]) + ",")
	}
	for _, id := range ids {
		key.WriteString(strconv.FormatUint(uint64(id), 10) + ",")
	}
	s.key.set = key.String()
	if s.key.set == "" {
		return errors.New("the set names neither labels nor hosts")
	}
	s.match = func(h *gohubv1.Host) bool {
		if len(ids) > 0 {
			if _, found := slices.BinarySearch(ids, h.GetHostId()); !found {
				return false
			}
		}
		for name, want := range labels {
			if factLabels[name](h.GetFacts()) != want {
				return false
			}
		}
		return true
	}
	return nil
}

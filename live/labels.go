package live

import (
	"maps"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// SetLabels takes the labels that the server gives a host. They stand above those of its agent.
func (s *State) SetLabels(id storage.HostID, labels map[string]string) {
	h := s.ensure(id)
	h.setLabels(labels)
	s.changes.note(h)
}

func (h *host) setLabels(labels map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	identity := proto.CloneOf(h.identity)
	identity.ServerLabels = maps.Clone(labels)
	identity.Labels = label.Merge(identity.GetFacts().GetLabels(), labels)
	if !proto.Equal(identity, h.identity) {
		h.adopt(identity)
	}
}

// Identities returns every host by id, without its values.
func (s *State) Identities() []*gohubv1.Host {
	m := s.moment()
	all := s.all()
	hosts := make([]*gohubv1.Host, len(all))
	for i, h := range all {
		hosts[i] = h.identify(m)
	}
	return hosts
}

// Identity returns one host without its values.
func (s *State) Identity(id storage.HostID) (*gohubv1.Host, bool) {
	h, known := s.lookup(id)
	if !known {
		return nil, false
	}
	return h.identify(s.moment()), true
}

func (h *host) identify(m moment) *gohubv1.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.describe(m)
}

// describe is the host without its values. It is called with mu held.
func (h *host) describe(m moment) *gohubv1.Host {
	status, since := h.status(m)
	message := &gohubv1.Host{
		HostId: h.identity.HostId, AgentId: h.identity.AgentId, Facts: h.identity.Facts, FirstSeen: h.identity.FirstSeen, ClonedAt: h.identity.ClonedAt,
		Status: status, Labels: h.identity.Labels, ServerLabels: h.identity.ServerLabels,
	}
	if !since.IsZero() {
		message.StatusSince = timestamppb.New(since.Truncate(time.Millisecond))
	}
	message.ClockSkewSeconds, message.IngestLagSeconds = h.clock()
	return message
}

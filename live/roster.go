package live

import (
	"io"
	"sync"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// The list of all hosts is encoded straight from the state: the generated messages of some thousand hosts, each with a map of its
// values, took a tenth of a second to build, to encode and to collect. What a host's part was last is kept while someone asks, so
// that only those that have changed are encoded.

// rosterShape is a host as REST lists it.
var rosterShape = shape{nulls: true}

const (
	// flushAt is how much JSON is gathered before it is written.
	flushAt = 256 << 10
	// rosterKept is for how long a roster is kept after it was asked for: dashboards of others ask every minute, if not every second.
	rosterKept = 3 * time.Minute
)

// roster keeps the parts of the list in one form: about a kilobyte a host.
type roster struct {
	form form

	mu      sync.Mutex // guards all below; a host's lock is taken under it
	askedAt time.Time
	// parts are by host.index.
	parts []rosterPart
	// size is that of the whole list, when it was asked for last.
	size int
}

// rosterPart is a host's, as it was when its version, status and since were these.
type rosterPart struct {
	text    []byte
	version uint64
	status  gohubv1.HostStatus
	since   time.Time
}

// append appends a host's part. It is called with mu held.
func (r *roster) append(buf []byte, h *host, m moment) []byte {
	if missing := h.index + 1 - len(r.parts); missing > 0 {
		r.parts = append(r.parts, make([]rosterPart, missing)...)
	}
	part := &r.parts[h.index]
	h.mu.Lock()
	status, since := h.status(m)
	if h.version != part.version || status != part.status || !since.Equal(part.since) { // a version is never 0
		part.version, part.status, part.since = h.version, status, since
		if r.form == formProto {
			part.text = h.appendProto(part.text[:0], m, &rosterShape)
		} else {
			part.text = h.appendJSON(part.text[:0], m, &rosterShape)
		}
	}
	h.mu.Unlock()
	return append(buf, part.text...)
}

// drop forgets the parts if no one has asked for them for long.
func (r *roster) drop(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.askedAt) >= rosterKept {
		r.parts, r.size = nil, 0
	}
}

// AppendHosts appends the hosts that match picks, nil for all, by id, with the values of the host family: in protobuf, as fields of
// number 1, as ListHostsResponse has them. match is called with what of the host does not change with its samples, which it must not
// change either, and its status.
func (s *State) AppendHosts(buf []byte, match func(*gohubv1.Host, gohubv1.HostStatus) bool) []byte {
	r, m, hosts := &s.protoRoster, s.moment(), s.picked(match)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.askedAt = m.now
	if match == nil && cap(buf) == 0 {
		buf = make([]byte, 0, r.size+r.size/16)
	}
	for _, h := range hosts {
		buf = r.append(buf, h, m)
	}
	if match == nil {
		r.size = len(buf)
	}
	return buf
}

// WriteHosts writes the same hosts as AppendHosts, as JSON objects with commas between them.
func (s *State) WriteHosts(w io.Writer, match func(*gohubv1.Host, gohubv1.HostStatus) bool) error {
	r, m, hosts := &s.jsonRoster, s.moment(), s.picked(match)
	buf := make([]byte, 0, min(len(hosts)*2<<10, flushAt+flushAt/4))
	for first := true; len(hosts) > 0; {
		buf = buf[:0]
		r.mu.Lock()
		r.askedAt = m.now
		for len(hosts) > 0 && len(buf) < flushAt {
			if !first {
				buf = append(buf, ',')
			}
			first = false
			buf = r.append(buf, hosts[0], m)
			hosts = hosts[1:]
		}
		r.mu.Unlock()
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// picked returns the hosts that match picks. match is called with nothing locked: a pattern may take its time.
func (s *State) picked(match func(*gohubv1.Host, gohubv1.HostStatus) bool) []*host {
	all := s.all()
	if match == nil {
		return all
	}
	m := s.moment()
	var found []*host
	for _, h := range all {
		h.mu.Lock()
		identity := h.identity
		status, _ := h.status(m)
		h.mu.Unlock()
		if match(identity, status) {
			found = append(found, h)
		}
	}
	return found
}

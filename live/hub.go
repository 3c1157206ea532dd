package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// HubOptions are the limits and the surroundings of a Hub. The zero value of a field is its default.
type HubOptions struct {
	// PushInterval is the least time between two deltas of a topic, 5 ms by default: a change that comes later than that after
	// the last one is sent at once.
	PushInterval time.Duration
	// SweepInterval is how often it is looked for what changes by the mere passage of time, statuses and pings, 250 ms by default.
	SweepInterval time.Duration
	// PingInterval is how often a viewer is asked for a sign of life, 30 s by default. One that shows none for as long
	// again is disconnected.
	PingInterval time.Duration
	// WriteTimeout is how long a write of up to 64 KiB may take, 10 s by default; of a longer message each 64 KiB.
	WriteTimeout time.Duration
	// MaxViewers bounds the connections and gRPC streams together, 2,000 by default: a viewer costs two goroutines and some 25 KiB.
	MaxViewers int
	// MaxViewersPerAddress bounds those of one remote address, as AddressOwner and RequestOwner tell; by default one may have all.
	MaxViewersPerAddress int
	// AddressOwner tells who is counted as one address, from a remote address with its port. Who has a Prefix that is not valid is
	// counted under none, and so is everybody by default.
	AddressOwner func(remote string) netip.Prefix
	// RequestOwner tells it of a WebSocket's request, where a proxy may say who is behind it; by default AddressOwner does.
	RequestOwner func(r *http.Request) netip.Prefix
	// MaxFrameBytes bounds what a viewer may send as one message over WebSocket, 4 KiB by default.
	MaxFrameBytes int
	// AllowOrigin tells whether pages of an origin ("https://example.org") may connect besides the server's own.
	// nil allows none.
	AllowOrigin func(origin string) bool
	// Logger is slog.Default by default.
	Logger *slog.Logger
	// Registerer takes the hub's own metrics; nil registers none.
	Registerer prometheus.Registerer
	// Now tells the time for statuses and pings, time.Now by default. Deadlines of sockets are by the machine's clock.
	Now func() time.Time
}

func (o HubOptions) withDefaults() HubOptions {
	if o.PushInterval <= 0 {
		o.PushInterval = 5 * time.Millisecond
	}
	if o.SweepInterval <= 0 {
		o.SweepInterval = 250 * time.Millisecond
	}
	if o.PingInterval <= 0 {
		o.PingInterval = 30 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.MaxViewers <= 0 {
		o.MaxViewers = 2000
	}
	if o.MaxViewersPerAddress <= 0 {
		o.MaxViewersPerAddress = o.MaxViewers
	}
	if o.AddressOwner == nil {
		o.AddressOwner = func(string) netip.Prefix { return netip.Prefix{} }
	}
	if o.RequestOwner == nil {
		o.RequestOwner = func(r *http.Request) netip.Prefix { return o.AddressOwner(r.RemoteAddr) }
	}
	if o.MaxFrameBytes <= 0 {
		o.MaxFrameBytes = maxRequestBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Hub shows a State to browsers over WebSocket, and to programs over gRPC too: the messages are LiveRequest and LiveMessage of the
// contract, over WebSocket as JSON text or in the binary form of docs/live.md. A viewer gets nothing but alerts until it has subscribed; then a snapshot of its topic, then deltas numbered by
// seq. The seq of alerts and errors is always 0: they belong to no topic.
//
//	State ──push──▶ topic ──one frame──▶ backlog ──writer of each viewer──▶ socket, gRPC stream
//	                  ▲                                                        │
//	                  └───────────── subscribe ◀──reader, Watch────────────────┘
//
// What changed in a topic is encoded once; all its viewers write the same bytes. No viewer can make the others wait: one that
// falls so far behind that the backlog does not reach back to it gets a snapshot.
type Hub struct {
	gohubv1.UnimplementedLiveServiceServer

	state   *State
	options HubOptions
	metrics *hubMetrics

	// running counts the viewers' handlers, so that Run can wait for them. Add is called with mu held and not stopped.
	running sync.WaitGroup

	mu      sync.Mutex // guards all below, and every topic
	started bool
	stopped bool
	places  places
	viewers map[*viewer]struct{}
	topics  map[topicKey]*topic
	alerts  *alertFrames // the newest list, nil before the first
	scratch []byte       // for encoding
	changed []*host
}

// NewHub returns a hub that serves connections at once and sends deltas while Run runs.
func NewHub(state *State, o HubOptions) *Hub {
	return &Hub{
		state:   state,
		options: o.withDefaults(),
		metrics: newHubMetrics(o.Registerer),
		viewers: make(map[*viewer]struct{}),
		topics:  make(map[topicKey]*topic),
		places:  places{by: make(map[netip.Prefix]int)},
	}
}

func (h *Hub) now() time.Time { return h.options.Now() }

// Run gathers changes and sends them until ctx ends. Then it refuses new viewers, closes the present ones with code
// 1001 or UNAVAILABLE, gives them two seconds to take leave, and returns nil when the last one has gone. It can be called once.
func (h *Hub) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.started {
		h.mu.Unlock()
		return errors.New("live hub was run before")
	}
	h.started = true
	h.mu.Unlock()

	sweep := time.NewTicker(h.options.SweepInterval)
	defer sweep.Stop()
	pause := time.NewTimer(h.options.PushInterval)
	defer pause.Stop()
	wake, pushed := h.state.changes.wake, time.Time{}
	for {
		select {
		case <-wake:
			h.push()
			pushed = time.Now()
			wake = nil // for a while: what changes meanwhile goes together
			pause.Reset(h.options.PushInterval)
		case <-pause.C:
			if h.busy() && time.Since(pushed) < maxConflation {
				pause.Reset(h.options.PushInterval)
				continue
			}
			wake = h.state.changes.wake
		case <-sweep.C:
			h.tick()
		case <-ctx.Done():
			h.stop()
			return nil
		}
	}
}

// A machine that can not write a delta to all viewers within PushInterval gains nothing by making the next one: larger ones that
// come less often cost it less. So while most have not written the newest, the next waits, but not longer than maxConflation. It does not
// wait for the last ones: they write both at once, and what comes now is not held up by what came before.
const (
	maxConflation = 100 * time.Millisecond
	fewSlow       = 50
)

// busy tells whether most viewers have not written the newest delta.
func (h *Hub) busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting, all := 0, 0
	for _, t := range h.topics {
		waiting += max(int(t.waiting.Load()), 0)
		all += len(t.subscribers)
	}
	return waiting > max(fewSlow, all/2)
}

// push sends what has changed.
func (h *Hub) push() {
	m := h.state.moment()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changed = h.state.changes.take(h.changed)
	for _, t := range h.topics {
		hosts := t.single
		if t.key.fleet {
			hosts = h.changed
		}
		t.send(m, hosts)
	}
}

// send makes the delta of those of the hosts that changed, and wakes the subscribers. Called with Hub.mu held.
func (t *topic) send(m moment, hosts []*host) {
	if !t.delta(m, hosts) {
		return
	}
	t.waiting.Store(int32(len(t.subscribers)))
	for v := range t.subscribers {
		v.poke()
	}
}

// tick looks at every host of every topic, and after the pings; and has the state forget what no one asks for or sends.
func (h *Hub) tick() {
	now, m := h.now(), h.state.moment()
	h.state.jsonRoster.drop(m.now)
	h.state.protoRoster.drop(m.now)
	h.state.letGo()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		t.send(m, t.hosts())
	}
	for v := range h.viewers {
		v.outlet.look(now)
	}
}

func (h *Hub) stop() {
	goodbye := compileClose(ws.StatusGoingAway, "server stops")
	h.mu.Lock()
	h.stopped = true
	for v := range h.viewers {
		v.end(reasonGoingAway, goodbye)
	}
	h.mu.Unlock()

	// A viewer that is in the middle of a write, or does not close its side, is not waited for longer.
	force := time.AfterFunc(2*closeGrace, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for v := range h.viewers {
			v.outlet.cut()
		}
	})
	defer force.Stop()
	h.running.Wait()
}

// PublishAlerts sends the list of alerts to every viewer, and to those who come later. A viewer that reads slowly gets
// the newest list only. The alerts are not kept.
func (h *Hub) PublishAlerts(alerts []*gohubv1.Alert) {
	list, err := compileAlerts(alerts)
	if err != nil {
		h.options.Logger.Error("alerts not sent to viewers", "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alerts != nil && bytes.Equal(list[formJSON], h.alerts[formJSON]) {
		return
	}
	h.alerts = list
	for v := range h.viewers {
		v.offerAlerts(list)
	}
}

// The subprotocols. Who asks for none gets JSON.
const (
	protocolJSON   = "gohub.v1.json"
	protocolBinary = "gohub.v1.binary"
)

func isProtocol(name string) bool { return name == protocolJSON || name == protocolBinary }

// maxParts bounds the topics that are a part of the fleet (some hosts or some metrics): each remembers all hosts.
const maxParts = 64

// Why a subscription may fail besides being none.
var (
	errNoHost       = errors.New("no host")
	errTooManyParts = fmt.Errorf("viewers ask for %d different parts of the fleet already; ask for the fleet", maxParts)
)

// ServeHTTP is the endpoint. The middleware before it has authorised the request; the connection ends when the
// request's context does, so a middleware that bounds the context by the session's end bounds the connection too.
//
// It answers 426 to a request that is no WebSocket handshake, 403 to a foreign origin, 429 to an address that has too many
// viewers, and 503 while the hub is full or stopped.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "this is a WebSocket endpoint", http.StatusUpgradeRequired)
		return
	}
	if !h.originAllowed(r) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	if offered := r.Header.Values("Sec-WebSocket-Protocol"); len(offered) > 0 && !slices.ContainsFunc(strings.Split(strings.Join(offered, ","), ","), func(name string) bool { return isProtocol(strings.TrimSpace(name)) }) {
		http.Error(w, "unknown subprotocol; there are "+protocolBinary+" and "+protocolJSON, http.StatusBadRequest)
		return
	}
	at := h.options.RequestOwner(r)
	if err := h.reserve(at); err != nil {
		turnAway(w, err)
		return
	}
	defer h.release(at)

	// The upgrader clears the HTTP server's deadlines and sets its own before it writes.
	upgrader := ws.HTTPUpgrader{Timeout: h.options.WriteTimeout, Protocol: isProtocol}
	conn, buffered, handshake, err := upgrader.Upgrade(r, w)
	if err != nil {
		// It has answered already, and has given us the connection if it had taken it from the server.
		if conn != nil {
			_ = conn.Close()
		}
		h.options.Logger.Debug("websocket handshake refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	in := formJSON
	if handshake.Protocol == protocolBinary {
		in = formBinary
	}
	h.serve(r.Context(), conn, buffered.Reader, in)
}

// originAllowed keeps pages of other sites from using a viewer's cookie. A request without Origin is no browser's.
func (h *Hub) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	if h.options.AllowOrigin != nil && h.options.AllowOrigin(origins[0]) {
		return true
	}
	origin, err := url.Parse(origins[0])
	if err != nil || origin.Host == "" {
		return false // "null" too: a sandboxed page or a file
	}
	var port string
	switch origin.Scheme {
	case "https":
		port = ":443"
	case "http":
		port = ":80"
	}
	return strings.EqualFold(strings.TrimSuffix(origin.Host, port), strings.TrimSuffix(r.Host, port))
}

// serve runs a connection whose handshake is done, for which a place is reserved.
func (h *Hub) serve(ctx context.Context, conn net.Conn, source io.Reader, in form) {
	s := newSocket(h, conn, in)
	h.enter(s.viewer)
	unwatch := context.AfterFunc(ctx, func() {
		s.viewer.end(reasonSession, compileClose(ws.StatusPolicyViolation, "session ended"))
	})
	s.serve(source)
	unwatch()
	h.leave(s.viewer, conn.RemoteAddr())
}

// enter lets a viewer in that has its outlet.
func (h *Hub) enter(v *viewer) {
	h.mu.Lock()
	h.viewers[v] = struct{}{}
	if h.alerts != nil {
		v.offerAlerts(h.alerts)
	}
	if h.stopped {
		v.end(reasonGoingAway, compileClose(ws.StatusGoingAway, "server stops"))
	}
	h.mu.Unlock()
	h.metrics.viewers.Inc()
}

// leave lets a viewer go that was ended, and returns why it was.
func (h *Hub) leave(v *viewer, remote net.Addr) reason {
	h.mu.Lock()
	h.unsubscribe(v)
	delete(h.viewers, v)
	h.mu.Unlock()
	h.metrics.viewers.Dec()
	v.mu.Lock()
	why := v.out.reason
	v.mu.Unlock()
	h.metrics.closed[why].Inc()
	h.options.Logger.Debug("viewer gone", "remote", remote, "reason", why)
	return why
}

// subscribe replaces the viewer's topic; asking for the same one again gives a new snapshot. An error is for the
// viewer to read, and leaves things as they were.
func (h *Hub) subscribe(v *viewer, request *gohubv1.LiveRequest) error {
	of, err := parseSubject(request, v.form)
	if err != nil {
		return err
	}
	key := of.key
	var single *host
	if !key.fleet {
		var ok bool
		if single, ok = h.state.lookup(key.host); !ok {
			return fmt.Errorf("%w with id %d", errNoHost, key.host)
		}
	}
	m := h.state.moment()
	h.mu.Lock()
	defer h.mu.Unlock()
	if of.none {
		h.unsubscribe(v)
		if h.alerts != nil {
			v.offerAlerts(h.alerts)
		}
	} else if v.topic == nil || v.topic.key != key {
		t, ok := h.topics[key]
		if !ok {
			if key.columns+key.set != "" && h.parts() >= maxParts {
				return errTooManyParts
			}
			h.state.changes.watch(true)
			t = newTopic(of, h.state, single, m)
			h.topics[key] = t
		}
		h.unsubscribe(v)
		t.subscribers[v] = struct{}{}
		v.topic = t
	}
	v.restart()
	return nil
}

// parts counts the topics that are a part of the fleet. It is called with mu held.
func (h *Hub) parts() int {
	parts := 0
	for key := range h.topics {
		if key.columns+key.set != "" {
			parts++
		}
	}
	return parts
}

// unsubscribe is called with mu held.
func (h *Hub) unsubscribe(v *viewer) {
	t := v.topic
	if t == nil {
		return
	}
	v.topic = nil
	delete(t.subscribers, v)
	if len(t.subscribers) == 0 {
		delete(h.topics, t.key)
		h.state.changes.watch(len(h.topics) > 0)
	}
}

// catchUp returns the snapshot of the viewer's topic, and puts the viewer's place behind it: no delta can be made meanwhile. The
// viewer's writer calls it.
func (h *Hub) catchUp(v *viewer) frame {
	m := h.state.moment()
	h.mu.Lock()
	defer h.mu.Unlock()
	var snapshot frame
	var next uint64
	if v.topic != nil {
		snapshot, next, h.scratch = v.topic.whole(m, h.scratch)
	}
	v.mu.Lock()
	v.out.behind, v.out.topic, v.out.next = false, v.topic, next
	v.mu.Unlock()
	return snapshot
}

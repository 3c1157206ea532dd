// Package relay shows on every server of a cluster what the agents of all tell. In the data's path it stands between ingest and
// live.State, which it tells what this server's agents send, and the others over NATS; what they tell goes into the State too. It
// stores nothing, and live knows nothing of it. docs/decisions/0012-several-servers.md says how and why.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Options of a Relay. State, Store, Database, and URL or Embedded must be given; the zero value of another field is its default.
type Options struct {
	State *live.State
	Store Store
	// URL is one or several of NATS servers, with commas. It may have a password.
	URL string
	// Embedded connects to a NATS in this process, in the place of a URL.
	Embedded []nats.Option
	// CAFile has the certificates that those of the NATS servers are held against, in PEM; the system's by default.
	CAFile string
	// Database names what the servers share: those of another database are not heard.
	Database string
	// Gather is how long an update waits for others to go along, 5 ms by default.
	Gather time.Duration
	// Heartbeat is the longest time between two updates, 1 s by default.
	Heartbeat time.Duration
	// Silence is how long nothing may be heard of a server until its hosts are unknown, 3 heartbeats by default.
	Silence time.Duration
	// Forget is how long a server that is not heard is waited for, 10 minutes by default.
	Forget time.Duration
	// Look is how often storage is asked for signs of hosts while a server is not heard, 10 s by default.
	Look time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger is slog.Default by default.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Store is what the servers share.
type Store interface {
	// Hosts returns every host, by id.
	Hosts(ctx context.Context) ([]storage.Host, error)
	// Positions tells how far the batches of hosts are stored; none stands for all.
	Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error)
}

// The bounds of what is sent. NATS takes messages up to 1 MiB unless it is told otherwise.
const (
	// messageBytes is what an update or a page of hosts has before it is closed; it may be longer by one host.
	messageBytes = 128 << 10
	// sampleBytes bounds a sample. Of a larger one, the instances that come last are left out.
	sampleBytes = 512 << 10
	// waitingMessages bounds the updates that wait to be sent, 8 MiB.
	waitingMessages = 64
)

// Relay is a server's part in a cluster. It implements ingest.Observer. All methods are safe for concurrent use.
//
//	ingest ──▶ Relay ──▶ State                        ingest ──▶ Relay ──▶ State
//	             │         ▲ this server                           │         ▲ another
//	         outgoing   incoming                               outgoing   incoming
//	             └───────▶ ╷ ▲ ◀───────── NATS ────────▶ ╷ ▲ ◀─────┘
//
// Updates are numbered by server. One that is missing, a server that is new, and news that come late have the others ask that server
// for all that it hears (catch), and until they have that they do not count it as heard.
type Relay struct {
	options  Options
	state    *live.State
	log      *slog.Logger
	metrics  *metrics
	id       string
	subjects subjects
	bus      *nats.Conn
	outgoing outgoing
	// publisher is owned by publish's goroutine, and then by Run's.
	publisher publisher
	// incoming is owned by the goroutine that NATS calls receive in.
	incoming incoming

	// updates is the subscription to those of the others.
	updates *nats.Subscription

	// labels is told that labels may be others than the State has: capacity 1.
	labels chan struct{}
	// catching counts the goroutines that ask other servers. Run waits for it.
	catching sync.WaitGroup

	mu    sync.Mutex // guards those below
	peers map[string]*peer
	// startCatch starts to ask a server for its hosts, while Run lets it.
	startCatch func(*peer)
	// cut is since when there is no connection to NATS, zero if there is one, and apart since when news of the others may be missed.
	cut, apart time.Time
}

// subjects are what the servers of one database call each other by on the bus.
type subjects struct{ updates, pages string }

// pagesOf is where a server answers.
func (s subjects) pagesOf(server string) string { return s.pages + "." + server }

// Open makes a relay that tells the State what it observes, and connects in the background: a NATS that is away keeps no server
// from starting. Run has it talk to the others; Close ends it.
func Open(o Options) (*Relay, error) {
	o.Gather = cmp.Or(o.Gather, 5*time.Millisecond)
	o.Heartbeat = cmp.Or(o.Heartbeat, time.Second)
	o.Silence = cmp.Or(o.Silence, 3*o.Heartbeat)
	o.Forget = cmp.Or(o.Forget, 10*time.Minute)
	o.Look = cmp.Or(o.Look, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	prefix := "gohub.v1." + o.Database
	r := &Relay{
		options: o, state: o.State, log: o.Logger, id: uuid.NewString(), subjects: subjects{prefix + ".live", prefix + ".hosts"},
		labels: make(chan struct{}, 1), peers: map[string]*peer{}, cut: o.Now(),
	}
	r.publisher.relay = r
	r.metrics = newMetrics(r, o.Registerer)
	r.outgoing.wake = make(chan struct{}, 1)
	r.outgoing.dropped = r.metrics.dropped
	if err := r.connect(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Relay) connect() error {
	options := []nats.Option{
		nats.Name("gohub-server"), nats.NoEcho(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// What could not be sent is old when the connection is back; the others ask for what is new.
		nats.ReconnectBufSize(-1),
		// A dead line is found by then; updates that do not come are noticed before.
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(5 * time.Second),
		nats.ConnectHandler(func(*nats.Conn) { r.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { r.connected() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { r.disconnected(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			r.log.Debug("no connection to NATS", "error", redact(err.Error(), r.options.URL))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { r.complain(err) }),
	}
	if r.options.CAFile != "" {
		options = append(options, nats.RootCAs(r.options.CAFile))
	}
	bus, err := nats.Connect(r.options.URL, append(options, r.options.Embedded...)...)
	if err != nil { // it may have the URL's password
		return errors.New("prepare the connection to NATS: " + redact(err.Error(), r.options.URL))
	}
	r.bus = bus
	if r.updates, err = bus.Subscribe(r.subjects.updates, r.receive); err != nil {
		bus.Close()
		return fmt.Errorf("subscribe to the updates of other servers: %w", err)
	}
	return nil
}

// Close ends the connection, without a word to the others if Run has not said it. It may be called more than once.
func (r *Relay) Close() { r.bus.Close() }

func (r *Relay) now() time.Time { return r.options.Now() }

// SetHost implements ingest.Observer.
func (r *Relay) SetHost(host storage.Host) {
	_, known := r.state.Identity(host.ID)
	r.state.SetHost(host)
	r.outgoing.host(host)
	if !known { // another server may have taken it in, and given it labels
		r.readLabels()
	}
}

// Observe implements ingest.Observer.
func (r *Relay) Observe(host storage.HostID, sample *catalogue.Sample, receivedAt time.Time) {
	r.state.Observe(host, sample, receivedAt)
	r.outgoing.sample(host, sample.Wire(), receivedAt)
}

// SetLabels tells this State of labels that are stored, and the others that there are some.
func (r *Relay) SetLabels(host storage.HostID, labels map[string]string) {
	r.state.SetLabels(host, labels)
	r.outgoing.labelsChanged()
}

// readLabels has the State's labels compared with storage.
func (r *Relay) readLabels() {
	select {
	case r.labels <- struct{}{}:
	default: // it will be done
	}
}

// Run talks to the other servers until ctx ends, and takes leave then. It returns when all its goroutines have ended. Call it
// once. An error is a mistake in the options.
func (r *Relay) Run(ctx context.Context) error {
	pages, err := r.bus.Subscribe(r.subjects.pagesOf(r.id), r.answer)
	if err != nil {
		return fmt.Errorf("subscribe to the requests of other servers: %w", err)
	}
	r.mu.Lock()
	r.startCatch = func(p *peer) { r.catching.Go(func() { r.catch(ctx, p) }) }
	r.mu.Unlock()
	var parts sync.WaitGroup
	parts.Go(func() { r.publish(ctx) })
	parts.Go(func() { r.watch(ctx) })
	parts.Go(func() { r.look(ctx) })
	parts.Wait()
	r.mu.Lock()
	r.startCatch = nil
	r.mu.Unlock()
	r.catching.Wait()
	r.farewell()
	for _, subscription := range []*nats.Subscription{r.updates, pages} {
		if err := subscription.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			r.log.Debug("subscription not ended", "error", err)
		}
	}
	r.bus.Close()
	return nil
}

// Package alert holds what the hosts send against rules, remembers what it found, and tells people. In the data's path
// it comes after live, whose newest values it reads every few seconds:
//
//	live ──▶ Source ──▶ Engine ──▶ Publish          every change, as the whole list, to the browsers
//	                       ├─────▶ saver ──▶ Store  changed alerts, so that a restart forgets nothing
//	                       └─────▶ alert/notify     what fired and what is over, to people
//
// Neither a database nor a receiver that is away holds up the evaluation.
package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/alert/notify"
	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// loadGrace is how long the first evaluation waits for a database that is away. Without the states of the last life
// everybody would be told everything again; later than that, silence is worse.
const loadGrace = time.Minute

// Source has the newest state of every host. The engine reads all of it every few seconds, so it is read in place: a
// source that makes nothing of a host to show it leaves the engine nothing to make either, but of what changes.
type Source interface {
	// Each calls see for every host, one after the other.
	Each(see func(Host))
}

// Host is one host as a source shows it. It is read before see returns; its strings may be kept.
type Host interface {
	ID() uint32
	// Hostname is empty and Interval 0 for a host whose facts are not known.
	Hostname() string
	Interval() time.Duration
	Status() gohubv1.HostStatus
	// Sampled is the time of the newest sample, by the host's clock; zero if there is none. What follows is of that sample.
	Sampled() time.Time
	// Rows is the number of instances of a family; of the host family, 0 or 1.
	Rows(family *catalogue.Family) int
	// Label is the i-th of the family's labels in a row.
	Label(family *catalogue.Family, row, i int) string
	// Value is a reading, and whether there is one.
	Value(metric *catalogue.Metric, row int) (float64, bool)
}

// Store keeps alerts over a restart. storage.Store has these methods.
type Store interface {
	// SaveAlerts inserts or replaces alerts by their id, and removes those ids that are in gone.
	SaveAlerts(ctx context.Context, alerts []*gohubv1.Alert, gone []string) error
	// Alerts returns the saved alerts.
	Alerts(ctx context.Context) ([]*gohubv1.Alert, error)
}

// Options are what an Engine needs.
type Options struct {
	Config Config
	Source Source
	Store  Store
	// Publish gets all alerts, in the order of ListAlerts, at the start and after every change of a state. Nobody
	// changes them any more. It is called by one goroutine, and must not block. Nil is nobody.
	Publish func([]*gohubv1.Alert)
	// Logger gets what operators should know; nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Link is the address of the dashboard that messages end with. Empty leaves it out.
	Link string
	// UserAgent of HTTP requests, default "GoHub".
	UserAgent string
	// Proxy chooses the HTTP proxy for Telegram and for webhooks with allow_private; nil is none.
	Proxy func(*http.Request) (*url.URL, error)
	// Leads tells whether this engine is the one that evaluates and tells people, where several share a Store; the others show
	// what it saves. Nil is always.
	Leads func() bool
	// Drain bounds the delivery of notifications after the end, default notify.DefaultDrain.
	Drain time.Duration
	// Now is the clock, default time.Now.
	Now func() time.Time
	// Ticks replaces the ticker of Config.Interval, for tests: every token is an evaluation.
	Ticks <-chan time.Time
}

// Engine evaluates the rules. It implements gohubv1.AlertServiceServer; its methods are safe for concurrent use.
type Engine struct {
	gohubv1.UnimplementedAlertServiceServer

	rules    []*compiled
	interval time.Duration
	repeat   time.Duration
	source   Source
	store    Store
	publish  func([]*gohubv1.Alert)
	log      *slog.Logger
	metrics  *metrics
	saver    *saver
	notifier *notify.Dispatcher
	// tellAll is notifier.Notify; tests replace it.
	tellAll func([]notify.Event)
	leads   func() bool
	now     func() time.Time
	ticks   <-chan time.Time

	// Owned by Run's goroutine. leading is what leads said last.
	leading           bool
	loaded, published bool
	started           time.Time
	// unsaved has changed alerts until the saved ones are loaded, which they would overwrite.
	unsaved map[string]*gohubv1.Alert

	// mu guards what follows: Run's goroutine changes it, list reads it.
	mu     sync.Mutex
	tick   uint64
	hosts  map[uint32]*host
	states map[key]map[string]*state
	// orphans are resolved alerts of rules that are not there any more.
	orphans map[string]*gohubv1.Alert
	// followed is what another engine has saved, nil once this one has evaluated.
	followed []*gohubv1.Alert
	// out gathers what the evaluation under way leads to.
	out changes
}

var _ gohubv1.AlertServiceServer = (*Engine)(nil)

// NewEngine checks the configuration, and reads the files of secrets. The error lists every mistake and no secret.
func NewEngine(o Options) (*Engine, error) {
	if o.Source == nil || o.Store == nil {
		return nil, errors.New("alert engine needs a source and a store")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	rules, err := compileRules(o.Config.EffectiveRules())
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Publish == nil {
		o.Publish = func([]*gohubv1.Alert) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Config.Interval == 0 {
		o.Config.Interval = Duration(DefaultInterval)
	}
	e := &Engine{
		rules: rules, interval: time.Duration(o.Config.Interval), repeat: o.Config.Notify.Repeat(),
		source: o.Source, store: o.Store, publish: o.Publish, log: o.Logger, metrics: newMetrics(), leads: o.Leads, now: o.Now, ticks: o.Ticks,
	}
	e.forget()
	e.saver = newSaver(o.Store, o.Logger, e.metrics)
	e.notifier, err = notify.New(notify.Options{
		Config: o.Config.Notify, Logger: o.Logger, Registerer: o.Registerer, Link: o.Link, UserAgent: o.UserAgent,
		Proxy: o.Proxy, Drain: o.Drain,
	})
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	e.tellAll = e.notifier.Notify
	if o.Registerer != nil {
		if err := e.metrics.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return e, nil
}

// Run evaluates until the context ends. Then it saves what is unsaved, delivers what is undelivered, each within a few
// seconds, and returns when all its goroutines have ended. Call it once. It returns nil.
func (e *Engine) Run(ctx context.Context) error {
	// Saver and notifier stop after the loop, so that its last changes reach them.
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var helpers sync.WaitGroup
	helpers.Go(func() { e.saver.run(after) })
	helpers.Go(func() { e.notifier.Run(after) })
	e.loop(ctx)
	stop()
	helpers.Wait()
	return nil
}

func (e *Engine) loop(ctx context.Context) {
	ticks := e.ticks
	if ticks == nil {
		ticker := time.NewTicker(e.interval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	e.started = e.now()
	for {
		e.step(ctx)
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
	}
}

// step loads the states if that is still to do, evaluates, and passes on what came of it.
func (e *Engine) step(ctx context.Context) {
	if !e.mayLead() {
		e.follow(ctx)
		return
	}
	if !e.loaded {
		e.load(ctx)
	}
	if !e.loaded && e.now().Sub(e.started) < loadGrace || ctx.Err() != nil {
		return
	}
	begun := time.Now()
	e.mu.Lock()
	e.evaluate(e.now())
	e.followed = nil
	out := e.out
	e.out = changes{save: map[string]*gohubv1.Alert{}}
	e.mu.Unlock()
	e.metrics.evaluation.Observe(time.Since(begun).Seconds())
	if !e.published || len(out.save) > 0 {
		e.published = true
		alerts := e.list()
		e.metrics.count(alerts)
		e.publish(alerts)
	}
	maps.Copy(e.unsaved, out.save)
	if e.loaded {
		e.saver.add(e.unsaved)
		clear(e.unsaved)
	}
	e.tellAll(out.events)
}

// load makes one attempt to take up the saved states.
func (e *Engine) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	alerts, err := e.store.Alerts(ctx)
	if err != nil {
		if e.tick == 0 {
			e.log.Warn("saved alerts not loaded, trying again", "error", err)
		}
		e.metrics.saveErrors.Inc()
		return
	}
	e.mu.Lock()
	e.restore(e.now(), alerts)
	e.mu.Unlock()
	// What was taken up is to be shown.
	e.loaded, e.published = true, false
}

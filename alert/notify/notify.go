// Package notify tells people of alerts: by e-mail, Telegram and webhooks. In the data's path it is the end of alert:
// the engine hands over events and forgets them; here they wait for their receivers.
//
//	Notify ──▶ queue ──▶ worker ──▶ SMTP server      one queue and one worker an address, chat or URL, so that
//	      ├──▶ queue ──▶ worker ──▶ Bot API          a receiver that is away holds up nobody else
//	      └──▶ queue ──▶ worker ──▶ webhook
package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultDrain is how long Run goes on delivering after its context ended.
const DefaultDrain = 5 * time.Second

// Options are what a Dispatcher needs.
type Options struct {
	Config Config
	// Logger gets a line when a receiver begins to fail and when it works again. Nil discards.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Link is the address of the dashboard that messages end with. Empty leaves it out.
	Link string
	// UserAgent of HTTP requests, default "GoHub".
	UserAgent string
	// Proxy chooses the HTTP proxy for Telegram and for webhooks with allow_private. Nil is none. Other webhooks never
	// use one: through a proxy, the address that they reach can not be checked.
	Proxy func(*http.Request) (*url.URL, error)
	// Drain bounds the delivery after the end, default DefaultDrain.
	Drain time.Duration
}

// Dispatcher delivers events to all receivers.
type Dispatcher struct {
	workers []*worker
	drain   time.Duration
	metrics *metrics
}

// New reads the secrets' files and prepares the receivers; it does not talk to them. Its errors tell no secret.
func New(o Options) (*Dispatcher, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.UserAgent == "" {
		o.UserAgent = "GoHub"
	}
	if o.Drain <= 0 {
		o.Drain = DefaultDrain
	}
	d := &Dispatcher{drain: o.Drain, metrics: newMetrics()}
	add := func(r Receiver, target sender, secrets scrubber) {
		d.workers = append(d.workers, newWorker(r, target, secrets, o, d.metrics))
		d.metrics.prepare(r.Name)
	}
	var errs []error
	for _, c := range o.Config.Email {
		errs = append(errs, c.senders(func(s sender, secrets scrubber) { add(c.Receiver, s, secrets) }))
	}
	for _, c := range o.Config.Telegram {
		errs = append(errs, c.senders(o, func(s sender, secrets scrubber) { add(c.Receiver, s, secrets) }))
	}
	for _, c := range o.Config.Webhooks {
		errs = append(errs, c.senders(o, func(s sender, secrets scrubber) { add(c.Receiver, s, secrets) }))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if o.Registerer != nil {
		if err := d.metrics.register(o.Registerer); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return d, nil
}

// Notify queues events for every receiver that wants them. It never blocks and is safe for concurrent use. Events of
// one call go out in one message a receiver.
func (d *Dispatcher) Notify(events []Event) {
	for _, w := range d.workers {
		w.add(events)
	}
}

// Run delivers until the context ends, then tries for Options.Drain to deliver what is left, and returns when all its
// goroutines have ended. Call it once.
func (d *Dispatcher) Run(ctx context.Context) {
	// Deliveries live on while the rest stops, and end at last when hard is cancelled.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d.drain, cancel) })
	defer stop()
	var workers sync.WaitGroup
	for _, w := range d.workers {
		workers.Go(func() { w.run(ctx, hard) })
	}
	workers.Wait()
}

// sender delivers messages to one address, chat or URL. An error is a *failure where the sender knows more than that
// it did not work; any other error is taken for one that passes.
type sender interface {
	send(ctx context.Context, m message) error
}

// failure is an error that says whether it is worth trying again.
type failure struct {
	err error
	// permanent: the same message will be refused again.
	permanent bool
	// after is how long the receiver wants to be left alone, 0 if it did not say.
	after time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func permanent(err error) error { return &failure{err: err, permanent: true} }

// httpClient follows no redirects, so that a request goes where the configuration says and nowhere else.
func httpClient(caFile string, dial dialFunc, proxy func(*http.Request) (*url.URL, error)) (*http.Client, error) {
	config, err := tlsConfig(caFile)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         dial,
			Proxy:               proxy,
			TLSClientConfig:     config,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: 10 * time.Second,
			// Alerts are rare: no connection is worth keeping between two of them.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// tlsConfig trusts the system's certificates and those in the file, if there is one.
func tlsConfig(caFile string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if config.RootCAs, err = x509.SystemCertPool(); err != nil {
		config.RootCAs = x509.NewCertPool()
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s has no certificate", caFile)
	}
	return config, nil
}

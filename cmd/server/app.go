package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/gohub-io/gohub/alert"
	"github.com/gohub-io/gohub/auth"
	"github.com/gohub-io/gohub/ingest"
	"github.com/gohub-io/gohub/live"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/query"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/timescale"
)

// App is the wired server.
//
//	agents ──gRPC──▶ ingest ──Append──▶ storage ◀──Range── query ◀──gRPC, REST── dashboard, programs
//	                   │           └──▶ live.Recent ◀──Range────┤
//	                   └────Observe───▶ live.State ◀────────────┘      (with other servers: cluster.go)
//	                                      ├──▶ live.Hub ──WebSocket, gRPC──▶ dashboard, programs
//	                                      ├──▶ live.Exposition ──▶ /metrics, /metrics/hosts
//	                                      └──▶ alert.Engine ──▶ e-mail, Telegram, webhooks
//
// Every HTTP request and every gRPC call passes auth.Authoriser first.
type App struct {
	config Config
	log    *slog.Logger

	store database
	// recent is nil if it is switched off. It is refilled so long after Run.
	recent       *live.Recent
	refillAfter  time.Duration
	ingest       *ingest.Server
	hub          *live.Hub
	authoriser   *auth.Authoriser
	exposition   *live.Exposition
	state        *live.State
	alerts       *alert.Engine
	cluster      *cluster // nil if this is the only server
	grpcServer   *grpc.Server
	httpServer   *http.Server
	grpcListener net.Listener
	// tls is what both listeners speak, nil for plain text. net/http changes its own copy.
	tls          *tls.Config
	httpListener net.Listener

	// limitedGRPC and limitedHTTP are the listeners with bounds on connections.
	limitedGRPC, limitedHTTP net.Listener

	// closers undo what NewApp started, last first.
	closers []func() error
}

// NewApp opens storage, wires the parts and binds the addresses, and serves nothing yet.
func NewApp(ctx context.Context, config Config, log *slog.Logger) (_ *App, err error) {
	app := &App{config: config, log: log, refillAfter: refillAfter}
	defer func() {
		if err != nil {
			err = errors.Join(err, app.close())
		}
	}()

	exposure := auth.Exposure{
		HTTPListen: config.HTTPListen, GRPCListen: config.GRPCListen,
		HasTLS: config.TLSCertFile != "", AllowPlaintext: config.InsecurePlaintext,
		HasAgentToken: config.AgentToken != "", HasPassword: config.Password != "" || config.PasswordHash != "",
	}
	if err := auth.CheckExposure(exposure); err != nil {
		return nil, err
	}
	tlsConfig, err := loadTLS(config)
	if err != nil {
		return nil, err
	}
	store, err := openDatabase(ctx, config, storage.Options{Logger: log, Queries: query.ConcurrentDefault})
	if err != nil {
		return nil, err
	}
	app.store = store
	app.closers = append(app.closers, app.store.Close)

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newBuildInfo(), store.RollupWatch())

	pages, err := newDashboard(log)
	if err != nil {
		return nil, err
	}
	proxies, err := auth.ParseProxies(config.TrustedProxies)
	if err != nil {
		return nil, err
	}
	app.authoriser, err = auth.New(auth.Options{
		Password: config.Password, PasswordHash: config.PasswordHash, AgentToken: config.AgentToken, APIToken: config.APIToken,
		Sessions: app.store, SecureCookies: tlsConfig != nil, HSTS: config.HSTS, Proxies: proxies,
		Static: pages.isStatic, ContentSecurityPolicy: pages.contentSecurityPolicy,
		Logger: log.With("part", "auth"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}

	state := live.NewState(time.Now)
	state.Limit(int64(config.LiveMemoryBytes))
	registry.MustRegister(state.Collectors()...)
	app.state = state
	newest, err := restore(ctx, state, app.store)
	if err != nil {
		return nil, err
	}
	if app.cluster, err = openCluster(ctx, config, store, state, tlsConfig, log, registry); err != nil {
		return nil, err
	}
	var observer ingest.Observer = state
	var hosts query.Fleet = state
	var leads func() bool
	if app.cluster != nil {
		app.closers = append(app.closers, app.cluster.close)
		observer, hosts, leads = app.cluster.relay, clusterFleet{state, app.cluster.relay}, app.cluster.office.Held
	}
	app.exposition = live.NewExposition(state, live.ExpositionOptions{NodeExporter: config.MetricsNodeExporter})
	app.hub = live.NewHub(state, live.HubOptions{
		MaxViewersPerAddress: config.MaxViewersPerAddress, AddressOwner: auth.AddressOwner, RequestOwner: proxies.Owner,
		Logger: log.With("part", "live"), Registerer: registry,
	})
	app.alerts, err = alert.NewEngine(alert.Options{
		Config: config.Alerts, Source: &fleet{state: state}, Store: app.store, Publish: app.hub.PublishAlerts, Leads: leads,
		Link: config.PublicURL, UserAgent: "GoHub/" + version, Proxy: http.ProxyFromEnvironment,
		Logger: log.With("part", "alert"), Registerer: registry,
	})
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	sink, recent, err := app.openRecent(ctx, registry)
	if err != nil {
		return nil, err
	}
	app.ingest = ingest.NewServer(ingest.Options{
		Sink: sink, Observer: observer, Version: version,
		RingSlots: config.RingSlots, FlushRows: config.FlushRows, FlushAge: config.FlushAge, BufferBytes: int64(config.IngestBufferBytes),
		MaxAge: config.oldestSample(), MaxFuture: maxFuture, Newest: newest, FastClock: app.store.ContradictClock,
		Logger: slog.New(limitLines(log.Handler(), agentLinesEach, agentLinesBurst)).With("part", "ingest"), Registerer: registry,
	})
	app.closers = append(app.closers, func() error { return app.ingest.Close(context.Background()) })
	queries := query.NewService(query.Options{Store: app.store, Fleet: hosts, Recent: recent, Version: version, Logger: log.With("part", "query")})

	app.grpcServer = newGRPCServer(app.authoriser, queries, tlsConfig)
	app.ingest.Register(app.grpcServer)
	gohubv1.RegisterQueryServiceServer(app.grpcServer, queries)
	gohubv1.RegisterAlertServiceServer(app.grpcServer, app.alerts)
	gohubv1.RegisterLiveServiceServer(app.grpcServer, app.hub)
	healthv1.RegisterHealthServer(app.grpcServer, health.NewServer())
	reflection.Register(app.grpcServer)

	handler, err := newHandler(handlerOptions{
		queries: queries, alerts: app.alerts, live: app.hub, authoriser: app.authoriser,
		dashboard: pages.handler, log: log,
		metrics: app.metricsHandler(registry), hostMetrics: app.exposition.MetricsHandler(nil, log.With("part", "live")),
		ready: []readinessSource{
			{check: app.store.Ping, problem: "the database does not answer"},
			{check: app.ingest.Ready, problem: "samples can not be stored"},
		},
	})
	if err != nil {
		return nil, err
	}
	app.tls = tlsConfig
	app.httpServer = &http.Server{
		Handler: handler, TLSConfig: tlsConfig.Clone(), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	if app.grpcListener, err = listen("grpc_listen", config.GRPCListen); err != nil {
		return nil, err
	}
	app.closers = append(app.closers, ignoreClosed(app.grpcListener.Close))
	connections := newCeiling(mostConnections())
	app.limitedGRPC = connections.listen(app.grpcListener, "grpc", config.ConnectionsPerAddress, registry)
	if app.httpListener, err = listen("http_listen", config.HTTPListen); err != nil {
		return nil, err
	}
	app.closers = append(app.closers, ignoreClosed(app.httpListener.Close))
	app.limitedHTTP = connections.listen(app.httpListener, "http", config.HTTPConnectionsPerAddress, registry)
	if exposure.AllowPlaintext && tlsConfig == nil {
		log.Warn("insecure_plaintext is set: passwords, tokens and samples cross the network readable and changeable by anyone on the way")
	}
	return app, nil
}

// metricsHandler answers at /metrics: with the server's own metrics, and with those of the hosts unless they are to be apart.
func (a *App) metricsHandler(own *prometheus.Registry) http.Handler {
	if a.config.MetricsHosts == metricsTogether {
		return a.exposition.MetricsHandler(own, a.log.With("part", "live"))
	}
	return promhttp.HandlerFor(own, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError), MaxRequestsInFlight: 4, EnableOpenMetrics: true,
	})
}

func newGRPCServer(authoriser *auth.Authoriser, queries *query.Service, tlsConfig *tls.Config) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.InTapHandle(authoriser.Tap()),
		grpc.ChainUnaryInterceptor(authoriser.UnaryInterceptor(), queries.UnaryInterceptor()),
		grpc.StreamInterceptor(authoriser.StreamInterceptor()),
		grpc.ForceServerCodecV2(query.Codec(live.Codec(ingest.Codec()))),
		grpc.MaxRecvMsgSize(ingest.MaxMessageBytes),
		// An agent needs one stream; a program that queries some more.
		grpc.MaxConcurrentStreams(32),
		// Windows that grow with the network's delay could hold 16 MiB of each agent, and are measured by pings. These let one
		// agent send 1 MB/s over half the world, compressed, and share a connection among some.
		grpc.StaticStreamWindowSize(64 << 10),
		grpc.StaticConnWindowSize(256 << 10),
		// Dead networks are found by the keep-alives of TCP, which the kernel sends: gRPC's own pings would wake two goroutines
		// of every idle agent. The timeout bounds how long the kernel waits for an answer (TCP_USER_TIMEOUT). It probes every 15 s:
		// with gRPC's 20 s a single lost probe would end a connection. An agent may ping. A connection without a stream is of no
		// use to it.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute, Timeout: time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(20 * time.Second),
		// Thousands of agents are silent most of the time. What they are sent is a few bytes, for which gRPC would borrow a
		// buffer for each while it waits whether more comes: a round of pings would take as much memory as the streams. Their
		// few headers are not worth a table.
		grpc.WriteBufferSize(0),
		grpc.HeaderTableSize(0),
		grpc.MaxHeaderListSize(16 << 10),
		experimental.BufferPool(ingest.Buffers()),
	}
	// What is read into belongs to a connection for good with TLS, and is borrowed without. TLS has buffers of its own, from
	// which the payload of a message is read past this one: it is for the headers of frames.
	transport, readBuffer := insecure.NewCredentials(), 8<<10
	if tlsConfig != nil {
		transport, readBuffer = credentials.NewTLS(tlsConfig), 512
	}
	options = append(options, grpc.ReadBufferSize(readBuffer))
	return grpc.NewServer(append(options, grpc.Creds(ingest.Credentials(transport)))...)
}

// database is a store with what export and import need.
type database interface {
	storage.Store
	storage.Archive
}

// openDatabase opens the one that is configured, with its retention.
func openDatabase(ctx context.Context, config Config, options storage.Options) (database, error) {
	keep, err := config.retention()
	if err != nil {
		return nil, err
	}
	options.Retention, options.MaxHosts = &keep, config.MaxHosts
	if config.DatabaseURL == "" {
		return sqlite.Open(config.DataDir, options)
	}
	store, err := timescale.Open(ctx, config.DatabaseURL, options)
	if errors.Is(err, storage.ErrUnavailable) {
		return nil, fmt.Errorf("%w; check that the database runs and that database_url is right, or unset it to store into SQLite", err)
	}
	return store, err
}

// restore fills the state from storage, so that a restart shows the fleet at once. It returns when the samples of most hosts end,
// zero if there are none.
func restore(ctx context.Context, state *live.State, store storage.Store) (newest time.Time, err error) {
	hosts, err := store.Hosts(ctx)
	if err != nil {
		return newest, fmt.Errorf("restore the fleet: %w", err)
	}
	for _, host := range hosts {
		state.SetHost(host)
		state.SetLabels(host.ID, host.Labels)
	}
	latest, err := store.LatestSamples(ctx, time.Now().Add(-24*time.Hour))
	if err != nil {
		return newest, fmt.Errorf("restore the latest samples: %w", err)
	}
	state.Restore(latest)
	if len(latest) == 0 {
		return newest, nil
	}
	slices.SortFunc(latest, func(a, b storage.Latest) int { return a.Time.Compare(b.Time) })
	return latest[len(latest)/2].Time, nil
}

func loadTLS(config Config) (*tls.Config, error) {
	if config.TLSCertFile == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(config.TLSCertFile, config.TLSKeyFile)
	if err != nil {
		return nil, fmt.Errorf("load the certificate from tls_cert_file and tls_key_file: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

func listen(key, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop the program that uses the port, or choose another address", key, err)
	}
	return listener, nil
}

// HTTPAddr and GRPCAddr are the addresses that were bound.
func (a *App) HTTPAddr() string { return a.httpListener.Addr().String() }

// GRPCAddr is documented with HTTPAddr.
func (a *App) GRPCAddr() string { return a.grpcListener.Addr().String() }

// Run serves until ctx ends or a part fails, then stops: it takes no more batches, stores and acknowledges what it has,
// and returns nil if that went well.
func (a *App) Run(ctx context.Context) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var serving, parts sync.WaitGroup
	start := func(group *sync.WaitGroup, name string, run func() error) {
		group.Go(func() {
			if err := run(); err != nil {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	start(&parts, "live", func() error { return a.hub.Run(background) })
	start(&parts, "exposition", func() error { return a.exposition.Run(background) })
	start(&parts, "auth", func() error { return a.authoriser.Run(background) })
	start(&parts, "alert", func() error { return a.alerts.Run(background) })
	start(&parts, "intake", func() error { watchIntake(background, a.state, a.ingest.Ready); return nil })
	start(&parts, "recent", func() error { a.refillRecent(background); return nil })
	start(&parts, "memory", func() error { returnMemory(background); return nil })
	if a.cluster != nil {
		start(&parts, "cluster", func() error { return a.cluster.relay.Run(background) })
		start(&parts, "office", func() error { a.cluster.store.Lead(background, &a.cluster.office); return nil })
	}
	start(&serving, "gRPC", func() error { return a.grpcServer.Serve(a.limitedGRPC) })
	start(&serving, "HTTP", func() error {
		err := a.serveHTTP()
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	if err := a.announce(); err != nil {
		cancel(err)
	}
	a.log.Info("serving", "dashboard", a.scheme()+"://"+a.HTTPAddr()+"/", "grpc", a.GRPCAddr(), "version", version, "storage", a.storageName())

	<-running.Done()
	a.log.Info("stopping", "timeout", a.config.ShutdownTimeout)
	deadline, cancelDeadline := context.WithTimeout(context.WithoutCancel(ctx), a.config.ShutdownTimeout)
	defer cancelDeadline()
	var failures []error
	if cause := context.Cause(running); !errors.Is(cause, context.Canceled) {
		failures = append(failures, cause)
	}
	if err := a.ingest.Close(deadline); err != nil {
		failures = append(failures, fmt.Errorf("store what was received: %w; agents will send it again", err))
	}
	stopBackground() // viewers and notifications end before the HTTP server waits for its connections
	if err := a.httpServer.Shutdown(deadline); err != nil {
		failures = append(failures, fmt.Errorf("end HTTP requests: %w", err))
	}
	a.stopGRPC(deadline)
	serving.Wait()
	parts.Wait()
	a.ingest.Wait()
	failures = append(failures, a.close())
	if err := errors.Join(failures...); err != nil {
		return err
	}
	a.log.Info("stopped")
	return nil
}

func (a *App) serveHTTP() error {
	if a.tls != nil {
		return a.httpServer.ServeTLS(a.limitedHTTP, "", "")
	}
	return a.httpServer.Serve(a.limitedHTTP)
}

// stopGRPC lets running calls end for a moment, and cuts them then: ingest has ended its streams already, and what is left
// (a health watch, reflection) would stay for as long as its caller likes.
func (a *App) stopGRPC(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		a.grpcServer.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		a.grpcServer.Stop()
		<-done
	}
}

func (a *App) close() error {
	var failures []error
	for _, closer := range slices.Backward(a.closers) {
		failures = append(failures, closer())
	}
	a.closers = nil
	return errors.Join(failures...)
}

// ignoreClosed makes closing what a server has closed already no failure.
func ignoreClosed(closer func() error) func() error {
	return func() error {
		if err := closer(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

func (a *App) scheme() string {
	if a.tls != nil {
		return "https"
	}
	return "http"
}

func (a *App) storageName() string {
	if a.config.DatabaseURL != "" {
		return "timescaledb"
	}
	return "sqlite in " + a.config.DataDir
}

func newBuildInfo() prometheus.Collector {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gohub_build_info", Help: "Constant 1, labelled with the server's version.", ConstLabels: prometheus.Labels{"version": version},
	})
	gauge.Set(1)
	return gauge
}

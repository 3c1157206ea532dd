package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"

	"github.com/gohub-io/gohub/auth"
	gateway "github.com/gohub-io/gohub/proto/gateway/gohub/v1"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/query"
	"github.com/gohub-io/gohub/query/openapi"
	"github.com/gohub-io/gohub/web"
)

type handlerOptions struct {
	queries    *query.Service
	alerts     gohubv1.AlertServiceServer
	live       http.Handler
	authoriser *auth.Authoriser
	dashboard  http.Handler
	// metrics answers at /metrics, hostMetrics at /metrics/hosts.
	metrics, hostMetrics http.Handler

	ready []readinessSource
	log   *slog.Logger
}

// newHandler routes HTTP. Every request passes the authoriser.
func newHandler(o handlerOptions) (http.Handler, error) {
	rest := runtime.NewServeMux()
	ctx := context.Background() // the registrations below keep nothing of it
	if err := gateway.RegisterQueryServiceHandlerServer(ctx, rest, o.queries); err != nil {
		return nil, fmt.Errorf("serve the query service over REST: %w", err)
	}
	if err := gateway.RegisterAlertServiceHandlerServer(ctx, rest, o.alerts); err != nil {
		return nil, fmt.Errorf("serve the alert service over REST: %w", err)
	}
	gate, err := openapi.Gate(o.queries.Formats(rest))
	if err != nil {
		return nil, err
	}
	// The list of a large fleet has megabytes: twice the bytes a second for a tenth more of them.
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("compress answers: %w", err)
	}
	api := compress(gate)
	mux := http.NewServeMux()
	mux.Handle("/healthz", read(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })))
	mux.Handle("/readyz", read(readiness(o.ready, o.log)))
	mux.Handle("/metrics", read(o.metrics))
	mux.Handle("/metrics/hosts", read(o.hostMetrics))
	mux.Handle("/api/v1/live", read(o.live))
	mux.Handle("/api/v1/openapi.json", gzhttp.GzipHandler(read(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi.JSON) // the client is gone, no one to tell
	}))))
	o.authoriser.Register(mux)
	mux.Handle("/api", api)
	mux.Handle("/api/", api)
	mux.Handle("/", gzhttp.GzipHandler(read(o.dashboard)))
	return o.authoriser.Middleware(mux), nil
}

// read answers 405 to methods that would change something. The patterns above have no methods, as one that has one lets
// the others fall through to the dashboard.
func read(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if openapi.Allowed(w, r, http.MethodGet, http.MethodHead) {
			next.ServeHTTP(w, r)
		}
	})
}

// readinessSource is a part without which the server does not do its work.
type readinessSource struct {
	// check returns why the part does not work. It must heed its context.
	check func(context.Context) error
	// problem is what the asker is told then. It may be anybody, so it does not hear the error itself.
	problem string
}

// readiness answers whether all sources work.
func readiness(sources []readinessSource, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		for _, source := range sources {
			if err := source.check(ctx); err != nil {
				log.DebugContext(r.Context(), "not ready", "problem", source.problem, "error", err)
				http.Error(w, source.problem, http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ready")
	}
}

// dashboard is the static export, as the handler and the authoriser need it.
type dashboard struct {
	handler http.Handler
	// isStatic tells which paths are its files: they hold no data, and the login page must load without a login.
	isStatic func(path string) bool
	// contentSecurityPolicy lets its inline scripts run and no others.
	contentSecurityPolicy string
}

func newDashboard(log *slog.Logger) (dashboard, error) {
	const policy = "default-src 'self'; script-src 'self'%s; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
		"connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	files, built := web.Static()
	if !built {
		log.Warn("this binary has no dashboard: it was built before `make web`")
		return dashboard{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "This server was built without its dashboard. Run `make web`, then build it again.", http.StatusNotFound)
		}), contentSecurityPolicy: fmt.Sprintf(policy, "")}, nil
	}
	content, err := fs.ReadFile(files, "csp-hashes.json")
	if err != nil {
		return dashboard{}, fmt.Errorf("read the dashboard's script hashes: %w", err)
	}
	var hashes []string
	if err := json.Unmarshal(content, &hashes); err != nil {
		return dashboard{}, fmt.Errorf("read the dashboard's script hashes: %w", err)
	}
	var sources strings.Builder
	for _, hash := range hashes {
		fmt.Fprintf(&sources, " '%s'", hash)
	}
	isStatic, err := auth.StaticPaths(files)
	if err != nil {
		return dashboard{}, fmt.Errorf("list the dashboard's files: %w", err)
	}
	return dashboard{handler: serveFiles(files), isStatic: isStatic, contentSecurityPolicy: fmt.Sprintf(policy, sources.String())}, nil
}

// serveFiles serves the export: what Next names by its content is cached for ever, pages are asked for each time, and
// an unknown path gets the export's own page for that.
func serveFiles(files fs.FS) http.Handler {
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if name == "" {
			name = "."
		}
		file := name
		if entry, err := fs.Stat(files, name); err == nil && entry.IsDir() {
			file = path.Join(name, "index.html") // http.FileServer would list a folder that has none
		}
		if _, err := fs.Stat(files, file); err != nil {
			page, err := fs.ReadFile(files, "404.html")
			if err != nil {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write(page) // the client is gone, no one to tell
			return
		}
		if strings.HasPrefix(name, "_next/static/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		server.ServeHTTP(w, r)
	})
}

// healthcheck asks a running server with these settings whether it is alive: for containers without a shell.
func healthcheck(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	scheme := "http"
	// The certificate names the public address, not the loopback one that is asked here; nothing secret is sent.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	if config.TLSCertFile != "" {
		scheme = "https"
	}
	address := reachable(config.HTTPListen)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 4096)); err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, response.Status)
	}
	return nil
}

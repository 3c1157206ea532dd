package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/ingest"
	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/query"
	"github.com/gohub-io/gohub/storage"
)

const (
	// maxFuture is how far ahead of the server's clock a sample may be.
	maxFuture = 10 * time.Minute
	// serverClocks is how far apart the clocks of servers that share a database may be.
	serverClocks = time.Minute
)

// recording tells the recent window what is stored.
type recording struct {
	ingest.Sink
	recent *live.Recent
}

// Append implements ingest.Sink.
func (r recording) Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	r.recent.Begin(batches)
	outcomes, err := r.Sink.Append(ctx, batches)
	r.recent.End(batches, outcomes)
	return outcomes, err
}

// openRecent puts the recent window between ingest and the store. Where it is switched off, ingest gets the store itself, and
// queries nothing.
func (a *App) openRecent(ctx context.Context, registry prometheus.Registerer) (ingest.Sink, query.Recent, error) {
	config, store := a.config, a.store
	if config.RecentWindow == 0 || config.RecentMemoryBytes == 0 {
		return store, nil, nil
	}
	recent, err := live.NewRecent(ctx, live.RecentOptions{
		Store: store, Window: config.RecentWindow, Bytes: int64(config.RecentMemoryBytes), Ahead: maxFuture + serverClocks, Registerer: registry,
	})
	if err != nil {
		return nil, nil, err
	}
	a.recent = recent
	return recording{store, recent}, recent, nil
}

const (
	// refillAfter is how long after a start the recent window is refilled: when all agents come back, the database has enough to do.
	refillAfter = 30 * time.Second
	// refillTimeout is when most of the window will soon have come by itself.
	refillTimeout = 10 * time.Minute
)

// refillRecent reads from storage what of the recent window was stored before the start. Without that ranges are read from storage, as
// they are until then.
func (a *App) refillRecent(ctx context.Context) {
	if a.recent == nil {
		return
	}
	select {
	case <-time.After(refillAfter):
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refillTimeout)
	defer cancel()
	begin := time.Now()
	switch err := a.recent.Refill(ctx, a.store); {
	case err == nil:
		a.log.Info("recent window refilled", "took", time.Since(begin).Round(time.Millisecond))
	case !errors.Is(err, context.Canceled):
		a.log.Warn("recent window not refilled; it fills by itself", "error", err)
	}
}

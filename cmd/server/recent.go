package main

import (
	"context"
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
func openRecent(ctx context.Context, config Config, store storage.Store, registry prometheus.Registerer) (ingest.Sink, query.Recent, error) {
	if config.RecentWindow == 0 || config.RecentMemoryBytes == 0 {
		return store, nil, nil
	}
	recent, err := live.NewRecent(ctx, live.RecentOptions{
		Store: store, Window: config.RecentWindow, Bytes: int64(config.RecentMemoryBytes), Ahead: maxFuture + serverClocks, Registerer: registry,
	})
	if err != nil {
		return nil, nil, err
	}
	return recording{store, recent}, recent, nil
}

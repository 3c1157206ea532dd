package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/live/relay"
	"github.com/gohub-io/gohub/storage"
)

// cluster is this server's part among several on one database.
//
//	ingest ──▶ relay ──▶ live.State      what comes here, told to the others by NATS
//	             ▲  └──▶ NATS
//	             └────── NATS            what comes to the others
type cluster struct {
	relay  *relay.Relay
	store  storage.Shared
	office storage.Office
}

// openCluster makes the server one of several, or returns nil if none is configured.
func openCluster(ctx context.Context, config Config, store database, state *live.State, log *slog.Logger, registry prometheus.Registerer) (*cluster, error) {
	if config.ClusterURL == "" {
		return nil, nil
	}
	shared, ok := store.(storage.Shared)
	if !ok {
		return nil, errors.New("cluster_url is set without database_url: the servers of a cluster share a TimescaleDB; set database_url, or unset cluster_url")
	}
	identity, err := shared.Identity(ctx)
	if err != nil {
		return nil, err
	}
	talk, err := relay.Open(relay.Options{
		State: state, Store: store, URL: config.ClusterURL, CAFile: config.ClusterTLSCAFile, Database: identity,
		Logger: log.With("part", "cluster"), Registerer: registry,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster_url: %w", err)
	}
	return &cluster{relay: talk, store: shared}, nil
}

// clusterFleet is the live state, whose labels the other servers are to have too.
type clusterFleet struct {
	*live.State
	relay *relay.Relay
}

// SetLabels implements query.Fleet.
func (f clusterFleet) SetLabels(id storage.HostID, labels map[string]string) {
	f.relay.SetLabels(id, labels)
}

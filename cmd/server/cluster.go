package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gohub-io/gohub/auth"
	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/live/relay"
	"github.com/gohub-io/gohub/live/relay/embedded"
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
	// bus is the NATS in this process, nil where there is one elsewhere.
	bus *embedded.Bus
}

func (c *Config) checkCluster() error {
	switch {
	case c.ClusterURL != "" && c.ClusterListen != "":
		return errors.New("cluster_url and cluster_listen are both set; set cluster_url where there is a NATS, cluster_listen where the servers are to do without")
	case c.ClusterListen == "" && (c.ClusterPeers != "" || c.ClusterSecret != ""):
		return errors.New("cluster_peers or cluster_secret is set without cluster_listen, which they are for")
	case c.ClusterListen == "":
		return nil
	}
	if _, _, err := net.SplitHostPort(c.ClusterListen); err != nil {
		return fmt.Errorf("cluster_listen is %q, which is no address like 10.0.0.1:7702: %w", c.ClusterListen, err)
	}
	for _, peer := range c.clusterPeers() {
		if _, _, err := net.SplitHostPort(peer); err != nil {
			return fmt.Errorf("cluster_peers has %q, which is no address like 10.0.0.2:7702: %w", peer, err)
		}
	}
	return nil
}

func (c *Config) clusterPeers() (peers []string) {
	for peer := range strings.SplitSeq(c.ClusterPeers, ",") {
		if peer = strings.TrimSpace(peer); peer != "" {
			peers = append(peers, peer)
		}
	}
	return peers
}

// openCluster makes the server one of several, or returns nil if none is configured.
func openCluster(ctx context.Context, config Config, store database, state *live.State, tlsConfig *tls.Config, log *slog.Logger, registry prometheus.Registerer) (*cluster, error) {
	if config.ClusterURL == "" && config.ClusterListen == "" {
		return nil, nil
	}
	shared, ok := store.(storage.Shared)
	if !ok {
		return nil, errors.New("cluster_url or cluster_listen is set without database_url: the servers of a cluster share a TimescaleDB; set database_url, or unset them")
	}
	identity, err := shared.Identity(ctx)
	if err != nil {
		return nil, err
	}
	log = log.With("part", "cluster")
	c := &cluster{store: shared}
	options := relay.Options{
		State: state, Store: store, URL: config.ClusterURL, CAFile: config.ClusterTLSCAFile, Database: identity, Logger: log, Registerer: registry,
	}
	if config.ClusterListen != "" {
		if c.bus, err = startBus(config, tlsConfig, log); err != nil {
			return nil, fmt.Errorf("cluster_listen: %w", err)
		}
		options.Embedded, options.CAFile = c.bus.Connect(), ""
	}
	if c.relay, err = relay.Open(options); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// startBus runs a NATS in this process. Its links speak TLS where the server does, with the same certificate.
func startBus(config Config, tlsConfig *tls.Config, log *slog.Logger) (*embedded.Bus, error) {
	if err := auth.CheckClusterExposure(config.ClusterListen, config.ClusterSecret, tlsConfig != nil, config.InsecurePlaintext); err != nil {
		return nil, err
	}
	options := embedded.Options{Listen: config.ClusterListen, Peers: config.clusterPeers(), Secret: config.ClusterSecret, Logger: log}
	if tlsConfig != nil {
		options.TLS = tlsConfig.Clone()
		if config.ClusterTLSCAFile != "" {
			content, err := os.ReadFile(config.ClusterTLSCAFile)
			if err != nil {
				return nil, fmt.Errorf("read cluster_tls_ca_file: %w", err)
			}
			options.TLS.RootCAs = x509.NewCertPool()
			if !options.TLS.RootCAs.AppendCertsFromPEM(content) {
				return nil, fmt.Errorf("cluster_tls_ca_file %s has no certificate in PEM", config.ClusterTLSCAFile)
			}
		}
	}
	return embedded.Start(options)
}

// close ends what openCluster began. It returns nil.
func (c *cluster) close() error {
	if c.relay != nil {
		c.relay.Close()
	}
	if c.bus != nil {
		c.bus.Close()
	}
	return nil
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

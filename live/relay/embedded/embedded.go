// Package embedded runs NATS in the server's own process, for a cluster of a few servers without a NATS of its own. Its only
// client is this process; the servers link their NATS to each other.
package embedded

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options of a Bus.
type Options struct {
	// Listen is the address for the other servers, Peers are theirs: each needs to name one other at least.
	Listen string
	Peers  []string
	// Secret is what the servers show each other, empty on one machine only.
	Secret string
	// TLS has the certificate to show, and the certificates that those of others are held against; nil is plain text.
	TLS    *tls.Config
	Logger *slog.Logger
}

// Bus is a running NATS.
type Bus struct {
	server *server.Server
	// password is what clients have to show.
	password string
}

const (
	// linkUser is the user of the links and of the client; only what they show counts.
	linkUser = "gohub"
	// A link that is dead without a word is cut after so many pings.
	pingInterval, pingsOut = 5 * time.Second, 2
	startTimeout           = 10 * time.Second
)

// Start listens, and links itself to the others as they come.
func Start(o Options) (*Bus, error) {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("the address %q: %w", o.Listen, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the address %q has no port: %w", o.Listen, err)
	}
	// NATS takes 0 for its own port, and would end the process where a port is taken.
	probe, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w; stop the program that uses the port, or choose another address", err)
	}
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("close the probe of %s: %w", o.Listen, err)
	}
	if port == 0 {
		port = uint64(probe.Addr().(*net.TCPAddr).Port)
	}
	options := &server.Options{
		// It does not link itself without listening for clients. So it does, on this machine, and lets in who has the password.
		ServerName: uuid.NewString(), Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: linkUser, Password: rand.Text(), NoSigs: true, NoSystemAccount: true,
		Cluster: server.ClusterOpts{
			Name: "gohub", Host: host, Port: int(port), NoAdvertise: true, PingInterval: pingInterval, MaxPingsOut: pingsOut, TLSConfig: o.TLS, TLSTimeout: 5,
		},
	}
	if o.Secret != "" {
		options.Cluster.Username, options.Cluster.Password, options.Cluster.AuthTimeout = linkUser, o.Secret, 5
	}
	for _, peer := range o.Peers {
		route := &url.URL{Scheme: "nats-route", Host: peer}
		if o.Secret != "" {
			route.User = url.UserPassword(linkUser, o.Secret)
		}
		options.Routes = append(options.Routes, route)
	}
	bus, err := server.NewServer(options)
	if err != nil {
		return nil, errors.New("set up NATS: " + hide(err.Error(), o.Secret))
	}
	b := &Bus{bus, options.Password}
	bus.SetLoggerV2(logger{o.Logger, o.Secret}, false, false, false)
	bus.Start()
	if !bus.ReadyForConnections(startTimeout) {
		b.Close()
		return nil, fmt.Errorf("NATS does not listen at %s after %s", o.Listen, startTimeout)
	}
	return b, nil
}

// Connect is what a client of this process connects with.
func (b *Bus) Connect() []nats.Option {
	return []nats.Option{nats.InProcessServer(b.server), nats.UserInfo(linkUser, b.password)}
}

// Addr is the address that others are to name.
func (b *Bus) Addr() string { return b.server.ClusterAddr().String() }

// Close ends it, and waits.
func (b *Bus) Close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// logger passes what NATS says on. Of links that can not be made it says much, which the cluster's own lines tell in words.
type logger struct {
	log    *slog.Logger
	secret string
}

func (l logger) say(level slog.Level, format string, values []any) {
	l.log.Log(context.Background(), level, "NATS says", "text", hide(fmt.Sprintf(format, values...), l.secret))
}

// Noticef implements server.Logger, as do those below.
func (l logger) Noticef(format string, values ...any) { l.say(slog.LevelDebug, format, values) }

// Warnf is documented with Noticef.
func (l logger) Warnf(format string, values ...any) { l.say(slog.LevelInfo, format, values) }

// Errorf is documented with Noticef.
func (l logger) Errorf(format string, values ...any) { l.say(slog.LevelInfo, format, values) }

// Fatalf is documented with Noticef. It does not end the process: Start finds that there is no NATS.
func (l logger) Fatalf(format string, values ...any) { l.say(slog.LevelError, format, values) }

// Debugf is documented with Noticef.
func (l logger) Debugf(string, ...any) {}

// Tracef is documented with Noticef.
func (l logger) Tracef(string, ...any) {}

func hide(text, secret string) string {
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, "…")
}

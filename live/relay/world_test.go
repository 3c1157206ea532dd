package relay

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/live"
	"github.com/gohub-io/gohub/live/relay/relaytest"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// world is what the servers of a test share. The store is a SQLite file, as nothing here is about the driver.
type world struct {
	t     *testing.T
	bus   string
	store storage.Store
	// ahead is how far the servers' clock is ahead of the machine's.
	ahead atomic.Int64
	hosts []storage.Host
}

func newWorld(t *testing.T, hosts int) *world {
	w := &world{t: t, bus: relaytest.Bus(t)}
	store, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	w.store = store
	for i := range hosts {
		host, _ := storagetest.Register(t, store, storage.Registration{
			AgentID: uuid.New(), Epoch: 1, At: time.Now(), Facts: &gohubv1.HostFacts{Hostname: fmt.Sprint("web-", i+1), IntervalMillis: 1000},
		})
		w.hosts = append(w.hosts, host)
	}
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// server is one of the servers of a world.
type server struct {
	*Relay
	t        *testing.T
	w        *world
	line     *relaytest.Line
	state    *live.State
	registry *prometheus.Registry
	log      *lockedBuffer
	stop     func()
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// quick makes the servers of tests notice within moments. change may be nil.
func (w *world) server(change func(*Options)) *server {
	w.t.Helper()
	s := &server{t: w.t, w: w, state: live.NewState(w.now), registry: prometheus.NewRegistry(), log: &lockedBuffer{}}
	line, url := relaytest.NewLine(w.t, w.bus)
	s.line = line
	options := Options{
		State: s.state, Store: w.store, URL: url, Database: "the-database", Heartbeat: 50 * time.Millisecond, Silence: time.Second, Look: 50 * time.Millisecond,
		Now: w.now, Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: s.registry,
	}
	if change != nil {
		change(&options)
	}
	var err error
	s.Relay, err = Open(options)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w.t, <-ended)
	})
	w.t.Cleanup(func() {
		s.stop()
		require.NotContains(w.t, s.log.String(), relaytest.Password, "secrets are not for logs")
		if w.t.Failed() {
			w.t.Logf("a server said:\n%s", s.log)
		}
	})
	return s
}

// send gives the server a sample of a host, as ingest does.
func (s *server) send(host storage.Host, cpu float32) {
	s.t.Helper()
	s.sendSample(host, &gohubv1.Sample{Host: &gohubv1.HostMetrics{CpuUsagePercent: &cpu}})
}

func (s *server) sendSample(host storage.Host, sample *gohubv1.Sample) {
	s.t.Helper()
	now := s.w.now()
	sample.TimeUnixMillis = now.UnixMilli()
	s.Observe(host.ID, storagetest.Flat(sample), now)
}

// seen is what a server shows of a host.
type seen struct {
	status gohubv1.HostStatus
	cpu    float64
}

const (
	unknown = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
	up      = gohubv1.HostStatus_HOST_STATUS_UP
	late    = gohubv1.HostStatus_HOST_STATUS_LATE
	down    = gohubv1.HostStatus_HOST_STATUS_DOWN
)

func (s *server) sees(host storage.Host) seen {
	h, _ := s.state.Host(host.ID)
	return seen{h.GetStatus(), h.GetLatest().GetValues()["cpu_usage_percent"]}
}

// waitFor returns once the server shows that of a host, and fails if it shows what never must be before.
func (s *server) waitFor(host storage.Host, want seen, never ...seen) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := s.sees(host)
		if got == want {
			return
		}
		require.NotContains(s.t, never, got)
		if time.Now().After(deadline) {
			require.Equal(s.t, want, got, "%s in time", host.Facts.GetHostname())
		}
		time.Sleep(time.Millisecond)
	}
}

// waitForPeers returns once the server hears so many others.
func (s *server) waitForPeers(count int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.heardPeers() == count && s.caughtUp() }, 20*time.Second, time.Millisecond)
}

func (s *server) caughtUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if !p.lost && (p.behind || p.catching) {
			return false
		}
	}
	return true
}

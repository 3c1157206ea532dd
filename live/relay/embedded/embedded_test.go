package embedded

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gohub-io/gohub/live/relay/relaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "the secret of the cluster"

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// start runs a bus at a free port, and a connection of its process.
func start(t *testing.T, o Options) (*Bus, *nats.Conn, *journal) {
	t.Helper()
	log := &journal{}
	o.Listen, o.Logger = "127.0.0.1:0", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	bus, err := Start(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		bus.Close()
		require.NotContains(t, log.String(), secret)
	})
	connection, err := nats.Connect("", bus.Connect()...)
	require.NoError(t, err)
	t.Cleanup(connection.Close)
	return bus, connection, log
}

// hears tells whether what one says comes to the other within a moment.
func hears(t *testing.T, listener *nats.Subscription, speaker *nats.Conn) bool {
	t.Helper()
	require.NoError(t, speaker.Publish("subject", []byte("hello")))
	require.NoError(t, speaker.Flush())
	_, err := listener.NextMsg(20 * time.Millisecond)
	return err == nil
}

func TestLinkedServersHearEachOther(t *testing.T) {
	certificate, roots := relaytest.Certificate(t)
	withTLS := &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	for name, o := range map[string]Options{"plain": {}, "secret": {Secret: secret}, "TLS": {Secret: secret, TLS: withTLS}} {
		t.Run(name, func(t *testing.T) {
			first, a, _ := start(t, o)
			o.Peers = []string{first.Addr()}
			_, b, log := start(t, o)
			heard, err := b.SubscribeSync("subject")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return hears(t, heard, a) }, 20*time.Second, 10*time.Millisecond, log)
		})
	}
}

// TestStrangersAreNotLinked: who does not have the secret, or shows a certificate that nobody vouches for.
func TestStrangersAreNotLinked(t *testing.T) {
	certificate, roots := relaytest.Certificate(t)
	own := &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	stranger, _ := relaytest.Certificate(t)
	strange := &tls.Config{Certificates: []tls.Certificate{stranger}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	for name, pair := range map[string][2]Options{
		"wrong secret":      {{Secret: secret}, {Secret: "another secret of 16"}},
		"no secret":         {{Secret: secret}, {}},
		"wrong certificate": {{Secret: secret, TLS: strange}, {Secret: secret, TLS: own}},
		"plain text to TLS": {{Secret: secret, TLS: own}, {Secret: secret}},
	} {
		t.Run(name, func(t *testing.T) {
			first, a, _ := start(t, pair[0])
			pair[1].Peers = []string{first.Addr()}
			second, b, _ := start(t, pair[1])
			heard, err := b.SubscribeSync("subject")
			require.NoError(t, err)
			// It tries again every second; a try is refused at once.
			for range 100 {
				require.False(t, hears(t, heard, a))
			}
			require.Zero(t, first.server.NumRoutes())
			require.Zero(t, second.server.NumRoutes())
		})
	}
}

// TestOnlyThisProcessIsAClient: the port for clients is on this machine, where others may be.
func TestOnlyThisProcessIsAClient(t *testing.T) {
	bus, _, _ := start(t, Options{})
	require.True(t, bus.server.Addr().(*net.TCPAddr).IP.IsLoopback())
	for _, options := range [][]nats.Option{nil, {nats.UserInfo(linkUser, "")}, {nats.UserInfo(linkUser, secret)}} {
		_, err := nats.Connect(bus.server.ClientURL(), options...)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
}

func TestTakenPortIsTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, err = Start(Options{Listen: listener.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "choose another address")
	_, err = Start(Options{Listen: "nonsense", Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, `"nonsense"`)
}

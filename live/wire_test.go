package live

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// These tests run over TCP, with the HTTP server's handshake.

// patience bounds the waits for what must happen; nothing waits for as long when all is well.
const patience = 10 * time.Second

type wire struct {
	hub    *Hub
	server *httptest.Server
	stop   func() // ends the hub and waits; idempotent
}

func newWire(t *testing.T, o HubOptions) *wire {
	state := NewState(nil)
	state.SetHost(testHost(1, "db-1"))
	o.Registerer = prometheus.NewPedanticRegistry()
	hub := NewHub(state, o)
	server := httptest.NewUnstartedServer(hub)
	// As a server has them that bounds ordinary requests: they must not end a connection that was upgraded.
	server.Config.ReadTimeout = 300 * time.Millisecond
	server.Config.WriteTimeout = 300 * time.Millisecond
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	w := &wire{hub: hub, server: server, stop: func() {
		cancel()
		<-done
	}}
	t.Cleanup(func() {
		w.stop()
		server.Close()
	})
	return w
}

// browser is a client's end of a connection.
type browser struct {
	t      *testing.T
	conn   net.Conn
	reader io.Reader
}

func (w *wire) dial(t *testing.T) *browser {
	t.Helper()
	conn, buffered, _, err := ws.Dialer{Timeout: patience}.Dial(t.Context(), "ws"+strings.TrimPrefix(w.server.URL, "http"))
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = conn.Close() })
	b := &browser{t: t, conn: conn, reader: conn}
	if buffered != nil {
		b.reader = buffered
	}
	return b
}

func (b *browser) write(stream []byte) {
	b.t.Helper()
	_, err := b.conn.Write(stream)
	require.NoError(b.t, err)
}

func (b *browser) frame() ws.Frame {
	b.t.Helper()
	header, err := ws.ReadHeader(b.reader)
	require.NoError(b.t, err)
	payload := make([]byte, header.Length)
	_, err = io.ReadFull(b.reader, payload)
	require.NoError(b.t, err)
	return ws.Frame{Header: header, Payload: payload}
}

func (b *browser) message() *gohubv1.LiveMessage {
	b.t.Helper()
	f := b.frame()
	require.Equal(b.t, ws.OpText, f.Header.OpCode)
	m := new(gohubv1.LiveMessage)
	require.NoError(b.t, protojson.Unmarshal(f.Payload, m))
	return m
}

// closed reads the close frame, and then that the server has closed its side.
func (b *browser) closed() ws.StatusCode {
	b.t.Helper()
	f := b.frame()
	require.Equal(b.t, ws.OpClose, f.Header.OpCode)
	code, _ := ws.ParseCloseFrameData(f.Payload)
	_, err := io.ReadFull(b.reader, make([]byte, 1))
	require.Equal(b.t, io.EOF, err, "a reset could lose the close frame")
	return code
}

// alone waits until the hub has forgotten its viewers.
func (w *wire) alone(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		return w.hub.places.taken == 0 && len(w.hub.viewers) == 0 && len(w.hub.topics) == 0
	}, patience, time.Millisecond)
}

func TestSubscribeOverTCP(t *testing.T) {
	w := newWire(t, HubOptions{PushInterval: time.Millisecond})
	b := w.dial(t)
	b.write(text(`{"host":{"hostId":1}}`))
	require.Len(t, b.message().GetSnapshot().Hosts, 1)
	w.hub.state.Observe(1, flat(fullSample(time.Now())), time.Now())
	m := b.message()
	require.EqualValues(t, 1, m.Seq)
	require.Equal(t, up, m.GetDelta().Hosts[0].Status)
	b.write(masked(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))))
	require.Equal(t, ws.StatusNormalClosure, b.closed())
	w.alone(t)
	require.Equal(t, 1.0, value(w.hub.metrics.closed[reasonClient]))
}

// The HTTP server's deadlines are past when the second message is due.
func TestServerTimeoutsDoNotEndTheConnection(t *testing.T) {
	w := newWire(t, HubOptions{PingInterval: 400 * time.Millisecond})
	b := w.dial(t)
	for range 2 {
		require.Equal(t, ws.OpPing, b.frame().Header.OpCode)
		b.write(masked(ws.NewPongFrame(nil)))
	}
	b.write(text(`{"fleet":{}}`))
	require.Len(t, b.message().GetSnapshot().Hosts, 1)
}

func TestViolationsAreClosedWithTheirCode(t *testing.T) {
	w := newWire(t, HubOptions{})
	before := map[reason]float64{}
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			b := w.dial(t)
			b.write(test.stream)
			require.Equal(t, test.code, b.closed())
			_ = b.conn.Close()
			w.alone(t)
			before[test.reason]++
			require.Equal(t, before[test.reason], value(w.hub.metrics.closed[test.reason]))
		})
	}
}

// The rest of a frame that was refused is under way while the server closes.
func TestCloseCodeSurvivesWhatIsUnderWay(t *testing.T) {
	w := newWire(t, HubOptions{})
	b := w.dial(t)
	b.write(text(strings.Repeat("x", 100_000)))
	require.Equal(t, ws.StatusMessageTooBig, b.closed())
}

func TestCloseWithoutCodeIsAnsweredWithoutCode(t *testing.T) {
	w := newWire(t, HubOptions{})
	b := w.dial(t)
	b.write(masked(ws.NewCloseFrame(nil)))
	f := b.frame()
	require.Equal(t, ws.OpClose, f.Header.OpCode)
	require.Empty(t, f.Payload)
}

func TestBytesBehindTheHandshakeAreNotLost(t *testing.T) {
	w := newWire(t, HubOptions{})
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write(append([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), text(`{"fleet":{}}`)...))
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil) //nolint:bodyclose // of a 101 there is none
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", response.Header.Get("Sec-WebSocket-Accept"))
	b := &browser{t: t, conn: conn, reader: reader}
	require.Len(t, b.message().GetSnapshot().Hosts, 1)
}

func TestShutdownClosesWithGoingAway(t *testing.T) {
	w := newWire(t, HubOptions{})
	b := w.dial(t)
	b.write(text(`{"fleet":{}}`))
	require.NotNil(t, b.message().GetSnapshot())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop()
	}()
	require.Equal(t, ws.StatusGoingAway, b.closed())
	_ = b.conn.Close()
	<-stopped
	w.alone(t)
	require.Equal(t, 1.0, value(w.hub.metrics.closed[reasonGoingAway]))
	require.Equal(t, http.StatusServiceUnavailable, w.handshake(t, nil))
}

// handshake sends a handshake with more headers and returns the status.
func (w *wire) handshake(t *testing.T, header http.Header) int {
	t.Helper()
	response, err := w.server.Client().Do(w.request(t, header))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// request asks for a WebSocket.
func (w *wire) request(t *testing.T, header http.Header) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL, nil)
	require.NoError(t, err)
	request.Header = http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, values := range header {
		request.Header[name] = values
		if name == "Host" {
			request.Host = values[0]
		}
	}
	return request
}

func TestOriginIsChecked(t *testing.T) {
	w := newWire(t, HubOptions{AllowOrigin: func(origin string) bool { return origin == "https://grafana.example.org" }})
	for _, test := range []struct {
		name    string
		host    string
		origins []string
		want    int
	}{
		{"none: no browser", "gohub.example.org", nil, http.StatusSwitchingProtocols},
		{"the same", "gohub.example.org", []string{"https://gohub.example.org"}, http.StatusSwitchingProtocols},
		{"the same in capitals", "GoHub.example.org", []string{"https://gohub.example.ORG"}, http.StatusSwitchingProtocols},
		{"the same port", "10.0.0.1:8080", []string{"http://10.0.0.1:8080"}, http.StatusSwitchingProtocols},
		{"default port", "gohub.example.org:443", []string{"https://gohub.example.org"}, http.StatusSwitchingProtocols},
		{"IPv6", "[::1]:8080", []string{"http://[::1]:8080"}, http.StatusSwitchingProtocols},
		{"configured", "gohub.example.org", []string{"https://grafana.example.org"}, http.StatusSwitchingProtocols},
		{"another", "gohub.example.org", []string{"https://evil.example.org"}, http.StatusForbidden},
		{"another port", "gohub.example.org:8080", []string{"https://gohub.example.org:8081"}, http.StatusForbidden},
		{"a suffix", "example.org", []string{"https://evil-example.org"}, http.StatusForbidden},
		{"null", "gohub.example.org", []string{"null"}, http.StatusForbidden},
		{"empty", "gohub.example.org", []string{""}, http.StatusForbidden},
		{"no URL", "gohub.example.org", []string{"http://[gohub.example.org"}, http.StatusForbidden},
		{"two", "gohub.example.org", []string{"https://gohub.example.org", "https://evil.example.org"}, http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Host": {test.host}}
			if test.origins != nil {
				header["Origin"] = test.origins
			}
			require.Equal(t, test.want, w.handshake(t, header))
		})
	}
	w.alone(t)
}

func TestBadHandshakesAreRefused(t *testing.T) {
	w := newWire(t, HubOptions{})
	response, err := w.server.Client().Get(w.server.URL)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUpgradeRequired, response.StatusCode)
	require.Equal(t, "websocket", response.Header.Get("Upgrade"))

	require.Equal(t, http.StatusBadRequest, w.handshake(t, http.Header{"Sec-Websocket-Key": {"short"}}))
	require.Equal(t, http.StatusBadRequest, w.handshake(t, http.Header{"Sec-Websocket-Protocol": {"graphql-ws, gohub.v2"}}))
	require.Equal(t, http.StatusSwitchingProtocols, w.handshake(t, http.Header{"Sec-Websocket-Protocol": {"gohub.v2, gohub.v1.binary"}}))
	require.Equal(t, http.StatusUpgradeRequired, w.handshake(t, http.Header{"Sec-Websocket-Version": {"8"}}))
	w.alone(t) // a refused handshake gives its place back

	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err, "the connection is closed")
	require.Contains(t, string(answer), "400 Bad Request")
}

func TestViewersAreBounded(t *testing.T) {
	w := newWire(t, HubOptions{MaxViewers: 2})
	first := w.dial(t)
	w.dial(t)
	require.Equal(t, http.StatusServiceUnavailable, w.handshake(t, nil))
	_ = first.conn.Close()
	require.Eventually(t, func() bool { return w.handshake(t, nil) == http.StatusSwitchingProtocols }, patience, time.Millisecond)
}

func TestViewersOfAnAddressAreBounded(t *testing.T) {
	w := newWire(t, HubOptions{MaxViewers: 3, MaxViewersPerAddress: 2, AddressOwner: func(remote string) netip.Prefix {
		from, err := netip.ParseAddrPort(remote)
		if err != nil {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(from.Addr(), from.Addr().BitLen())
	}})
	first := w.dial(t)
	w.dial(t)
	response, err := http.DefaultClient.Do(w.request(t, nil))
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusTooManyRequests, response.StatusCode)
	require.Equal(t, "10", response.Header.Get("Retry-After"))
	require.Contains(t, string(text), "2 are open, which is the limit (max_viewers_per_address)")
	require.Equal(t, 1.0, value(w.hub.metrics.refusedAddress))

	// Another address has the place that is left.
	elsewhere := w.hub.options.AddressOwner("[2001:db8::1]:1000")
	require.NoError(t, w.hub.reserve(elsewhere))
	require.ErrorIs(t, w.hub.reserve(elsewhere), errFull)
	require.Equal(t, 1.0, value(w.hub.metrics.refusedFull))
	w.hub.release(elsewhere)

	_ = first.conn.Close()
	require.Eventually(t, func() bool { return w.handshake(t, nil) == http.StatusSwitchingProtocols }, patience, time.Millisecond)
}

func TestAlertsBeforeTheSubscriptionOverTCP(t *testing.T) {
	w := newWire(t, HubOptions{})
	w.hub.PublishAlerts(goldenAlerts())
	require.Equal(t, "disk-full", w.dial(t).message().GetAlerts().Alerts[0].Rule)
}

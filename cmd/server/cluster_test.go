package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/alert"
	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
	"github.com/gohub-io/gohub/live/relay/relaytest"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// oneOfSeveral is a server on a database and a NATS that others use too.
type oneOfSeveral struct {
	*App
	line, databaseLine *relaytest.Line
	stop               func()
}

// startOneOfSeveral starts a server whose lines to the others and to the database can be cut.
func startOneOfSeveral(t *testing.T, database string, change func(*Config)) *oneOfSeveral {
	t.Helper()
	s := &oneOfSeveral{}
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen = "127.0.0.1:0", "127.0.0.1:0"
	config.FlushAge = 10 * time.Millisecond
	s.databaseLine, config.DatabaseURL = relaytest.NewLine(t, database)
	change(&config)
	if config.ClusterURL != "" {
		s.line, config.ClusterURL = relaytest.NewLine(t, config.ClusterURL)
	}
	require.NoError(t, config.check())
	var err error
	s.App, err = NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(s.stop)
	return s
}

// streamingAgent is an agent's stream, by the contract.
type streamingAgent struct {
	t          *testing.T
	id         uuid.UUID
	seq        uint64
	hostID     uint32
	connection *grpc.ClientConn
	stream     grpc.BidiStreamingClient[gohubv1.StreamRequest, gohubv1.StreamResponse]
}

// connect opens a stream to a server, in the place of the one before.
func (a *streamingAgent) connect(to *oneOfSeveral) {
	a.t.Helper()
	a.leave()
	var err error
	a.connection, err = grpc.NewClient(to.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(a.t, err)
	a.stream, err = gohubv1.NewIngestServiceClient(a.connection).Stream(a.t.Context())
	require.NoError(a.t, err)
	hello := &gohubv1.Hello{AgentId: a.id.String(), Epoch: 1, Facts: &gohubv1.HostFacts{Hostname: "web-1", IntervalMillis: 1000}}
	require.NoError(a.t, a.stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello}}))
	response, err := a.stream.Recv()
	require.NoError(a.t, err)
	a.hostID, a.seq = response.GetWelcome().GetHostId(), response.GetWelcome().GetCommittedSeq()
}

func (a *streamingAgent) leave() {
	if a.connection != nil {
		a.connection.Close()
	}
}

// send sends a sample and waits until it is stored.
func (a *streamingAgent) send(cpu float32) {
	a.t.Helper()
	a.seq++
	batch := &gohubv1.Batch{AgentId: a.id.String(), Epoch: 1, Seq: a.seq, Samples: []*gohubv1.Sample{
		{TimeUnixMillis: time.Now().UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: &cpu}},
	}}
	require.NoError(a.t, a.stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}}))
	response, err := a.stream.Recv()
	require.NoError(a.t, err)
	require.Equal(a.t, a.seq, response.GetAck().GetSeq())
}

// fleetViewer follows the fleet over the WebSocket, and holds the server to the rules of docs/live.md.
type fleetViewer struct {
	// shown is what a message said of the host: of it, nothing is left out.
	shown chan shown
	// broken is the first rule that was.
	broken atomic.Pointer[string]
}

type shown struct {
	status gohubv1.HostStatus
	cpu    float64
	// taken is the sample's time, and came when the message was read.
	taken, came time.Time
	snapshot    bool
}

func watchFleet(t *testing.T, at *oneOfSeveral) *fleetViewer {
	t.Helper()
	connection, _, _, err := ws.Dial(t.Context(), "ws://"+at.HTTPAddr()+"/api/v1/live")
	require.NoError(t, err)
	require.NoError(t, wsutil.WriteClientText(connection, []byte(`{"fleet":{"metrics":["cpu_usage_percent"]}}`)))
	v := &fleetViewer{shown: make(chan shown, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.read(connection)
	}()
	t.Cleanup(func() {
		connection.Close()
		<-done
		if broken := v.broken.Load(); broken != nil {
			require.Fail(t, *broken)
		}
	})
	return v
}

func (v *fleetViewer) read(connection io.ReadWriter) {
	var next uint32
	for begun := false; ; {
		text, err := wsutil.ReadServerText(connection)
		if err != nil {
			return
		}
		message := &gohubv1.LiveMessage{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, message); err != nil {
			v.breaks("not the contract: " + err.Error())
			return
		}
		hosts := message.GetDelta().GetHosts()
		switch {
		case message.GetSnapshot() != nil:
			begun, hosts = true, message.GetSnapshot().GetHosts()
		case message.GetDelta() == nil:
			continue
		case !begun:
			v.breaks("a delta before the snapshot")
		case message.GetSeq() != next:
			v.breaks("a delta is missing")
		}
		next = message.GetSeq() + 1
		for _, h := range hosts {
			v.shown <- shown{h.GetStatus(), h.GetLatest().GetValues()["cpu_usage_percent"], h.GetLatest().GetTime().AsTime(), time.Now(), message.GetSnapshot() != nil}
		}
	}
}

func (v *fleetViewer) breaks(rule string) { v.broken.CompareAndSwap(nil, &rule) }

// wait reads what is shown until it is that.
func (v *fleetViewer) wait(t *testing.T, status gohubv1.HostStatus, cpu float64, never ...func(shown) bool) shown {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case s := <-v.shown:
			if s.status == status && s.cpu == cpu {
				return s
			}
			for _, wrong := range never {
				require.False(t, wrong(s), "%v", s)
			}
		case <-timeout:
			t.Fatalf("%v with %v is not shown", status, cpu)
		}
	}
}

const (
	hostUnknown = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
	hostUp      = gohubv1.HostStatus_HOST_STATUS_UP
	hostDown    = gohubv1.HostStatus_HOST_STATUS_DOWN
)

// TestViewerOfOneServerSeesTheAgentOfAnother is two servers on one TimescaleDB: an agent on one, a viewer on the other, whose line is
// cut and healed, and the agent moves.
func TestViewerOfOneServerSeesTheAgentOfAnother(t *testing.T) {
	database, bus := storagetest.DatabaseURL(t), relaytest.Bus(t)
	onBus := func(config *Config) { config.ClusterURL = bus }
	a, b := startOneOfSeveral(t, database, onBus), startOneOfSeveral(t, database, onBus)
	agent := &streamingAgent{t: t, id: uuid.New()}
	defer func() { agent.leave() }()
	agent.connect(a)
	viewer := watchFleet(t, b)
	agent.send(1)
	viewer.wait(t, hostUp, 1)

	var ways []time.Duration
	for i := range 200 {
		cpu := float64(i%100) + 0.5
		agent.send(float32(cpu))
		s := viewer.wait(t, hostUp, cpu)
		ways = append(ways, s.came.Sub(s.taken))
	}
	slices.Sort(ways)
	t.Logf("from taken, in whole milliseconds, to a viewer of the other server: p50 %v, p99 %v, highest %v of %d", ways[len(ways)/2], ways[len(ways)*99/100], ways[len(ways)-1], len(ways))

	b.line.Cut()
	cut := viewer.wait(t, hostUnknown, 99.5, func(s shown) bool { return s.status == hostDown })
	require.False(t, cut.snapshot, "a delta tells")
	agent.send(42)
	agent.send(43)
	b.line.Heal()
	healed := viewer.wait(t, hostUp, 43, func(s shown) bool { return s.status == hostUp && s.cpu != 42 || s.status == hostDown })
	require.False(t, healed.snapshot)

	agent.connect(b)
	agent.send(44)
	viewer.wait(t, hostUp, 44)
	other := watchFleet(t, a)
	other.wait(t, hostUp, 44)
	agent.connect(a)
	agent.send(45)
	viewer.wait(t, hostUp, 45)
	other.wait(t, hostUp, 45)

	// Labels that are set at one server are those of both.
	setLabels(t, a, agent.hostID, `{"site":"ams"}`)
	require.Eventually(t, func() bool { return strings.Contains(hostsOf(t, b, `site="ams"`), "web-1") }, 10*time.Second, 10*time.Millisecond)

	// The server dies without a word. Its agent comes to the other.
	a.line.Cut()
	viewer.wait(t, hostUnknown, 45, func(s shown) bool { return s.status == hostDown })
	agent.connect(b)
	agent.send(46)
	viewer.wait(t, hostUp, 46)

	exposed := metricsOf(t, b)
	for _, name := range []string{"gohub_cluster_peers 0", `gohub_cluster_messages_total{direction="in"}`, "gohub_cluster_resyncs_total ", "gohub_cluster_dropped_total "} {
		require.True(t, strings.Contains(exposed, name), name)
	}
}

// setLabels does what the dashboard does.
func setLabels(t *testing.T, at *oneOfSeveral, host uint32, labels string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("http://%s/api/v1/hosts/%d/labels", at.HTTPAddr(), host), strings.NewReader(`{"labels":`+labels+`}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func hostsOf(t *testing.T, at *oneOfSeveral, selector string) string {
	t.Helper()
	response, err := http.Get("http://" + at.HTTPAddr() + "/api/v1/hosts?selector=" + url.QueryEscape(selector))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func metricsOf(t *testing.T, at *oneOfSeveral) string {
	t.Helper()
	response, err := http.Get("http://" + at.HTTPAddr() + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// TestOneOfSeveralServersTellsOfAlerts: the one that leads, of hosts of all; when it is cut off from the database another goes on, and
// tells of nothing twice. They have no NATS but their own.
func TestOneOfSeveralServersTellsOfAlerts(t *testing.T) {
	database := storagetest.DatabaseURL(t)
	webhook, threshold := alerttest.NewWebhook(""), 90.0
	defer webhook.Close()
	alerts := alert.Config{
		Interval: alert.Duration(time.Second),
		Rules:    []alert.Rule{{Name: "busy", Metric: "cpu_usage_percent", Op: ">", Threshold: &threshold, Severity: notify.Critical}},
		Notify:   notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "hook"}, URL: notify.Secret(webhook.URL), AllowPrivate: true}}},
	}
	linked := func(peers string) func(*Config) {
		return func(config *Config) {
			config.Alerts, config.ClusterListen, config.ClusterPeers, config.ClusterSecret = alerts, "127.0.0.1:0", peers, "secret of the cluster"
		}
	}
	a := startOneOfSeveral(t, database, linked(""))
	require.Eventually(t, a.cluster.office.Held, 30*time.Second, 10*time.Millisecond)
	b := startOneOfSeveral(t, database, linked(a.cluster.bus.Addr()))
	agent := &streamingAgent{t: t, id: uuid.New()}
	defer func() { agent.leave() }()
	agent.connect(b)
	// A sample counts when it is another one than the last.
	until := func(cpu float32, what string, is func() bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			agent.send(cpu)
			return is()
		}, 30*time.Second, 300*time.Millisecond, what)
	}
	listed := func(s *oneOfSeveral, state string) func() bool {
		return func() bool { return strings.Contains(alertsOf(t, s), state) }
	}
	until(99, "the leader shows it", listed(a, "ALERT_STATE_FIRING"))
	until(99, "the other shows it too", listed(b, "ALERT_STATE_FIRING"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := webhook.Wait(ctx, 1)
	require.NoError(t, err)
	require.False(t, b.cluster.office.Held())

	a.databaseLine.Cut()
	until(99, "the other leads", b.cluster.office.Held)
	require.False(t, a.cluster.office.Held(), "never both")
	require.Contains(t, alertsOf(t, b), "ALERT_STATE_FIRING")
	until(5, "it is over", listed(b, "ALERT_STATE_RESOLVED"))
	requests, err := webhook.Wait(ctx, 2)
	require.NoError(t, err)
	require.Contains(t, strings.ToLower(string(requests[0].Body)), "firing")
	require.Contains(t, strings.ToLower(string(requests[1].Body)), "resolved")

	a.databaseLine.Heal()
	require.Eventually(t, listed(a, "ALERT_STATE_RESOLVED"), 30*time.Second, 100*time.Millisecond, "it follows")
	require.True(t, b.cluster.office.Held())
	require.Len(t, webhook.Requests(), 2)
}

func alertsOf(t *testing.T, at *oneOfSeveral) string {
	t.Helper()
	list, err := at.alerts.ListAlerts(t.Context(), nil)
	require.NoError(t, err)
	return list.String()
}

// TestClusterNeedsTimescaleDB says what to set.
func TestClusterNeedsTimescaleDB(t *testing.T) {
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir, config.ClusterURL = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), relaytest.Bus(t)
	_, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "set database_url")
}

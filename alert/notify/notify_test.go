package notify_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "123456:AAbb-Cc_dd"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event is one of an alert that is critical if its id begins with "c".
func event(kind notify.Kind, id string) notify.Event {
	a := &gohubv1.Alert{
		Id: id, Rule: "rule-" + id, Severity: gohubv1.Severity_SEVERITY_WARNING, HostId: 7, Hostname: "web-1",
		Metric: "cpu_usage_percent", Value: 95, Threshold: 90, Summary: "summary of " + id,
		ActiveSince: timestamppb.New(noon.Add(-time.Hour)), FiredAt: timestamppb.New(noon.Add(-30 * time.Minute)),
	}
	if strings.HasPrefix(id, "c") {
		a.Severity = gohubv1.Severity_SEVERITY_CRITICAL
	}
	if kind == notify.Resolved {
		a.ResolvedAt = timestamppb.New(noon)
	}
	return notify.Event{Kind: kind, At: noon, Alert: a}
}

// running is a dispatcher at work, whose waits take no time.
type running struct {
	t        *testing.T
	d        *notify.Dispatcher
	registry *prometheus.Registry
	log      *lockedBuffer
	stop     func()

	mu    sync.Mutex
	waits []time.Duration
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func run(t *testing.T, c notify.Config) *running {
	t.Helper()
	r := &running{t: t, registry: prometheus.NewRegistry(), log: &lockedBuffer{}}
	var err error
	r.d, err = notify.New(notify.Options{
		Config: c, Registerer: r.registry, Link: "https://gohub.example.com",
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	r.d.SetWait(func(ctx context.Context, d time.Duration) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waits = append(r.waits, d)
		return ctx.Err() == nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.d.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) waited() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration(nil), r.waits...)
}

// counts demands the receiver's metrics.
func (r *running) counts(receiver string, sent, retried, rejected, dropped int) {
	r.t.Helper()
	require.NoError(r.t, testutil.GatherAndCompare(r.registry, strings.NewReader(fmt.Sprintf(`
# HELP gohub_alert_notifications_total Attempts to deliver a message to a receiver: sent, retried (failed for now) or rejected (failed for good).
# TYPE gohub_alert_notifications_total counter
gohub_alert_notifications_total{receiver=%[1]q,result="rejected"} %[4]d
gohub_alert_notifications_total{receiver=%[1]q,result="retried"} %[3]d
gohub_alert_notifications_total{receiver=%[1]q,result="sent"} %[2]d
# HELP gohub_alert_notifications_dropped_total Alert events that a receiver was never told: rejected, too old, over the queue's bound, or left at the end.
# TYPE gohub_alert_notifications_dropped_total counter
gohub_alert_notifications_dropped_total{receiver=%[1]q} %[5]d
`, receiver, sent, retried, rejected, dropped)), "gohub_alert_notifications_total", "gohub_alert_notifications_dropped_total"))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestReceiverFilter(t *testing.T) {
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	c := webhook(hook)
	c.Webhooks[0].MinSeverity = notify.Critical
	r := run(t, c)
	r.d.Notify([]notify.Event{event(notify.Firing, "a")})
	r.d.Notify([]notify.Event{event(notify.Firing, "b"), event(notify.Firing, "c1")})
	requests, err := hook.Wait(within(t), 1)
	require.NoError(t, err)
	r.stop()
	require.Len(t, hook.Requests(), 1)
	require.Len(t, requests[0].Payload.Events, 1)
	require.Equal(t, "c1", requests[0].Payload.Events[0].ID)
}

// TestNewestNewsWaits: while a receiver is away, each alert waits with its newest event only, and nothing is lost.
func TestNewestNewsWaits(t *testing.T) {
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	hook.Fail(alerttest.WebhookFailure{Code: 503})
	r := run(t, webhook(hook))
	waiting, goOn := make(chan struct{}), make(chan struct{})
	r.d.SetWait(func(context.Context, time.Duration) bool {
		close(waiting)
		<-goOn
		return true
	})
	r.d.Notify([]notify.Event{event(notify.Firing, "a"), event(notify.Firing, "b"), event(notify.Firing, "d")})
	<-waiting
	r.d.Notify([]notify.Event{event(notify.Resolved, "b"), event(notify.Firing, "e")})
	r.d.Notify([]notify.Event{event(notify.Reminder, "a")})
	close(goOn)
	requests, err := hook.Wait(within(t), 1)
	require.NoError(t, err)
	r.stop()
	require.Len(t, hook.Requests(), 1)
	var got []string
	for _, e := range requests[0].Payload.Events {
		got = append(got, string(e.Event)+" "+e.ID)
	}
	require.Equal(t, []string{"firing d", "firing e", "firing a", "resolved b"}, got, "a reminder of what nobody was told is no reminder")
	r.counts("hook", 1, 1, 0, 0)
}

func TestQueueIsBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	d, err := notify.New(notify.Options{
		Config:     notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "hook"}, URL: "https://example.com"}}},
		Registerer: registry,
	})
	require.NoError(t, err)
	for i := range notify.MaxQueued / 100 {
		events := make([]notify.Event, 101)
		for j := range events {
			events[j] = event(notify.Firing, fmt.Sprintf("%d/%d", i, j))
		}
		d.Notify(events)
	}
	require.Len(t, d.Queued(0), notify.MaxQueued)
	require.Equal(t, "1/0", d.Queued(0)[1].Alert.GetId()[:3], "the oldest went")
	(&running{t: t, registry: registry}).counts("hook", 0, 0, 0, notify.MaxQueued/100)
}

func TestBigMessagesAreSplit(t *testing.T) {
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	r := run(t, webhook(hook))
	events := make([]notify.Event, 1200)
	for i := range events {
		events[i] = event(notify.Firing, fmt.Sprint(i))
	}
	r.d.Notify(events)
	requests, err := hook.Wait(within(t), 3)
	require.NoError(t, err)
	require.Len(t, requests[0].Payload.Events, 500)
	require.Len(t, requests[2].Payload.Events, 200)
}

// TestEndDelivers: what waits when the context ends is delivered, and a receiver that does not answer holds up the end
// only for the time of Drain.
func TestEndDelivers(t *testing.T) {
	release := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer stuck.Close()
	defer close(release)
	hook := alerttest.NewWebhook("s3cret-key")
	defer hook.Close()
	c := webhook(hook)
	c.Webhooks = append(c.Webhooks, notify.Webhook{
		Receiver: notify.Receiver{Name: "stuck"}, URL: notify.Secret(stuck.URL), AllowPrivate: true,
	})
	registry := prometheus.NewRegistry()
	d, err := notify.New(notify.Options{Config: c, Registerer: registry, Drain: 50 * time.Millisecond})
	require.NoError(t, err)
	d.Notify([]notify.Event{event(notify.Firing, "a")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	d.Run(ctx)
	require.Less(t, time.Since(begun), 10*time.Second)
	require.Len(t, hook.Requests(), 1)
	metrics, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range metrics {
		if family.GetName() == "gohub_alert_notifications_dropped_total" {
			require.Equal(t, 0.0, family.GetMetric()[0].GetCounter().GetValue())
			require.Equal(t, 1.0, family.GetMetric()[1].GetCounter().GetValue(), "what could not be delivered is counted")
		}
	}
}

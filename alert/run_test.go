package alert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/alert/alerttest"
	"github.com/gohub-io/gohub/alert/notify"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// liveSource always has a new sample with the value.
type liveSource struct {
	mu    sync.Mutex
	value float64
}

func (s *liveSource) set(value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = value
}

func (s *liveSource) Each(see func(Host)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := newHost(7, "web-1")
	sample(h, time.Now(), s.value)
	see(shown{h})
}

var busy = Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0), For: Duration(10 * time.Second)}

// start runs an engine until the returned function is called.
func start(t *testing.T, o Options) (*Engine, func()) {
	t.Helper()
	engine, err := NewEngine(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	return engine, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func TestRunSavesOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, source := &memoryStore{rows: map[string][]byte{}}, &liveSource{value: 50}
		published := 0
		_, stop := start(t, Options{
			Config: Config{Rules: []Rule{busy}}, Source: source, Store: store, Publish: func([]*gohubv1.Alert) { published++ },
		})
		synctest.Wait()
		require.Equal(t, 1, published, "the list is published at the start")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 0, store.saves)
		source.set(95)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 2, store.saves, "pending, firing, and no newer values")
		require.Equal(t, 3, published)
		stop()
		require.Equal(t, []string{"busy|7"}, store.ids())
	})
}

func TestRunGoesOnWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, source := &memoryStore{rows: map[string][]byte{}}, &liveSource{value: 50}
		engine, stop := start(t, Options{Config: Config{Rules: []Rule{busy}}, Source: source, Store: store})
		synctest.Wait()
		store.fail(fmt.Errorf("connect: %w", storage.ErrUnavailable))
		source.set(95)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		response, err := engine.ListAlerts(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, firing, response.GetAlerts()[0].GetState())
		require.Empty(t, store.ids())
		store.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"busy|7"}, store.ids())
		stop()
	})
}

func TestRunSavesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, source := &memoryStore{rows: map[string][]byte{}}, &liveSource{value: 50}
		_, stop := start(t, Options{Config: Config{Rules: []Rule{busy}}, Source: source, Store: store})
		synctest.Wait()
		store.fail(storage.ErrUnavailable)
		source.set(95)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		store.fail(nil)
		stop()
		require.Equal(t, []string{"busy|7"}, store.ids())
	})
}

// TestStartWithoutStore: the states are waited for, then alerts work without them, and they are taken up when they come.
func TestStartWithoutStore(t *testing.T) {
	saved := func(store *memoryStore, state gohubv1.AlertState) {
		require.NoError(t, store.SaveAlerts(t.Context(), []*gohubv1.Alert{{
			Id: "busy|7", Rule: "busy", Metric: "cpu_usage_percent", HostId: 7, Hostname: "web-1", State: state,
			ActiveSince: timestamppb.New(time.Unix(1000, 0)), FiredAt: timestamppb.New(time.Unix(1010, 0)),
		}}, nil))
	}
	for _, test := range []struct {
		name  string
		away  time.Duration
		state gohubv1.AlertState
		told  int
	}{
		{"firing, away for less than a minute", 50 * time.Second, firing, 0},
		{"firing, away for longer", time.Hour, firing, 1},
		{"pending, away for longer", time.Hour, pending, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, source := &memoryStore{rows: map[string][]byte{}}, &liveSource{value: 95}
				saved(store, test.state)
				store.fail(storage.ErrUnavailable)
				engine, err := NewEngine(Options{Config: Config{Rules: []Rule{busy}}, Source: source, Store: store})
				require.NoError(t, err)
				told := 0
				engine.tellAll = func(events []notify.Event) {
					for _, event := range events {
						require.Equal(t, notify.Firing, event.Kind)
						told++
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = engine.Run(ctx)
				}()
				time.Sleep(test.away)
				store.fail(nil)
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, test.told, told)
				require.Len(t, engine.list(), 1)
				require.Equal(t, firing, engine.list()[0].GetState())
				if test.state == firing {
					require.Equal(t, time.Unix(1010, 0).UTC(), engine.list()[0].GetFiredAt().AsTime())
				}
				cancel()
				<-done
			})
		})
	}
}

// pickyStore refuses batches that have an alert of host 13.
type pickyStore struct{ memoryStore }

func (s *pickyStore) SaveAlerts(ctx context.Context, alerts []*gohubv1.Alert, gone []string) error {
	for _, a := range alerts {
		if a.GetHostId() == 13 {
			return fmt.Errorf("insert: %w", storage.ErrBadData)
		}
	}
	return s.memoryStore.SaveAlerts(ctx, alerts, gone)
}

func TestSaverKeepsNeighboursOfBadAlert(t *testing.T) {
	store := &pickyStore{memoryStore{rows: map[string][]byte{"d": nil}}}
	s := newSaver(store, discard(), newMetrics())
	s.add(map[string]*gohubv1.Alert{"a": {Id: "a", HostId: 1}, "b": {Id: "b", HostId: 13}, "c": {Id: "c", HostId: 2}, "d": nil})
	require.NoError(t, s.flush(t.Context()))
	require.Equal(t, []string{"a", "c"}, store.ids())
	require.Empty(t, s.waiting)
}

func TestSaverKeepsTheNewest(t *testing.T) {
	store := &memoryStore{rows: map[string][]byte{}}
	s := newSaver(store, discard(), newMetrics())
	store.fail(errors.New("away"))
	s.add(map[string]*gohubv1.Alert{"a": {Id: "a", State: pending}, "b": {Id: "b"}})
	require.Error(t, s.flush(t.Context()))
	s.add(map[string]*gohubv1.Alert{"a": {Id: "a", State: firing}, "b": nil})
	store.fail(nil)
	require.NoError(t, s.flush(t.Context()))
	alerts, err := store.Alerts(t.Context())
	require.NoError(t, err)
	require.Len(t, alerts, 1)
	require.Equal(t, firing, alerts[0].GetState())
}

func TestListOrder(t *testing.T) {
	w := newWorld(t,
		Rule{Name: "a", Metric: "cpu_usage_percent", Op: Above, Threshold: new(50.0)},
		Rule{Name: "b", Metric: "cpu_usage_percent", Op: Above, Threshold: new(60.0), Severity: Critical},
		Rule{Name: "c", Metric: "cpu_usage_percent", Op: Above, Threshold: new(55.0), For: Duration(time.Hour)},
		Rule{Name: "d", Metric: "cpu_usage_percent", Op: Above, Threshold: new(70.0)},
		Rule{Name: "e", Metric: "cpu_usage_percent", Op: Above, Threshold: new(58.0)})
	for _, value := range []float64{55, 80, 65} {
		sample(w.host(), w.now, value)
		w.step()
	}
	var got []string
	for _, a := range w.alerts() {
		got = append(got, a.GetRule())
	}
	require.Equal(t, []string{"b", "e", "a", "c", "d"}, got)
}

func TestHostsNamesAreMadePlain(t *testing.T) {
	w := newWorld(t, Rule{Name: "full", Metric: "filesystem_used_percent", Op: Above, Threshold: new(90.0)})
	h := w.host()
	sample(h, w.now, 95)
	h.Facts.Hostname = "web\r\nBcc: x\x00"
	h.Latest.Instances[1].Labels = map[string]string{"mountpoint": "/" + strings.Repeat("a", 5000), "device": "a,b=\"c\"\xff"}
	w.step()
	a := w.alerts()[0]
	require.Equal(t, "web\ufffd\ufffdBcc: x\ufffd", a.GetHostname())
	require.Equal(t, "a,b=\"c\"\ufffd", a.GetLabels()["device"])
	require.Len(t, a.GetLabels()["mountpoint"], maxName)
	require.LessOrEqual(t, len(a.GetId()), maxID)
	require.Equal(t, a.GetId(), alertID("full", 7, a.GetLabels()), "the id survives a restart")
	h.Facts.Hostname = ""
	w.hosts[0] = h
	w.now = w.now.Add(time.Second)
	sample(h, w.now, 96)
	w.step()
	require.Equal(t, "host 7", w.alerts()[0].GetHostname())
}

func TestMetricsAreWellNamed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	engine, err := NewEngine(Options{
		Config: Config{
			Rules:  []Rule{{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0)}},
			Notify: notify.Config{Webhooks: []notify.Webhook{{Receiver: notify.Receiver{Name: "hook"}, URL: "https://example.com/"}}},
		},
		Source: &liveSource{value: 95}, Store: &memoryStore{rows: map[string][]byte{}}, Registerer: registry,
	})
	require.NoError(t, err)
	engine.step(t.Context())
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP gohub_alerts Alerts by state: pending, firing, or resolved within the last hour.
# TYPE gohub_alerts gauge
gohub_alerts{state="firing"} 1
gohub_alerts{state="pending"} 0
gohub_alerts{state="resolved"} 0
# HELP gohub_alert_notifications_total Attempts to deliver a message to a receiver: sent, retried (failed for now) or rejected (failed for good).
# TYPE gohub_alert_notifications_total counter
gohub_alert_notifications_total{receiver="hook",result="rejected"} 0
gohub_alert_notifications_total{receiver="hook",result="retried"} 0
gohub_alert_notifications_total{receiver="hook",result="sent"} 0
# HELP gohub_alert_notifications_dropped_total Alert events that a receiver was never told: rejected, too old, over the queue's bound, or left at the end.
# TYPE gohub_alert_notifications_dropped_total counter
gohub_alert_notifications_dropped_total{receiver="hook"} 0
`), "gohub_alerts", "gohub_alert_notifications_total", "gohub_alert_notifications_dropped_total"))
	_, err = NewEngine(Options{Source: &liveSource{}, Store: &memoryStore{}, Registerer: registry})
	require.ErrorContains(t, err, "register metrics")
}

// TestEngineTellsRealReceivers has the whole engine fire and resolve against stand-ins that speak the protocols.
func TestEngineTellsRealReceivers(t *testing.T) {
	mail, err := alerttest.NewSMTP(alerttest.SMTPOptions{})
	require.NoError(t, err)
	defer mail.Close()
	telegram := alerttest.NewTelegram("123:abc")
	defer telegram.Close()
	hook := alerttest.NewWebhook("s3cret")
	defer hook.Close()

	c, err := parse(fmt.Sprintf(`
rules:
  - {name: busy, metric: cpu_usage_percent, op: ">", threshold: 90, severity: critical}
notify:
  email: [{name: mail, host: %s, port: %d, tls: none, from: GoHub <gohub@example.com>, to: [ops@example.com]}]
  telegram: [{name: chat, token: "123:abc", chat_ids: [-1001], api_url: "%s"}]
  webhooks: [{name: hook, url: "%s", secret: s3cret, allow_private: true}]
`, mail.Host, mail.Port, telegram.URL, hook.URL))
	require.NoError(t, err)
	source, ticks, published := &liveSource{value: 95}, make(chan time.Time), make(chan struct{}, 2)
	_, stop := start(t, Options{
		Config: c, Source: source, Store: &memoryStore{rows: map[string][]byte{}}, Link: "https://gohub.example.com",
		Ticks: ticks, Publish: func([]*gohubv1.Alert) { published <- struct{}{} },
	})
	<-published
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mails, err := mail.Wait(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "[GoHub] CRITICAL: busy on web-1", mails[0].Message.Header.Get("Subject"))
	messages, err := telegram.Wait(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "CRITICAL: cpu_usage_percent on web-1 is 95 % (> 90 %) [busy]\n\nhttps://gohub.example.com", strings.TrimSpace(messages[0].Form["text"]))
	requests, err := hook.Wait(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, notify.Firing, requests[0].Payload.Events[0].Event)

	// Resolved right before the end: the message still goes out.
	source.set(50)
	ticks <- time.Now()
	<-published
	stop()
	require.Len(t, mail.Mails(), 2)
	require.Len(t, telegram.Messages(), 2)
	require.Len(t, hook.Requests(), 2)
	require.Equal(t, notify.Resolved, hook.Requests()[1].Payload.Events[0].Event)
}

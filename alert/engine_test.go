package alert

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/alert/notify"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryStore keeps alerts as a database does: encoded, and away when told to be.
type memoryStore struct {
	mu    sync.Mutex
	rows  map[string][]byte
	err   error
	saves int
}

func (s *memoryStore) SaveAlerts(_ context.Context, alerts []*gohubv1.Alert, gone []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.err != nil {
		return s.err
	}
	for _, a := range alerts {
		row, err := proto.Marshal(a)
		if err != nil {
			return err
		}
		s.rows[a.GetId()] = row
	}
	for _, id := range gone {
		delete(s.rows, id)
	}
	return nil
}

func (s *memoryStore) Alerts(context.Context) ([]*gohubv1.Alert, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	var alerts []*gohubv1.Alert
	for _, row := range s.rows {
		a := &gohubv1.Alert{}
		if err := proto.Unmarshal(row, a); err != nil {
			return nil, err
		}
		alerts = append(alerts, a)
	}
	return alerts, nil
}

func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *memoryStore) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.rows))
}

// world is an engine, what it looks at, and what came of it. Its clock moves only when told to.
type world struct {
	t      *testing.T
	config Config
	engine *Engine
	store  *memoryStore
	now    time.Time
	hosts  []*gohubv1.Host

	published [][]*gohubv1.Alert
	told      []notify.Event
	// messages has how many events came at once.
	messages []int
}

func newWorld(t *testing.T, rules ...Rule) *world {
	w := &world{
		t: t, config: Config{Rules: rules}, store: &memoryStore{rows: map[string][]byte{}},
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	w.restart()
	return w
}

// restart makes a new engine over the same store, and forgets what the sources tell of status.
func (w *world) restart() {
	if w.engine != nil {
		require.NoError(w.t, w.engine.saver.flush(w.t.Context()))
	}
	engine, err := NewEngine(Options{
		Config: w.config, Source: w, Store: w.store, Now: func() time.Time { return w.now },
		Publish: func(alerts []*gohubv1.Alert) { w.published = append(w.published, alerts) },
		Logger:  slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	engine.tellAll = func(events []notify.Event) {
		w.told = append(w.told, events...)
		if len(events) > 0 {
			w.messages = append(w.messages, len(events))
		}
	}
	engine.started = w.now
	w.engine = engine
}

func (w *world) Each(see func(Host)) { messages(w.hosts).Each(see) }

// host returns the first host, to be changed.
func (w *world) host() *gohubv1.Host {
	if len(w.hosts) == 0 {
		w.hosts = append(w.hosts, newHost(7, "web-1"))
	}
	w.hosts[0] = proto.CloneOf(w.hosts[0])
	return w.hosts[0]
}

func newHost(id uint32, name string) *gohubv1.Host {
	return &gohubv1.Host{HostId: id, Facts: &gohubv1.HostFacts{Hostname: name, IntervalMillis: 5000}}
}

// sample gives the host a new sample whose CPU and whose root filesystem are used to value percent.
func sample(h *gohubv1.Host, at time.Time, value float64) {
	h.Status = gohubv1.HostStatus_HOST_STATUS_UP
	h.Latest = &gohubv1.Reading{
		Time:   timestamppb.New(at),
		Values: map[string]float64{"cpu_usage_percent": value},
		Instances: []*gohubv1.Instance{
			{Family: "core", Labels: map[string]string{"core": "0"}, Values: map[string]float64{"core_usage_percent": value}},
			{
				Family: "filesystem", Labels: map[string]string{"mountpoint": "/", "device": "/dev/sda1", "fstype": "ext4"},
				Values: map[string]float64{"filesystem_used_percent": value},
			},
		},
	}
}

// step evaluates, then lets five seconds go by.
func (w *world) step() {
	w.engine.step(w.t.Context())
	w.now = w.now.Add(5 * time.Second)
}

func (w *world) alerts() []*gohubv1.Alert {
	response, err := w.engine.ListAlerts(w.t.Context(), nil)
	require.NoError(w.t, err)
	return response.GetAlerts()
}

// phase is the state of the only alert.
func (w *world) phase() string {
	alerts := w.alerts()
	require.LessOrEqual(w.t, len(alerts), 1)
	if len(alerts) == 0 {
		return "inactive"
	}
	return strings.ToLower(strings.TrimPrefix(alerts[0].GetState().String(), "ALERT_STATE_"))
}

// kinds lists what receivers were told.
func (w *world) kinds() []string {
	kinds := []string{}
	for _, event := range w.told {
		kinds = append(kinds, string(event.Kind))
	}
	return kinds
}

// play runs a script: words apart by spaces, each but =state an evaluation, *n repeats it.
//
//	95       a new sample with the value      none  a new sample without the value     nan  with NaN
//	gone     a new sample without the instance             -     no new sample
//	down     the host is down   late  it is late   unknown   its status is    removed   the source does not have it
//	restart  a new engine       =firing   demands a state
func (w *world) play(script string) {
	w.t.Helper()
	for _, word := range strings.Fields(script) {
		if want, ok := strings.CutPrefix(word, "="); ok {
			require.Equal(w.t, want, w.phase(), "in %q before %s", script, w.now)
			continue
		}
		if word == "restart" {
			w.restart()
			continue
		}
		word, count, _ := strings.Cut(word, "*")
		n := 1
		if count != "" {
			var err error
			n, err = strconv.Atoi(count)
			require.NoError(w.t, err)
		}
		for range n {
			w.see(word)
			w.step()
		}
	}
}

func (w *world) see(word string) {
	h := w.host()
	switch word {
	case "-":
	case "none":
		sample(h, w.now, 0)
		h.Latest.Values = nil
		h.Latest.Instances[1].Values = nil
	case "nan":
		sample(h, w.now, math.NaN())
	case "gone":
		sample(h, w.now, 0)
		h.Latest.Instances = h.Latest.Instances[:1]
	case "down":
		h.Status = gohubv1.HostStatus_HOST_STATUS_DOWN
	case "late":
		h.Status = gohubv1.HostStatus_HOST_STATUS_LATE
	case "unknown":
		h.Status = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
	case "removed":
		w.hosts = []*gohubv1.Host{}
	default:
		value, err := strconv.ParseFloat(word, 64)
		require.NoError(w.t, err)
		sample(h, w.now, value)
	}
}

func TestStates(t *testing.T) {
	cpu := Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0), Resolve: new(80.0), For: Duration(time.Minute)}
	disk := Rule{Name: "full", Metric: "filesystem_used_percent", Op: AtLeast, Threshold: new(90.0), For: Duration(time.Minute)}
	atOnce := Rule{Name: "low", Metric: "cpu_usage_percent", Op: Below, Threshold: new(10.0)}
	silent := Rule{Name: "silent", Silent: true, For: Duration(time.Minute)}
	once := []string{"firing"}
	both := []string{"firing", "resolved"}
	for _, test := range []struct {
		name   string
		rule   Rule
		script string
		told   []string
	}{
		{"fires when it held for long enough", cpu, "50 95*12 =pending 95 =firing", once},
		{"a dip ends pending", cpu, "95*12 90 =inactive 95*12 =pending", []string{}},
		{"resolve keeps a value about the threshold from flapping", cpu, "95*13 85 95 81 92 81 =firing 80 =resolved", both},
		{"pending is held against the threshold", cpu, "95*6 85 =inactive", []string{}},
		{"without for it fires at the first sample", atOnce, "10 =inactive 9 =firing 10 =resolved", both},
		{"at least includes the threshold", disk, "90*13 =firing 89 =resolved", both},
		{"resolved is forgotten after an hour", cpu, "95*13 50*720 =resolved 50 =inactive", both},
		{"a pending that comes to nothing shows the resolved again", cpu, "95*13 50 =resolved 95 =pending 50 =resolved", both},
		{"it fires again after it was resolved", cpu, "95*13 50 95*13 =firing", []string{"firing", "resolved", "firing"}},

		{"stale data does not fire", cpu, "95 -*200 =pending", []string{}},
		{"time without data does not count", cpu, "95*6 -*200 95*7 =pending 95 =firing", once},
		{"a few missed samples do count", cpu, "95*6 -*3 95*4 =firing", once},
		{"a silent host holds firing", cpu, "95*13 down*1000 =firing 50 =resolved", both},
		{"a silent host holds pending", cpu, "95*6 down*1000 =pending 95*7 =pending 95 =firing", once},
		{"NaN neither fires nor resolves", cpu, "nan*20 =inactive 95*13 nan*20 =firing", once},
		{"a missing value neither fires nor resolves", cpu, "none*20 =inactive 95*13 none*600 =firing", once},
		{"a missing value does not count", disk, "95*6 none*200 95 =pending", []string{}},
		{"a value that never comes back ends the alert", disk, "95*13 none*721 =resolved", both},
		{"an instance that is gone ends the alert", disk, "95*13 gone*12 =firing gone =resolved", both},
		{"an instance that is gone ends pending", disk, "95*6 gone*13 =inactive", []string{}},
		{"an instance may be missed now and then", disk, "95*13 gone*12 95 gone*12 =firing", once},
		{"an instance is not gone while the host is down", disk, "95*13 gone*2 down*1000 =firing", once},
		{"a removed host ends the alert", cpu, "95*13 removed*12 =firing removed =resolved", both},

		{"a firing alert is not told again after a restart", cpu, "95*13 restart - 95*5 =firing 50 =resolved", both},
		{"a firing alert waits for its host after a restart", cpu, "95*13 restart unknown*100 down*1000 =firing", once},
		{"pending keeps its since over a restart", cpu, "95*6 restart - 95*5 =pending 95 =firing", once},
		{"a long stop of the server does not count", cpu, "95*6 - restart unknown*100 95*2 =pending", []string{}},
		{"resolved is still listed after a restart", cpu, "95*13 50 restart - =resolved", both},
		{"a removed host ends a restored alert, later", cpu, "95*13 restart removed*700 =firing removed*22 =resolved", both},

		{"silence fires when the host is down for long enough", silent, "50 down*11 =pending down =firing 50 =resolved", both},
		{"a late host is not silent", silent, "50 late*100 =inactive down*12 =firing late =resolved", both},
		{"a late host's new sample counts", cpu, "95*6 late 95*5 =pending 95 =firing", once},
		{"a hiccup is no silence", silent, "50 -*100 =inactive", []string{}},
		{"silence of an unknown host does not fire", silent, "unknown*1000 =inactive", []string{}},
		{"silence counts from the server's start", silent, "unknown*6 down =pending down*5 =pending down =firing", once},
		{"a silent host is not told again after a restart", silent, "50 down*12 restart unknown*20 =firing down*20 =firing", once},
		{"a silent host that is back during the restart is resolved", silent, "50 down*12 restart unknown 50 =resolved", both},
		{"silence pending over a restart", silent, "50 down*6 restart unknown*4 =pending down*2 =firing", once},
		{"a rule on silence knows no instances", silent, "50 gone*100 =inactive", []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.rule)
			w.play(test.script)
			require.Equal(t, test.told, w.kinds())
		})
	}
}

func TestAlertSaysWhatItIsAbout(t *testing.T) {
	w := newWorld(t, Rule{Name: "full", Metric: "filesystem_used_percent", Op: Above, Threshold: new(90.0), Severity: Critical, For: Duration(10 * time.Second)})
	begin := w.now
	w.play("95.25 96 97 =firing 98.5 =firing")
	a := w.alerts()[0]
	require.Equal(t, "full|7|device=/dev/sda1,fstype=ext4,mountpoint=/", a.GetId())
	require.Equal(t, "filesystem_used_percent of / on web-1 is 98.5 % (> 90 %)", a.GetSummary(), "the newest value")
	require.Equal(t, gohubv1.Severity_SEVERITY_CRITICAL, a.GetSeverity())
	require.Equal(t, map[string]string{"mountpoint": "/", "device": "/dev/sda1", "fstype": "ext4"}, a.GetLabels())
	require.Equal(t, 98.5, a.GetValue())
	require.Equal(t, 90.0, a.GetThreshold())
	require.Equal(t, begin, a.GetActiveSince().AsTime())
	require.Equal(t, begin.Add(10*time.Second), a.GetFiredAt().AsTime())
	require.Nil(t, a.GetResolvedAt())
	require.Equal(t, 97.0, w.told[0].Alert.GetValue(), "a told alert does not change any more")

	w.play("gone*13 =resolved")
	require.Equal(t, "filesystem_used_percent of / on web-1: it is not reported any more", w.alerts()[0].GetSummary())
	require.NotNil(t, w.alerts()[0].GetResolvedAt())
}

func TestSilenceTellsTheLastSample(t *testing.T) {
	w := newWorld(t, Rule{Name: "silent", Silent: true, For: Duration(time.Minute)})
	w.play("50 down*12 =firing")
	a := w.alerts()[0]
	require.Equal(t, "web-1 sends nothing; its last sample is of 2026-03-01 12:00:00 UTC", a.GetSummary())
	require.Equal(t, 60.0, a.GetValue())
	require.Equal(t, 60.0, a.GetThreshold())
	w.play("50")
	require.Equal(t, "web-1 sends again", w.alerts()[0].GetSummary())
}

// TestBacklogNeitherFiresNorResolves: a host that could not reach the server delivers what it kept, old samples first.
func TestBacklogNeitherFiresNorResolves(t *testing.T) {
	w := newWorld(t,
		Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0)},
		Rule{Name: "idle", Metric: "cpu_usage_percent", Op: Below, Threshold: new(10.0)})
	w.play("95*3")
	require.Equal(t, []string{"firing"}, w.kinds())
	w.play("down*240") // 20 minutes
	for minutes := 19; minutes > 0; minutes-- {
		sample(w.host(), w.now.Add(-time.Duration(minutes)*time.Minute), 5)
		w.step()
	}
	require.Equal(t, []string{"firing"}, w.kinds(), "old values count for nothing")
	w.play("95*2")
	require.Equal(t, []string{"firing"}, w.kinds())
	w.play("50")
	require.Equal(t, []string{"firing", "resolved"}, w.kinds())
}

// TestWrongClockOfHost: alerts work on a host whose clock is wrong from the start, and on one whose clock is set.
func TestWrongClockOfHost(t *testing.T) {
	for _, offset := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		w := newWorld(t, Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0), For: Duration(time.Minute)})
		for range 14 {
			sample(w.host(), w.now.Add(offset), 95)
			w.step()
		}
		require.Equal(t, "firing", w.phase(), "clock wrong by %s", offset)
		for range 2 {
			sample(w.host(), w.now, 50)
			w.step()
		}
		require.Equal(t, "resolved", w.phase(), "clock set from %s", offset)
	}
}

func TestEveryInstanceIsAnAlertOfItsOwn(t *testing.T) {
	w := newWorld(t, Rule{
		Name: "full", Metric: "filesystem_used_percent", Op: Above, Threshold: new(90.0),
		Labels: map[string]Matcher{"fstype": {Pattern: "squashfs|iso9660", Regexp: true, Not: true}},
		Hosts:  &Matcher{Pattern: "web-.*", Regexp: true},
	})
	filesystem := func(mountpoint, fstype string, used float64) *gohubv1.Instance {
		return &gohubv1.Instance{
			Family: "filesystem", Labels: map[string]string{"mountpoint": mountpoint, "fstype": fstype},
			Values: map[string]float64{"filesystem_used_percent": used},
		}
	}
	for i, name := range []string{"web-1", "db-1", "web-2"} {
		h := newHost(uint32(i+1), name)
		sample(h, w.now, 0)
		h.Latest.Instances = []*gohubv1.Instance{
			filesystem("/", "ext4", 95), filesystem("/srv", "xfs", 20), filesystem("/snap", "squashfs", 100), filesystem("/var", "xfs", 99),
			filesystem("/var", "xfs", 10), // a second one that can't be told from the first
		}
		w.hosts = append(w.hosts, h)
	}
	w.step()
	var ids []string
	for _, a := range w.alerts() {
		ids = append(ids, a.GetId())
	}
	require.ElementsMatch(t, []string{
		"full|1|device=,fstype=ext4,mountpoint=/", "full|1|device=,fstype=xfs,mountpoint=/var",
		"full|3|device=,fstype=ext4,mountpoint=/", "full|3|device=,fstype=xfs,mountpoint=/var",
	}, ids)
	require.Equal(t, []int{4}, w.messages, "what fires at once is told at once")
	require.Len(t, w.published, 1)
	require.Len(t, w.published[0], 4)
	w.step()
	require.Len(t, w.published, 1, "nothing changed")
}

func TestHostRenamedOutOfRule(t *testing.T) {
	w := newWorld(t, Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0), Hosts: &Matcher{Pattern: "web-1"}})
	w.play("95 =firing")
	w.host().Facts.Hostname = "web-9"
	w.play("95 =resolved")
}

func TestRemovedRuleEndsItsAlerts(t *testing.T) {
	w := newWorld(t, Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0)})
	w.play("95 =firing")
	w.config.Rules = []Rule{{Name: "busy", Silent: true, For: Duration(time.Minute)}}
	w.play("restart 95 =resolved")
	require.Equal(t, []string{"firing", "resolved"}, w.kinds())
	require.Equal(t, "busy on web-1: the rule was removed", w.alerts()[0].GetSummary())
	w.play("restart 95 =resolved 95*720 =inactive")
	require.NoError(t, w.engine.saver.flush(t.Context()))
	require.Empty(t, w.store.ids())
	require.Equal(t, []string{"firing", "resolved"}, w.kinds())
}

func TestReminders(t *testing.T) {
	w := newWorld(t,
		Rule{Name: "busy", Metric: "cpu_usage_percent", Op: Above, Threshold: new(90.0)},
		Rule{Name: "full", Metric: "filesystem_used_percent", Op: Above, Threshold: new(90.0), For: Duration(time.Minute)})
	w.config.Notify.RepeatInterval = new(Duration(time.Hour))
	w.restart()
	w.play("95*720")
	require.Equal(t, []string{"firing", "firing"}, w.kinds())
	require.Equal(t, []int{1, 1}, w.messages)
	w.play("95")
	require.Equal(t, []int{1, 1, 2}, w.messages, "reminders that are nearly due come together")
	w.play("95*719 restart")
	require.Equal(t, []int{1, 1, 2}, w.messages)
	w.play("95*14")
	require.Equal(t, []int{1, 1, 2, 2}, w.messages, "a restart neither forgets nor adds a reminder")
	w.config.Notify.RepeatInterval = new(Duration(0))
	w.play("restart 95*2000")
	require.Equal(t, []int{1, 1, 2, 2}, w.messages, "0s is never")
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

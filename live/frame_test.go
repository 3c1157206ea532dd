package live

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// payload takes a frame apart and checks that it is one whole text frame.
func payload(t *testing.T, f frame) []byte {
	t.Helper()
	reader := bytes.NewReader(f)
	header, err := ws.ReadHeader(reader)
	require.NoError(t, err)
	require.True(t, header.Fin)
	require.False(t, header.Masked)
	require.Equal(t, ws.OpText, header.OpCode)
	require.EqualValues(t, reader.Len(), header.Length)
	return f[len(f)-reader.Len():]
}

// newestDelta makes a delta of all that has changed in the topic.
func newestDelta(t *testing.T, of *topic) frame {
	require.True(t, of.delta(of.state.moment(), of.hosts()))
	return of.backlog.kept[len(of.backlog.kept)-1].frame()
}

func goldenClock() *clock { return &clock{time: epoch} }

func goldenState() (*State, *clock) { return goldenStateAt(goldenClock()) }

func goldenStateAt(c *clock) (*State, *clock) {
	s := NewState(c.now)
	s.SetHost(testHost(1, "db-1"))
	s.Observe(1, flat(fullSample(epoch.Add(250*time.Millisecond))), c.time)
	s.SetHost(testHost(2, "quiet \"☃\" <script>"))
	s.Observe(3, flat(hostSample(epoch, 12.3)), c.time)
	return s, c
}

func goldenAlerts() []*gohubv1.Alert {
	return []*gohubv1.Alert{{
		Id: "disk-full/1//", Rule: "disk-full", Severity: gohubv1.Severity_SEVERITY_CRITICAL,
		State: gohubv1.AlertState_ALERT_STATE_FIRING, HostId: 1, Hostname: "db-1", Labels: map[string]string{"mountpoint": "/"},
		Metric: "filesystem_used_percent", Value: 0, Threshold: 90, Summary: "The filesystem / of db-1 is full.",
		ActiveSince: timestamppb.New(epoch), FiredAt: timestamppb.New(epoch.Add(time.Minute)),
	}}
}

// TestFramesAreGolden: the dashboard's tests decode the binary ones and hold them against the JSON.
func TestFramesAreGolden(t *testing.T) {
	c := goldenClock()
	type pair struct{ text, binary *topic }
	topics := func(s *State, of subject) pair {
		var h *host
		if !of.key.fleet {
			h, _ = s.lookup(of.key.host)
		}
		text := newTopic(of, s, h, s.moment())
		of.key.form = formBinary
		return pair{text, newTopic(of, s, h, s.moment())}
	}
	whole := func(name string, of pair) {
		f, _, _ := of.text.whole(of.text.state.moment(), nil)
		golden(t, name+".json", payload(t, f))
		f, _, _ = of.binary.whole(of.binary.state.moment(), nil)
		goldenBinary(t, name+".bin", f)
	}
	delta := func(name string, of pair) {
		golden(t, name+".json", payload(t, newestDelta(t, of.text)))
		goldenBinary(t, name+".bin", newestDelta(t, of.binary))
	}
	s, _ := goldenStateAt(c)
	ask := func(request string) subject {
		parsed, err := parseRequest([]byte(request))
		require.NoError(t, err)
		of, err := parseSubject(parsed, formJSON)
		require.NoError(t, err)
		return of
	}
	fleet, one := topics(s, ask(`{"fleet":{}}`)), topics(s, ask(`{"host":{"hostId":1}}`))
	columns := topics(s, ask(`{"fleet":{"metrics":["uptime_seconds","cpu_usage_percent"]}}`))
	set := topics(s, ask(`{"set":{"labels":{"hostname":"db-1"}}}`))
	whole("fleet_snapshot", fleet)
	whole("host_snapshot", one)
	whole("columns_snapshot", columns)
	whole("set_snapshot", set)

	s.Observe(3, flat(hostSample(epoch.Add(10*time.Second), 99.5)), epoch.Add(10*time.Second))
	renamed := testHost(1, "db-9")
	s.SetHost(renamed)
	c.time = epoch.Add(31 * time.Second) // host 1 goes down
	delta("fleet_delta", fleet)
	delta("host_delta", one)
	delta("columns_delta", columns)
	delta("set_delta", set)

	alerts, err := compileAlerts(goldenAlerts())
	require.NoError(t, err)
	golden(t, "alerts.json", payload(t, alerts[formJSON]))
	goldenBinary(t, "alerts.bin", alerts[formBinary])
	alerts, err = compileAlerts(nil)
	require.NoError(t, err)
	golden(t, "no_alerts.json", payload(t, alerts[formJSON]))
	goldenBinary(t, "no_alerts.bin", alerts[formBinary])
	golden(t, "error.json", payload(t, compileError("no host with id 7", formJSON)))
	goldenBinary(t, "error.bin", compileError("no host with id 7", formBinary))
	whole("empty_snapshot", topics(NewState(c.now), ask(`{"fleet":{}}`)))
}

// goldenBinary compares a binary frame's payload with testdata/name.
func goldenBinary(t *testing.T, name string, f frame) {
	t.Helper()
	header, err := ws.ReadHeader(bytes.NewReader(f))
	require.NoError(t, err)
	require.Equal(t, ws.OpBinary, header.OpCode)
	got := f[len(f)-int(header.Length):]
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, []byte(got))
}

// What our encoder writes is what the contract's JSON mapping reads.
func TestEncodingIsThatOfTheContract(t *testing.T) {
	s, c := goldenState()
	twice := testHost(9, "copied")
	twice.ClonedAt = epoch.Add(time.Minute)
	s.SetHost(twice)
	decode := func(f frame) *gohubv1.LiveMessage {
		message := new(gohubv1.LiveMessage)
		require.True(t, json.Valid(payload(t, f)))
		require.NoError(t, protojson.Unmarshal(payload(t, f), message))
		return message
	}
	equal := func(want, got *gohubv1.LiveMessage) {
		t.Helper()
		require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
	}

	fleet := newTopic(subject{key: topicKey{fleet: true}}, s, nil, s.moment())
	fleet.seq = math.MaxUint32
	f, _, _ := fleet.whole(s.moment(), nil)
	equal(&gohubv1.LiveMessage{Seq: math.MaxUint32, Body: &gohubv1.LiveMessage_Snapshot{
		Snapshot: &gohubv1.LiveHosts{Hosts: s.Hosts()},
	}}, decode(f))

	h, _ := s.lookup(1)
	one := newTopic(subject{key: topicKey{host: 1}, shape: shape{everything: true}}, s, h, s.moment())
	s.Observe(1, flat(fullSample(epoch.Add(time.Second))), c.time)
	f = newestDelta(t, one)
	equal(&gohubv1.LiveMessage{Seq: 1, Body: &gohubv1.LiveMessage_Delta{
		Delta: &gohubv1.LiveHosts{Hosts: []*gohubv1.Host{mustHost(t, s, 1)}},
	}}, decode(f))

	alerts, err := compileAlerts(goldenAlerts())
	require.NoError(t, err)
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Alerts{
		Alerts: &gohubv1.ListAlertsResponse{Alerts: goldenAlerts()},
	}}, decode(alerts[formJSON]))

	// The protobuf form is held against the contract's own code, with strings that need care.
	for _, request := range []subject{{key: topicKey{fleet: true, form: formProto}}, {key: topicKey{host: 1, form: formProto}, shape: shape{everything: true}}} {
		of := newTopic(request, s, h, s.moment())
		of.seq = math.MaxUint32
		f, _, _ := of.whole(s.moment(), nil)
		message := new(gohubv1.LiveMessage)
		require.NoError(t, proto.Unmarshal(f, message))
		want := s.Hosts()
		if !request.key.fleet {
			want = []*gohubv1.Host{mustHost(t, s, 1)}
		}
		equal(&gohubv1.LiveMessage{Seq: math.MaxUint32, Body: &gohubv1.LiveMessage_Snapshot{Snapshot: &gohubv1.LiveHosts{Hosts: want}}}, message)
		canonical, err := proto.Marshal(message)
		require.NoError(t, err)
		require.Len(t, f, len(canonical), "no byte more than it takes")
	}

	nasty := "a\"b\\c\x00\x1f\x7f\u2028é☃😀</script>"
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Error{Error: nasty}}, decode(compileError(nasty, formJSON)))
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Error{Error: "\uFFFD"}}, decode(compileError("\xff", formJSON)))
}

func TestNumbersSurviveTheirEncoding(t *testing.T) {
	for _, value := range []float64{
		0, 1, -1, 0.1, -0.1, 1e-7, 1e21, 1e300, 5e-324, math.MaxFloat64, 1 << 53, 1<<53 - 1, -1 << 53, 1 << 63, 1 << 62, 12.3, 2.5e15,
	} {
		var got float64
		require.NoError(t, json.Unmarshal(appendNumber(nil, value), &got))
		require.Equal(t, value, got)
	}
}

func TestFrameHeaderFitsTheLength(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536, 1 << 20} {
		require.Len(t, payload(t, compile(ws.OpText, make([]byte, size))), size)
	}
}

func TestAlertsThatAreNotUTF8AreRefused(t *testing.T) {
	_, err := compileAlerts([]*gohubv1.Alert{{Summary: "\xff"}})
	require.Error(t, err)
}

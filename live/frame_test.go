package live

import (
	"bytes"
	"encoding/json"
	"math"
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

func goldenState() (*State, *clock) {
	s, c := newTestState()
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

func TestFramesAreGolden(t *testing.T) {
	s, c := goldenState()
	h, _ := s.lookup(1)
	fleet := newTopic(topicKey{fleet: true}, s, nil, s.moment())
	one := newTopic(topicKey{host: 1}, s, h, s.moment())

	f, _, _ := fleet.whole(s.moment(), nil)
	golden(t, "fleet_snapshot.json", payload(t, f))
	f, _, _ = one.whole(s.moment(), nil)
	golden(t, "host_snapshot.json", payload(t, f))

	s.Observe(3, flat(hostSample(epoch.Add(10*time.Second), 99.5)), epoch.Add(10*time.Second))
	c.time = epoch.Add(31 * time.Second) // host 1 goes down
	f = newestDelta(t, fleet)
	golden(t, "fleet_delta.json", payload(t, f))
	f = newestDelta(t, one)
	golden(t, "host_delta.json", payload(t, f))

	f, err := compileAlerts(goldenAlerts())
	require.NoError(t, err)
	golden(t, "alerts.json", payload(t, f))
	f, err = compileAlerts(nil)
	require.NoError(t, err)
	golden(t, "no_alerts.json", payload(t, f))
	golden(t, "error.json", payload(t, compileError("no host with id 7")))
	empty := newTopic(topicKey{fleet: true}, NewState(c.now), nil, moment{})
	f, _, _ = empty.whole(s.moment(), nil)
	golden(t, "empty_snapshot.json", payload(t, f))
}

// What our encoder writes is what the contract's JSON mapping reads.
func TestEncodingIsThatOfTheContract(t *testing.T) {
	s, c := goldenState()
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

	fleet := newTopic(topicKey{fleet: true}, s, nil, s.moment())
	fleet.seq = math.MaxUint32
	f, _, _ := fleet.whole(s.moment(), nil)
	equal(&gohubv1.LiveMessage{Seq: math.MaxUint32, Body: &gohubv1.LiveMessage_Snapshot{
		Snapshot: &gohubv1.LiveHosts{Hosts: s.Hosts()},
	}}, decode(f))

	h, _ := s.lookup(1)
	one := newTopic(topicKey{host: 1}, s, h, s.moment())
	s.Observe(1, flat(fullSample(epoch.Add(time.Second))), c.time)
	f = newestDelta(t, one)
	equal(&gohubv1.LiveMessage{Seq: 1, Body: &gohubv1.LiveMessage_Delta{
		Delta: &gohubv1.LiveHosts{Hosts: []*gohubv1.Host{mustHost(t, s, 1)}},
	}}, decode(f))

	f, err := compileAlerts(goldenAlerts())
	require.NoError(t, err)
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Alerts{
		Alerts: &gohubv1.ListAlertsResponse{Alerts: goldenAlerts()},
	}}, decode(f))

	nasty := "a\"b\\c\x00\x1f\x7f\u2028é☃😀</script>"
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Error{Error: nasty}}, decode(compileError(nasty)))
	equal(&gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Error{Error: "\uFFFD"}}, decode(compileError("\xff")))
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

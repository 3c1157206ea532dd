package live

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// listed asks for the list of hosts in both forms, and requires that they are what the contract's own code makes of the hosts.
func listed(t *testing.T, s *State, match func(*gohubv1.Host, gohubv1.HostStatus) bool, want ...*gohubv1.Host) {
	t.Helper()
	answer := &gohubv1.ListHostsResponse{Hosts: want}
	got := new(gohubv1.ListHostsResponse)
	require.NoError(t, proto.Unmarshal(s.AppendHosts(nil, match), got))
	require.True(t, proto.Equal(answer, got), "want %v\ngot  %v", answer, got)
	var text bytes.Buffer
	text.WriteString(`{"hosts":[`)
	require.NoError(t, s.WriteHosts(&text, match))
	text.WriteString(`]}`)
	json, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(answer)
	require.NoError(t, err)
	require.JSONEq(t, string(json), text.String())
}

// TestListOfHostsIsThatOfTheContract: to the last null and empty object.
func TestListOfHostsIsThatOfTheContract(t *testing.T) {
	listed(t, NewState(nil), nil)
	s, c := goldenState() // one host with everything, one without facts, one with a bare sample
	s.SetLabels(1, map[string]string{"site": "ams", "name": "\"é\\\u2028\n"})
	s.SetHost(testHost(7, "new"))
	s.SetHost(storage.Host{ID: 8})
	listed(t, s, nil, s.Hosts()...)
	require.Len(t, s.Hosts(), len(s.all()))
	c.time = epoch.Add(time.Hour)
	listed(t, s, nil, s.Hosts()...)

	listed(t, s, func(h *gohubv1.Host, _ gohubv1.HostStatus) bool { return h.GetLabels()["site"] == "ams" }, s.Hosts()[0])
	require.Equal(t, down, s.Hosts()[0].GetStatus())
	listed(t, s, func(_ *gohubv1.Host, status gohubv1.HostStatus) bool { return status == up })
}

// TestListOfHostsFollowsThem: what is kept of the last list is not shown for what is.
func TestListOfHostsFollowsThem(t *testing.T) {
	s, c := goldenState()
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		id := storage.HostID(1 + random.IntN(5))
		switch random.IntN(7) {
		case 0:
			s.SetHost(testHost(id, fmt.Sprint("host-", random.IntN(3))))
		case 1:
			s.SetLabels(id, map[string]string{"site": fmt.Sprint(random.IntN(3))})
		case 2:
			c.time = c.time.Add(time.Duration(random.IntN(60)) * time.Second)
		case 3:
			s.SetDeaf(random.IntN(2) == 0)
		case 4:
			s.Observe(id, flat(hostSample(c.time.Add(-time.Minute), 1)), c.time) // late
		default:
			s.Observe(id, flat(fullSample(c.time)), c.time)
		}
		listed(t, s, nil, s.Hosts()...)
	}
}

// TestListOfHostsIsForgotten when no one asks for it any more.
func TestListOfHostsIsForgotten(t *testing.T) {
	s, c := goldenState()
	hub := NewHub(s, HubOptions{Now: c.now})
	listed(t, s, nil, s.Hosts()...)
	c.time = c.time.Add(rosterKept - 1)
	hub.tick()
	require.NotEmpty(t, s.protoRoster.parts)
	require.NotEmpty(t, s.jsonRoster.parts)
	c.time = c.time.Add(1)
	hub.tick()
	require.Empty(t, s.protoRoster.parts)
	require.Empty(t, s.jsonRoster.parts)
	listed(t, s, nil, s.Hosts()...)
}

// TestListOfManyHostsIsWrittenInPieces: nothing is lost between them.
func TestListOfManyHostsIsWrittenInPieces(t *testing.T) {
	s := benchState(1500, fullSample(epoch))
	pieces := 0
	require.NoError(t, s.WriteHosts(writerFunc(func(p []byte) (int, error) {
		require.Less(t, len(p), 2*flushAt)
		pieces++
		return len(p), nil
	}), nil))
	require.Greater(t, pieces, 3)
	require.Equal(t, 1500, len(s.jsonRoster.parts))
	listed(t, s, nil, s.Hosts()...)
	broken := errors.New("the asker is gone")
	require.ErrorIs(t, s.WriteHosts(writerFunc(func([]byte) (int, error) { return 0, broken }), nil), broken)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

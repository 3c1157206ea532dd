package live

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestServersLabelsStandAboveTheAgents(t *testing.T) {
	s, _ := newTestState()
	host := testHost(1, "db-1")
	host.Facts.Labels = map[string]string{"site": "ams", "role": "db", "bad": "\xff"}
	s.SetHost(host)
	require.Equal(t, map[string]string{"site": "ams", "role": "db", "bad": "\uFFFD"}, mustHost(t, s, 1).GetLabels())

	fleet := newTopic(subject{key: topicKey{fleet: true}}, s, nil, s.moment())
	s.changes.watch(true)
	hostile := map[string]string{"site": "fra", "role": "", "note": "\"<b>☃\\"}
	s.SetLabels(1, hostile)
	require.True(t, fleet.delta(s.moment(), s.changes.take(nil)), "viewers learn of it at once")
	want := map[string]string{"site": "fra", "bad": "\uFFFD", "note": "\"<b>☃\\"}
	require.Equal(t, want, mustHost(t, s, 1).GetLabels())
	require.Equal(t, hostile, mustHost(t, s, 1).GetServerLabels())

	s.SetHost(host) // the agent comes back
	require.Equal(t, want, mustHost(t, s, 1).GetLabels())

	message := new(gohubv1.LiveMessage)
	f, _, _ := newTopic(subject{key: topicKey{fleet: true}}, s, nil, s.moment()).whole(s.moment(), nil)
	require.NoError(t, protojson.Unmarshal(payload(t, f), message))
	require.True(t, proto.Equal(s.Hosts()[0], message.GetSnapshot().GetHosts()[0]))
}

func TestIdentitiesAreHostsWithoutValues(t *testing.T) {
	s, _ := goldenState()
	identities := s.Identities()
	require.Len(t, identities, 3)
	for i, host := range s.Hosts() {
		host.Latest = nil
		require.True(t, proto.Equal(host, identities[i]))
	}
	one, known := s.Identity(1)
	require.True(t, known)
	require.True(t, proto.Equal(identities[0], one))
	_, known = s.Identity(99)
	require.False(t, known)
}

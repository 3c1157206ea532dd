package storagetest

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

func registerKeepsCursor(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 10))

	again := registration(host.AgentID, 7)
	again.Facts.Hostname = "renamed"
	again.At = base.Add(time.Hour)
	same, seq := Register(t, s, again)
	require.Equal(t, host.ID, same.ID)
	require.Equal(t, base, same.FirstSeen)
	require.EqualValues(t, 1, seq)

	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, "renamed", hosts[0].Facts.GetHostname())
	require.EqualValues(t, 4, hosts[0].Facts.GetCpuCores())
	require.Equal(t, host.AgentID, hosts[0].AgentID)
	require.Equal(t, base, hosts[0].FirstSeen)
}

func registerNewEpoch(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 5, 10))
	_, seq := Register(t, s, registration(host.AgentID, 8))
	require.Zero(t, seq)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(host.ID, 5, 6, 20)), "what is on its way in the old epoch is kept")
}

func registerOldEpoch(t *testing.T, s storage.Store) {
	host := register(t, s)
	appendAll(t, s, batch(host.ID, 0, 1, 10))
	Register(t, s, registration(host.AgentID, 8))
	_, seq := Register(t, s, registration(host.AgentID, 7))
	require.EqualValues(t, 1, seq, "an epoch that comes back goes on where it was")
	require.Equal(t, []storage.Outcome{storage.Duplicate}, appendAll(t, s, batch(host.ID, 0, 1, 10)))
}

// registerTogether registers a mixed crowd in one call: an old agent, a new one, and one that comes twice.
func registerTogether(t *testing.T, s storage.Store) {
	old := register(t, s)
	appendAll(t, s, batch(old.ID, 0, 3, 10))
	fresh, twice := uuid.New(), uuid.New()
	again := registration(twice, 8)
	again.Facts.Hostname = "web-2"
	answers, err := s.Register(t.Context(), []storage.Registration{
		registration(fresh, 7), registration(old.AgentID, 7), registration(twice, 7), again, registration(twice, 8),
	})
	require.NoError(t, err)
	require.Len(t, answers, 5)
	for i, want := range []uuid.UUID{fresh, old.AgentID, twice, twice, twice} {
		require.Equal(t, want, answers[i].Host.AgentID)
		require.Equal(t, base, answers[i].Host.FirstSeen)
	}
	require.Equal(t, old.ID, answers[1].Host.ID)
	require.Equal(t, answers[2].Host.ID, answers[3].Host.ID)
	for i, want := range []uint64{0, 3, 0, 0, 0} {
		require.Equal(t, want, answers[i].Cursor.Seq)
	}
	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(answers[0].Host.ID, 0, 1, 10)))
}

// checksums: the cursor tells the checksum of the newest stored batch, and of no other.
func checksums(t *testing.T, s storage.Store) {
	host := register(t, s)
	cursor := func() storage.Cursor {
		answers, err := s.Register(t.Context(), []storage.Registration{registration(host.AgentID, 7)})
		require.NoError(t, err)
		return answers[0].Cursor
	}
	numbered := func(prev, seq uint64, checksum uint32) *storage.Batch {
		b := batch(host.ID, prev, seq, 10)
		b.Checksum = checksum
		return b
	}
	appendAll(t, s, numbered(0, 1, 11), numbered(1, 2, math.MaxUint32))
	require.Equal(t, storage.Cursor{Seq: 2, Checksum: math.MaxUint32}, cursor())
	require.Equal(t, []storage.Outcome{storage.Fenced}, appendAll(t, s, numbered(1, 2, 33)))
	require.Equal(t, storage.Cursor{Seq: 2, Checksum: math.MaxUint32}, cursor())
	appendAll(t, s, numbered(2, 3, 0))
	require.Equal(t, storage.Cursor{Seq: 3}, cursor())
}

func registerKeepsIDs(t *testing.T, s storage.Store) {
	one := register(t, s)
	for epoch := range uint64(5) {
		Register(t, s, registration(one.AgentID, epoch+1))
	}
	require.Equal(t, one.ID+1, register(t, s).ID, "reconnecting uses up no ids")
}

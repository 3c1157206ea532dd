package storagetest

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// MaxHosts is the bound that RunHostBound wants its stores to have.
const MaxHosts = 20

// RunHostBound holds stores on one empty database, as several servers have them, to their bound on hosts. Where a database takes
// one server only, there is one.
func RunHostBound(t *testing.T, stores ...storage.Store) {
	s := stores[0]
	known := register(t, s)

	// Far more than there is room for, all at once.
	const callers, each = 8, 6
	var (
		group    sync.WaitGroup
		mu       sync.Mutex
		let      = []uuid.UUID{known.AgentID}
		refused  []uuid.UUID
		failures []error
	)
	for i := range callers {
		group.Go(func() {
			for range each {
				several := []storage.Registration{registration(uuid.New(), 7), registration(known.AgentID, 7), registration(uuid.New(), 7)}
				answers, err := stores[i%len(stores)].Register(t.Context(), several)
				mu.Lock()
				if err != nil {
					failures = append(failures, err)
				}
				for n, answer := range answers {
					switch {
					case answer.Err != nil:
						refused = append(refused, several[n].AgentID)
						if n == 1 {
							failures = append(failures, answer.Err)
						}
					case n != 1:
						let = append(let, several[n].AgentID)
					}
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	require.Len(t, let, MaxHosts)
	require.Len(t, refused, 1+2*callers*each-MaxHosts)
	hosts, err := s.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, MaxHosts)

	// At the bound, every server knows those that are in, and their batches are stored.
	for _, one := range stores {
		for i, agent := range let {
			answers, err := one.Register(t.Context(), []storage.Registration{registration(refused[i], 7), registration(agent, 8)})
			require.NoError(t, err)
			require.ErrorIs(t, answers[0].Err, storage.ErrTooManyHosts)
			require.ErrorContains(t, answers[0].Err, "there are 20")
			require.ErrorContains(t, answers[0].Err, "max_hosts")
			require.Zero(t, answers[0].Host)
			require.NoError(t, answers[1].Err)
			require.Equal(t, agent, answers[1].Host.AgentID)
		}
	}
	require.Equal(t, []storage.Outcome{storage.Stored}, appendAll(t, s, batch(known.ID, 0, 1, 10)))
}

package timescale

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestIdentityIsOfOneDatabase(t *testing.T) {
	onBothEditions(t, func(t *testing.T, url string) {
		first := openAt(t, url)
		defer first.Close()
		name, err := first.Identity(t.Context())
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f-]{36}$`, name)
		again, err := first.Identity(t.Context())
		require.NoError(t, err)
		require.Equal(t, name, again)
	})
	first, second := openAt(t, storagetest.DatabaseURL(t)), openAt(t, storagetest.DatabaseURL(t))
	defer first.Close()
	defer second.Close()
	a, err := first.Identity(t.Context())
	require.NoError(t, err)
	b, err := second.Identity(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, a, b)
}

// candidate is a server that would lead.
type candidate struct {
	office storage.Office
	stop   func()
}

func campaign(t *testing.T, url string) *candidate {
	store := openAt(t, url)
	c := &candidate{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Lead(ctx, &c.office)
	}()
	c.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		store.Close()
	})
	t.Cleanup(c.stop)
	return c
}

// TestOneServerLeads: one, and another when its session ends; never two at once.
func TestOneServerLeads(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	candidates := []*candidate{campaign(t, url), campaign(t, url), campaign(t, url)}
	leads := func() (all []int) {
		for i, c := range candidates {
			if c.office.Held() {
				all = append(all, i)
			}
		}
		return all
	}
	// become waits for one that leads and is not a certain one.
	become := func(not int) int {
		t.Helper()
		var now []int
		require.Eventually(t, func() bool {
			now = leads()
			require.LessOrEqual(t, len(now), 1)
			return len(now) == 1 && now[0] != not
		}, 30*time.Second, 2*time.Millisecond)
		return now[0]
	}
	first := become(-1)
	candidates[first].stop()
	require.NotContains(t, leads(), first)
	become(first)

	// The database ends the session. Whoever is quicker leads next, it may be the same.
	store := openAt(t, url)
	defer store.Close()
	var ended bool
	require.NoError(t, store.reads.QueryRow(t.Context(), `
		SELECT bool_and(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, locks, lockOffice).Scan(&ended))
	require.True(t, ended)
	require.Eventually(t, func() bool { return len(leads()) == 0 }, 30*time.Second, 2*time.Millisecond, "it notices")
	third := become(-1)
	require.Contains(t, []int{0, 1, 2}, third)
	require.NotEqual(t, first, third)
}

// TestOfficeRunsOut: a server that was frozen does not lead when it wakes.
func TestOfficeRunsOut(t *testing.T) {
	var office storage.Office
	require.False(t, office.Held())
	office.Hold(time.Now().Add(time.Hour))
	require.True(t, office.Held())
	office.Hold(time.Now().Add(-time.Nanosecond))
	require.False(t, office.Held())
	office.Hold(time.Time{})
	require.False(t, office.Held())
}

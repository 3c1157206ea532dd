package ingest

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// work is an errand of a test.
type work func()

func (w work) run() { w() }

// TestHelpersOfABurstLeave: those whom only a burst needed end, however often one of them is needed after it.
func TestHelpersOfABurstLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHelpers()
		idle := func() int {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.idle)
		}
		const burst = 50
		release := make(chan struct{})
		for range burst {
			h.run(work(func() { <-release }))
		}
		require.Zero(t, idle(), "all are busy")
		close(release)
		require.Equal(t, burst, idle())
		ran := 0
		for range 5 * burst { // each is needed twice within its time, if they take turns
			require.NoError(t, h.call(func() error { ran++; return nil }))
			time.Sleep(idleHelper / (2 * burst))
		}
		require.Equal(t, 5*burst, ran)
		require.Equal(t, 1, idle())
		time.Sleep(2 * idleHelper)
		require.Zero(t, idle())
		h.wait()
	})
}

// TestHelpersRunEveryErrandOnce has errands come while helpers leave.
func TestHelpersRunEveryErrandOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHelpers()
		var mu sync.Mutex
		ran := map[int]int{}
		const errands = 2000
		var senders sync.WaitGroup
		for i := range errands {
			senders.Go(func() {
				time.Sleep(time.Duration(i%7) * idleHelper) // at the moment at which those of before leave
				h.run(work(func() {
					mu.Lock()
					defer mu.Unlock()
					ran[i]++
				}))
			})
		}
		senders.Wait()
		synctest.Wait()
		require.Len(t, ran, errands)
		for i, times := range ran {
			require.Equal(t, 1, times, i)
		}
		h.wait()
	})
}

package ingest

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// take is what a consumer does: look, then free.
func (r *ring[T]) take(limit int) []T {
	var values []T
	for len(values) < limit {
		value, ok := r.at(len(values))
		if !ok {
			break
		}
		values = append(values, value)
	}
	r.free(len(values))
	return values
}

func TestRingRoundsItsCapacityUp(t *testing.T) {
	for capacity, want := range map[int]int{0: 2, 1: 2, 2: 2, 3: 4, 4: 4, 5: 8, 4096: 4096, 4097: 8192} {
		require.Len(t, newRing[int](capacity).slots, want, "capacity %d", capacity)
	}
}

func TestRingKeepsSlotsUntilTheyAreFreed(t *testing.T) {
	r := newRing[int](4)
	for i := range 4 {
		require.True(t, r.push(i))
	}
	value, ok := r.at(3)
	require.True(t, ok)
	require.Equal(t, 3, value)
	require.False(t, r.push(4), "looking frees nothing")
	r.free(1)
	require.True(t, r.push(4))
	require.Equal(t, []int{1, 2, 3, 4}, r.take(10))
}

// TestRingIsAQueue holds the ring against a slice under random pushes, looks and frees.
func TestRingIsAQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, capacity := range []int{2, 4, 64} {
		r := newRing[int](capacity)
		var model []int
		for step := range 20_000 {
			if random.IntN(2) == 0 {
				pushed := r.push(step)
				require.Equal(t, len(model) < capacity, pushed)
				if pushed {
					model = append(model, step)
				}
			} else {
				count := random.IntN(capacity + 1)
				values := r.take(count)
				count = min(count, len(model))
				require.Equal(t, model[:count:count], append([]int{}, values...))
				model = model[count:]
			}
			require.Equal(t, len(model), r.depth())
		}
	}
}

// TestRingLosesAndDoublesNothing has many producers and one consumer fight over a small ring.
func TestRingLosesAndDoublesNothing(t *testing.T) {
	const producers, each = 8, 5_000
	r := newRing[[2]int](16)
	var group sync.WaitGroup
	for producer := range producers {
		group.Go(func() {
			for i := range each {
				for !r.push([2]int{producer, i}) {
					runtime.Gosched()
				}
			}
		})
	}
	var next [producers]int
	for taken := 0; taken < producers*each; {
		values := r.take(7)
		for _, value := range values {
			require.Equal(t, next[value[0]], value[1], "values of producer %d in order", value[0])
			next[value[0]]++
		}
		taken += len(values)
		if len(values) == 0 {
			runtime.Gosched()
		}
	}
	group.Wait()
	require.Zero(t, r.depth())
}

// TestRingWakesItsConsumer has the consumer sleep between values, with several counts awaited at once: a lost wake-up hangs.
func TestRingWakesItsConsumer(t *testing.T) {
	const producers, each = 4, 2_000
	r := newRing[int](64)
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			for i := range each {
				for !r.push(i) {
					runtime.Gosched()
				}
			}
		})
	}
	for taken := 0; taken < producers*each; {
		want := min(1+taken%5, producers*each-taken)
		for !r.await(want) {
			<-r.ready
			if _, there := r.at(want - 1); there {
				break
			}
		}
		taken += len(r.take(want))
	}
	group.Wait()
	require.Zero(t, r.depth())
}

func TestRingHandsOverWithoutAllocating(t *testing.T) {
	r := newRing[*entry](64)
	e := &entry{rows: 1}
	allocations := testing.AllocsPerRun(1000, func() {
		r.push(e)
		if _, ok := r.at(0); ok {
			r.free(1)
		}
	})
	require.Zero(t, allocations)
}

// BenchmarkHandOver measures one hand-over with two producers against the plain contenders of the same size.
func BenchmarkHandOver(b *testing.B) {
	const size, producers = 1024, 2
	e := &entry{}
	produce := func(b *testing.B, push func(*entry) bool) *sync.WaitGroup {
		var group sync.WaitGroup
		for producer := range producers {
			group.Go(func() {
				for i := producer; i < b.N; i += producers {
					for !push(e) {
						runtime.Gosched()
					}
				}
			})
		}
		return &group
	}
	// As the server uses it: producers wait at the gate, and the consumer sleeps until a quarter is there.
	b.Run("ring", func(b *testing.B) {
		b.ReportAllocs()
		s := newShard(size)
		group := produce(b, func(e *entry) bool { return s.put(b.Context(), e) == nil })
		for taken := 0; taken < b.N; {
			if want := min(size/4, b.N-taken); !s.ring.await(want) {
				<-s.ring.ready
			}
			count := 0
			for count < size {
				if _, ok := s.ring.at(count); !ok {
					break
				}
				count++
			}
			s.free(count)
			taken += count
		}
		group.Wait()
	})
	b.Run("channel", func(b *testing.B) {
		b.ReportAllocs()
		queue := make(chan *entry, size)
		group := produce(b, func(e *entry) bool { queue <- e; return true })
		for range b.N {
			<-queue
		}
		group.Wait()
	})
	b.Run("mutex", func(b *testing.B) {
		b.ReportAllocs()
		var mu sync.Mutex
		queue, batch := make([]*entry, 0, size), make([]*entry, 0, size)
		group := produce(b, func(e *entry) bool {
			mu.Lock()
			defer mu.Unlock()
			if len(queue) == size {
				return false
			}
			queue = append(queue, e)
			return true
		})
		for taken := 0; taken < b.N; {
			mu.Lock()
			batch, queue = queue, batch[:0]
			mu.Unlock()
			if taken += len(batch); len(batch) == 0 {
				runtime.Gosched()
			}
		}
		group.Wait()
	})
}

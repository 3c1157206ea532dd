package ingest

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// cacheLine is the distance at which two cores' writes do not disturb each other on current amd64 and arm64 machines:
// two lines of 64 bytes, as the prefetcher of amd64 takes them in pairs.
const cacheLine = 128

// ring is a bounded queue for many producers and one consumer without locks. The consumer looks at the oldest values, and
// frees them, many at once, only when it is done with them.
//
// It is the array queue by Dmitry Vyukov (https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue)
// with one change that a single consumer allows: the consumer never writes a slot. A slot's turn says which position of
// the stream its value has, plus one; as positions only grow, it need not be set back. What is free follows from head. So
// a batch is freed by one store, and producers and consumer write no line in common.
type ring[T any] struct {
	slots []slot[T]
	mask  uint64
	// ready wakes the consumer. It holds one token at most.
	ready chan struct{}
	_     [cacheLine - 40]byte
	// tail is the next position to claim. All producers write it.
	tail atomic.Uint64
	_    [cacheLine - 8]byte
	// head is the oldest position not freed. The consumer alone writes it.
	head atomic.Uint64
	// awaited is how far the values must go for the consumer to be woken, never while it is awake. The consumer sets it, and
	// the producer that wakes it.
	awaited atomic.Uint64
	_       [cacheLine - 16]byte
}

type slot[T any] struct {
	turn  atomic.Uint64
	value T
}

// never is a position that is not reached.
const never = math.MaxUint64

// newRing makes a ring for at least capacity values; the capacity is rounded up to a power of two.
func newRing[T any](capacity int) *ring[T] {
	size := uint64(1) << bits.Len64(uint64(max(capacity, 2)-1))
	r := &ring[T]{slots: make([]slot[T], size), mask: size - 1, ready: make(chan struct{}, 1)}
	r.awaited.Store(never)
	return r
}

// push hands a value over. It returns false if the ring is full. Any goroutine may call it.
func (r *ring[T]) push(value T) bool {
	for {
		position := r.tail.Load()
		if position-r.head.Load() > r.mask {
			// Full, or tail was read so long ago that head has passed it.
			if position == r.tail.Load() {
				return false
			}
			continue
		}
		if !r.tail.CompareAndSwap(position, position+1) {
			continue
		}
		slot := &r.slots[position&r.mask]
		slot.value = value
		slot.turn.Store(position + 1)
		if awaited := r.awaited.Load(); position+1 >= awaited && r.awaited.CompareAndSwap(awaited, never) {
			select {
			case r.ready <- struct{}{}:
			default:
			}
		}
		return true
	}
}

// at returns the i-th oldest value without freeing its slot, and whether it is there. Only the consumer may call it.
func (r *ring[T]) at(i int) (value T, ok bool) {
	position := r.head.Load() + uint64(i)
	slot := &r.slots[position&r.mask]
	if slot.turn.Load() != position+1 {
		return value, false
	}
	return slot.value, true
}

// await has the next token of ready wait until there are n values, and reports whether there are already; then there may be
// no token. A token may come early, and one of an earlier call late. Only the consumer may call it.
func (r *ring[T]) await(n int) bool {
	r.awaited.Store(r.head.Load() + uint64(n))
	// A producer stores its value and then looks at awaited; here it is the other way round, so one of the two sees the other.
	if _, there := r.at(n - 1); !there {
		return false
	}
	r.awaited.Store(never)
	return true
}

// free gives the slots of the n oldest values back. Only the consumer may call it, after it has seen them by at. The values
// stay in the slots until others take their place.
func (r *ring[T]) free(n int) { r.head.Store(r.head.Load() + uint64(n)) }

// depth returns how many slots are taken. It is a snapshot, and right once no one pushes or frees.
func (r *ring[T]) depth() int {
	head := r.head.Load()
	return int(min(r.tail.Load()-head, uint64(len(r.slots))))
}

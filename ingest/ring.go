package ingest

import (
	"math/bits"
	"sync/atomic"
)

// cacheLine is the distance at which two cores' writes do not disturb each other on current amd64 and arm64 machines:
// two lines of 64 bytes, as the prefetcher of amd64 takes them in pairs.
const cacheLine = 128

// ring is a bounded queue for many producers and one consumer without locks. It is the array queue by Dmitry Vyukov
// (https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue), with the consumer's side made for
// one goroutine: it looks at the oldest values, and frees their slots only when it is done with them.
//
// A slot's turn says whose it is. At position p of the stream the slot p mod capacity is the producer's when its turn
// is p, and the consumer's when its turn is p+1; freed, it gets the turn p+capacity of its next round.
type ring[T any] struct {
	slots []slot[T]
	mask  uint64
	_     [cacheLine - 32]byte
	// tail is the next position to claim. All producers write it.
	tail atomic.Uint64
	_    [cacheLine - 8]byte
	// head is the oldest position not freed. The consumer alone writes it; others read it for the depth.
	head atomic.Uint64
	_    [cacheLine - 8]byte
}

type slot[T any] struct {
	turn  atomic.Uint64
	value T
}

// newRing makes a ring for at least capacity values; the capacity is rounded up to a power of two.
func newRing[T any](capacity int) *ring[T] {
	size := uint64(1) << bits.Len64(uint64(max(capacity, 2)-1))
	r := &ring[T]{slots: make([]slot[T], size), mask: size - 1}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// push hands a value over. It returns false if the ring is full. Any goroutine may call it.
func (r *ring[T]) push(value T) bool {
	for {
		position := r.tail.Load()
		slot := &r.slots[position&r.mask]
		switch turn := slot.turn.Load(); {
		case turn == position:
			if r.tail.CompareAndSwap(position, position+1) {
				slot.value = value
				slot.turn.Store(position + 1)
				return true
			}
		case turn < position: // still held by the consumer from the round before
			return false
		}
		// Another producer was faster: look again.
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

// free gives the slots of the n oldest values back. Only the consumer may call it, after it has seen them by at.
func (r *ring[T]) free(n int) {
	var zero T
	head := r.head.Load()
	for i := range uint64(n) {
		slot := &r.slots[(head+i)&r.mask]
		slot.value = zero
		slot.turn.Store(head + i + uint64(len(r.slots)))
	}
	r.head.Store(head + uint64(n))
}

// depth returns how many slots are taken. It is a snapshot, and right once no one pushes or frees.
func (r *ring[T]) depth() int {
	head := r.head.Load()
	return int(min(r.tail.Load()-head, uint64(len(r.slots))))
}

package live

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/grpc/mem"
)

// message is a frame that many viewers write and that is used again when the last one has: a topic makes up to a hundred a
// second. Who takes one holds it, and releases it once.
type message struct {
	// buf has room for the longest header before the payload; the frame begins at start.
	buf   []byte
	start int
	// encoded is the message for gRPC, instead of a frame. Unlike buf it is not used again, for gRPC keeps it until it is written.
	encoded mem.BufferSlice
	holds   atomic.Int32
	// received is when the server took the oldest of the samples that the message tells of, zero if it tells of none.
	received time.Time
}

// maxKept bounds the buffers that are used again, so that one large message does not stay for ever.
const maxKept = 1 << 20

var messages = sync.Pool{New: func() any { return new(message) }}

// newMessage returns an empty one that the caller holds. The payload is appended to buf.
func newMessage() *message {
	m := messages.Get().(*message)
	m.holds.Store(1)
	m.received, m.encoded = time.Time{}, nil
	m.buf = append(m.buf[:0], make([]byte, ws.MaxHeaderSize)...)
	return m
}

func (m *message) hold() { m.holds.Add(1) }

func (m *message) release() {
	if m.holds.Add(-1) == 0 && cap(m.buf) <= maxKept {
		messages.Put(m)
	}
}

// seal writes the header of a whole frame in front of the payload. After it the message is not changed.
func (m *message) seal(op ws.OpCode) {
	length := len(m.buf) - ws.MaxHeaderSize
	const final = 0x80
	switch {
	case length < 126:
		m.start = ws.MaxHeaderSize - 2
		m.buf[m.start+1] = byte(length)
	case length < 1<<16:
		m.start = ws.MaxHeaderSize - 4
		m.buf[m.start+1] = 126
		binary.BigEndian.PutUint16(m.buf[m.start+2:], uint16(length))
	default:
		m.start = ws.MaxHeaderSize - 10
		m.buf[m.start+1] = 127
		binary.BigEndian.PutUint64(m.buf[m.start+2:], uint64(length))
	}
	m.buf[m.start] = final | byte(op)
}

// sealProto makes the message of a payload for gRPC. After it the message is not changed.
func (m *message) sealProto(kind hostsKind, seq uint32) {
	m.encoded = mem.BufferSlice{mem.SliceBuffer(compileProto(kind, seq, m.buf[ws.MaxHeaderSize:]))}
}

// frame is the whole frame.
func (m *message) frame() frame { return m.buf[m.start:] }

const (
	// Deltas that a topic keeps for viewers that have not written them: a second and more of them, so that a hiccup of the
	// network, or the time that a large snapshot takes, does not cost another snapshot …
	maxPending = 128
	// … and no more than this in bytes, but one always.
	maxPendingBytes = 4 << 20
	// maxBatch is how many of them a viewer writes at once.
	maxBatch = 16
)

// backlog is the newest deltas of a topic. Each viewer has a place in it, so that it costs no memory a viewer. The hub adds,
// the viewers' writers take.
type backlog struct {
	mu sync.Mutex
	// kept holds those at positions next-len(kept) to next-1, oldest first.
	kept  []*message
	next  uint64
	bytes int
}

// add takes over the caller's hold.
func (b *backlog) add(m *message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, m)
	b.next++
	b.bytes += len(m.buf)
	drop := 0
	for len(b.kept)-drop > maxPending || b.bytes > maxPendingBytes && len(b.kept)-drop > 1 {
		b.bytes -= len(b.kept[drop].buf)
		b.kept[drop].release()
		drop++
	}
	if drop > 0 {
		left := copy(b.kept, b.kept[drop:])
		clear(b.kept[left:])
		b.kept = b.kept[:left]
	}
}

// collect appends up to maxBatch messages from a position on, held for the caller, and tells whether the first of them was there
// still, and whether the newest is among them.
func (b *backlog) collect(from uint64, batch []*message) (_ []*message, there, newest bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	missing := b.next - from
	if missing > uint64(len(b.kept)) {
		return batch, false, false
	}
	for _, m := range b.kept[len(b.kept)-int(missing):][:min(int(missing), maxBatch)] {
		m.hold()
		batch = append(batch, m)
	}
	return batch, true, missing > 0 && missing <= maxBatch
}

// has tells whether all from a position on are there still.
func (b *backlog) has(from uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next-from <= uint64(len(b.kept))
}

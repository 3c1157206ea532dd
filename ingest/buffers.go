package ingest

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// buffers is where rows and messages are kept. Its sizes are powers of two, so that what is kept is at most twice what was
// asked for: gRPC's own pool gives a mebibyte for anything over 32 KiB. What is in a buffer is not cleared, which would take
// as long as filling it.
var buffers bufferPool

// Buffers is the pool that messages are read into, for the gRPC server.
func Buffers() mem.BufferPool { return &buffers }

// bufferPool has a pool for each size from 512 bytes, a row or two, to 4 MiB, the largest message.
type bufferPool struct {
	classes [14]sync.Pool
}

var _ mem.BufferPool = (*bufferPool)(nil)

// smallestBuffer is the exponent of the first class.
const smallestBuffer = 9

// classOf is the smallest class that has room for so many bytes.
func classOf(length int) int {
	return max(bits.Len(uint(max(length, 1)-1)), smallestBuffer) - smallestBuffer
}

// room is how many bytes a buffer of Get has room for.
func (p *bufferPool) room(length int) int {
	if class := classOf(length); class < len(p.classes) {
		return 1 << (class + smallestBuffer)
	}
	return length
}

// Get implements mem.BufferPool.
func (p *bufferPool) Get(length int) *[]byte {
	class := classOf(length)
	if class >= len(p.classes) {
		buffer := make([]byte, length)
		return &buffer
	}
	if buffer, ok := p.classes[class].Get().(*[]byte); ok {
		*buffer = (*buffer)[:length]
		return buffer
	}
	buffer := make([]byte, length, 1<<(class+smallestBuffer))
	return &buffer
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(buffer *[]byte) {
	class := bits.Len(uint(cap(*buffer))-1) - smallestBuffer
	if class >= 0 && class < len(p.classes) && cap(*buffer) == 1<<(class+smallestBuffer) {
		p.classes[class].Put(buffer)
	}
}

package ingest

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"

	"github.com/gohub-io/gohub/storage"
)

// entry is a batch on its way to storage, and the stream that waits for its acknowledgement. Between newEntry and release it
// belongs to one goroutine at a time: the stream's, then the flusher.
type entry struct {
	batch storage.Batch
	from  *session
	// rows and samples are how many the batch has, quarantined samples left out.
	rows, samples int
	// bytes is what the entry takes of the budgets.
	bytes int64
	// wire is the Batch message as it came, a part of source. Texts in batch are parts of it too.
	wire   string
	source mem.Buffer
	// buffer holds batch.Rows.
	buffer *[]byte
}

var entries = sync.Pool{New: func() any { return &entry{} }}

// rowBuffers holds buffers of 512 bytes, a row or two, of 1 KiB and so on, up to 4 MiB. What is in them is not cleared: gRPC's
// pools do, and take as long for it as for filling them.
var rowBuffers [14]sync.Pool

// smallestBuffer is the exponent of the first of rowBuffers.
const smallestBuffer = 9

func getBuffer(size int) *[]byte {
	class := max(bits.Len(uint(max(size, 1)-1)), smallestBuffer) - smallestBuffer
	if class >= len(rowBuffers) {
		buffer := make([]byte, size)
		return &buffer
	}
	if buffer, ok := rowBuffers[class].Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, 1<<(class+smallestBuffer))
	return &buffer
}

func putBuffer(buffer *[]byte) {
	if class := bits.Len(uint(cap(*buffer))-1) - smallestBuffer; class < len(rowBuffers) {
		rowBuffers[class].Put(buffer)
	}
}

// newEntry makes an entry for a message, of which it keeps a reference.
func newEntry(from *session, wire string, source mem.Buffer) *entry {
	e := entries.Get().(*entry)
	source.Ref()
	e.from, e.wire, e.source = from, wire, source
	return e
}

// fill gives the entry its rows.
func (e *entry) fill(rows *storage.RowEncoder) {
	e.buffer = getBuffer(rows.Size())
	e.batch.Rows = rows.Rows(*e.buffer)
	e.rows = e.batch.Rows.Count()
	e.bytes = int64(cap(*e.buffer) + len(e.wire))
}

// release ends the entry's use.
func (e *entry) release() {
	e.source.Free()
	if e.buffer != nil {
		putBuffer(e.buffer)
	}
	*e = entry{}
	entries.Put(e)
}

func countRows(entries []*entry) int {
	rows := 0
	for _, e := range entries {
		rows += e.rows
	}
	return rows
}

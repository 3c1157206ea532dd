package ingest

import (
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

// newEntry makes an entry for a message, of which it keeps a reference.
func newEntry(from *session, wire string, source mem.Buffer) *entry {
	e := entries.Get().(*entry)
	source.Ref()
	e.from, e.wire, e.source = from, wire, source
	return e
}

// begin gives the encoder a buffer of the entry's, with room for about so many bytes.
func (e *entry) begin(rows *storage.RowEncoder, bytes int) {
	e.buffer = buffers.Get(bytes)
	rows.Begin(*e.buffer)
}

// fill gives the entry the rows that were encoded, and returns how many bytes it holds.
func (e *entry) fill(rows *storage.RowEncoder) int64 {
	e.batch.Rows, *e.buffer = rows.Rows() // the pool leaves alone what replaced the buffer
	e.rows = e.batch.Rows.Count()
	return int64(cap(*e.buffer) + len(e.wire))
}

// release ends the entry's use.
func (e *entry) release() {
	e.source.Free()
	if e.buffer != nil {
		buffers.Put(e.buffer)
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

package ingest

import (
	"sync"
	"unsafe"

	"google.golang.org/grpc/mem"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
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
	return int64(cap(*e.buffer)+len(e.wire)) + e.asides()
}

// What a rejected sample and a gap take beside the message that they came in: what they are here, and the row that a driver
// makes of them. Of a rejected sample its bytes and its reason come on top.
const (
	tupleBytes    = 80
	rejectedBytes = int64(unsafe.Sizeof(storage.Rejected{})) + tupleBytes
	gapBytes      = int64(unsafe.Sizeof(gohubv1.Gap{})+unsafe.Sizeof(&gohubv1.Gap{})) + tupleBytes
	// usualReason is about how long a reason is.
	usualReason = 100
)

// mostAsides is about what the samples and gaps of a message take if all samples are rejected.
func mostAsides(wire, samples, gaps int) int64 {
	if samples+gaps == 0 {
		return 0
	}
	return int64(samples)*(rejectedBytes+usualReason) + int64(gaps)*gapBytes + int64(wire)
}

// asides is what the rejected samples and the gaps take.
func (e *entry) asides() int64 {
	bytes := int64(len(e.batch.Gaps)) * gapBytes
	for i := range e.batch.Rejected {
		one := &e.batch.Rejected[i]
		bytes += rejectedBytes + int64(len(one.Wire)+len(one.Reason))
	}
	return bytes
}

// inserts is how many rows the entry puts into the database.
func (e *entry) inserts() int { return e.rows + len(e.batch.Rejected) + len(e.batch.Gaps) }

// release ends the entry's use.
func (e *entry) release() {
	e.source.Free()
	if e.buffer != nil {
		buffers.Put(e.buffer)
	}
	*e = entry{}
	entries.Put(e)
}

func countInserts(entries []*entry) int {
	rows := 0
	for _, e := range entries {
		rows += e.inserts()
	}
	return rows
}

package ingest

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/mem"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// workspace is what reading a message needs. Streams share a few: most of them wait most of the time.
type workspace struct {
	parts  parts
	sample catalogue.Sample
	rows   storage.RowEncoder
	// backlog tells that batches come from one, and so waited in a spool.
	backlog bool
}

var workspaces = sync.Pool{New: func() any { return &workspace{} }}

func (s *Server) borrow() *workspace { return workspaces.Get().(*workspace) }

func (s *Server) giveBack(work *workspace) {
	// They point into a message that is about to be freed.
	work.parts.forget()
	work.sample.Forget()
	work.rows.Begin(nil)
	work.backlog = false
	workspaces.Put(work)
}

const (
	// maxBacklogBytes is the most that a Backlog may hold, as the contract says, and maxBacklogWindow its window.
	maxBacklogBytes  = 4 << 20
	maxBacklogWindow = 1 << 20
	// sizeless is what a frame that does not tell its size may hold: an encoder leaves a size out that is below it.
	sizeless = 256
	// maxBacklogs is how many streams may have one decompressed that is not in the ring yet.
	maxBacklogs = 8
)

func newDecompressor() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxBacklogBytes), zstd.WithDecoderMaxWindow(maxBacklogWindow), zstd.WithDecodeAllCapLimit(true))
}

// decompress returns the content of a Backlog. It looks at the size that the frame tells before it takes memory for it, and
// never takes more.
func (s *Server) decompress(compressed string) (mem.Buffer, error) {
	frame := unsafe.Slice(unsafe.StringData(compressed), len(compressed))
	var header zstd.Header
	switch err := header.Decode(frame); {
	case err != nil:
		return nil, fmt.Errorf("read a backlog's header: %w", err)
	case header.Skippable:
		return nil, errors.New("a backlog must be one zstd frame")
	case !header.HasFCS:
		header.FrameContentSize = sizeless
	case header.FrameContentSize > maxBacklogBytes:
		return nil, fmt.Errorf("a backlog of %d bytes, the limit is %d", header.FrameContentSize, maxBacklogBytes)
	}
	buffer := buffers.Get(int(header.FrameContentSize))
	content, err := s.decompressor.DecodeAll(frame, (*buffer)[:0:header.FrameContentSize])
	if err != nil {
		buffers.Put(buffer)
		return nil, fmt.Errorf("decompress a backlog: %w", err)
	}
	*buffer = (*buffer)[:len(content)] // with all its capacity, by which the pool knows it
	return mem.NewBuffer(buffer, &buffers), nil
}

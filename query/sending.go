package query

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// room bounds the bytes of the answers that are on their way. Who asks and does not read leaves its answer in memory, long after the
// query has run: gRPC takes a message whole, however little the other side lets it send.
type room struct {
	free  *semaphore.Weighted
	bytes int64
	wait  time.Duration
}

func newRoom(bytes int64, wait time.Duration) *room {
	return &room{free: semaphore.NewWeighted(bytes), bytes: bytes, wait: wait}
}

// share is what an answer has of the room.
type share struct {
	room *room

	mu    sync.Mutex // guards all below
	bytes int64
}

type shareKey struct{}

// withShare returns a context whose answer keeps its part of the room until the share is released. Without one the room is not looked
// at: the answer is not sent anywhere.
func (s *Service) withShare(ctx context.Context) (context.Context, *share) {
	of := &share{room: s.room}
	return context.WithValue(ctx, shareKey{}, of), of
}

// shareOf is the share that withShare gave to the context, if it did.
func shareOf(ctx context.Context) (of *share, sent bool) {
	of, sent = ctx.Value(shareKey{}).(*share)
	return of, sent
}

// reserve waits for room for the answer of a call, and returns errBusy (wrapped) if there is none in time.
func reserve(ctx context.Context, bytes int) error {
	of, sent := shareOf(ctx)
	if !sent {
		return nil
	}
	need := min(int64(bytes), of.room.bytes) // a single one always has room
	if !of.room.free.TryAcquire(need) {
		waiting, cancel := context.WithTimeout(ctx, of.room.wait)
		defer cancel()
		if err := of.room.free.Acquire(waiting, need); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: answers of %d MB wait for those who asked to read them, the limit, and none was read within %s", errBusy, of.room.bytes>>20, of.room.wait)
		}
	}
	of.mu.Lock()
	of.bytes += need
	of.mu.Unlock()
	return nil
}

// shrink gives back what an answer turned out not to need.
func (o *share) shrink(bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if spare := o.bytes - int64(bytes); spare > 0 {
		o.bytes -= spare
		o.room.free.Release(spare)
	}
}

// split makes a share of its own of a part.
func (o *share) split(bytes int) *share {
	o.mu.Lock()
	defer o.mu.Unlock()
	part := min(int64(bytes), o.bytes)
	o.bytes -= part
	return &share{room: o.room, bytes: part}
}

// release gives all back. It may be called again.
func (o *share) release() { o.shrink(0) }

func (o *share) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes == 0
}

// smallAnswer is what an answer may be to have no part of the room: the streams of a connection bound them.
const smallAnswer = 4 << 10

// parcel is an answer over gRPC that has a share of the room until gRPC has written it, or its connection is cut.
type parcel struct {
	message any
	share   *share
	cut     func()
	timeout time.Duration
	timer   *time.Timer
	buffer  mem.Buffer
}

// UnaryInterceptor returns an interceptor that bounds the answers of the service that are on their way, and how long each may take to be
// read: past that its connection is cut, for a stream whose answer is handed to gRPC can not be. It needs the server to have Codec, and
// credentials whose AuthInfo has a method Cut to close the connection.
func (s *Service) UnaryInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if info.Server != any(s) {
			return handler(ctx, request)
		}
		sharing, of := s.withShare(ctx)
		response, err := handler(sharing, request)
		if message, can := response.(proto.Message); err == nil && can && of.empty() {
			if size := proto.Size(message); size > smallAnswer {
				if busy := reserve(sharing, size); busy != nil {
					err = s.statusOf(busy)
				}
			}
		}
		if err != nil || of.empty() {
			of.release()
			return response, err
		}
		return &parcel{message: response, share: of, cut: cutter(ctx), timeout: s.options.Limits.SendTimeout}, nil
	}
}

// cutter returns what closes the connection of a call.
func cutter(ctx context.Context) func() {
	if from, known := peer.FromContext(ctx); known {
		if connection, can := from.AuthInfo.(interface{ Cut() }); can {
			return connection.Cut
		}
	}
	return func() {}
}

// encode returns the message as a buffer whose end is that of the parcel.
func (p *parcel) encode(c codec) (mem.BufferSlice, error) {
	encoded, err := c.Marshal(p.message)
	p.message = nil
	if err != nil {
		p.share.release()
		return nil, err
	}
	p.buffer = encoded.MaterializeToBuffer(mem.DefaultBufferPool()) // no copy if it is a single one
	encoded.Free()
	of, cut := p.share, p.cut
	if mem.IsBelowBufferPoolingThreshold(p.buffer.Len()) { // gRPC does not tell when it is done with one
		of.release()
		return mem.BufferSlice{p.buffer}, nil
	}
	p.timer = time.AfterFunc(p.timeout, func() {
		cut()
		of.release()
	})
	// A connection that ends forgets what it has not sent, and tells no one. So does one that goes on with what it has not sent of a
	// stream that is gone, and that must not be cut for it.
	runtime.AddCleanup(p, forgotten.end, forgotten{share: of, timer: p.timer})
	bytes := p.buffer.ReadOnlyData()
	return mem.BufferSlice{mem.NewBuffer(&bytes, p)}, nil
}

// forgotten is what is left of a parcel that nobody has any more.
type forgotten struct {
	share *share
	timer *time.Timer
}

func (f forgotten) end() {
	f.timer.Stop()
	f.share.release()
}

// Get implements mem.BufferPool, of which only Put is called.
func (*parcel) Get(length int) *[]byte { return new(make([]byte, length)) }

// Put implements mem.BufferPool: the message is written.
func (p *parcel) Put(*[]byte) {
	p.timer.Stop()
	p.buffer.Free()
	p.share.release()
}

// bytesOf is about what the series of an answer take, which is also what they take encoded.
func bytesOf(series []*gohubv1.Series) int {
	const head = 256 // names and labels
	bytes := 0
	for _, one := range series {
		bytes += head + 8*4*len(one.GetTimes())
	}
	return bytes
}

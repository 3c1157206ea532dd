package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// maxRequestBytes bounds a request: the names of all metrics take 1 KiB.
const maxRequestBytes = 4 << 10

// Codec returns a codec that besides sends what Watch has encoded already, and refuses requests over a bound before it decodes
// them. A gRPC server with a Hub needs it; all its services may use it.
func Codec(inner encoding.CodecV2) encoding.CodecV2 { return codec{inner} }

type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if encoded, ours := message.(*mem.BufferSlice); ours {
		return *encoded, nil
	}
	return c.CodecV2.Marshal(message)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, message any) error {
	if _, request := message.(*gohubv1.LiveRequest); request && data.Len() > maxRequestBytes {
		return fmt.Errorf("a request of %d bytes, the limit is %d", data.Len(), maxRequestBytes)
	}
	return c.CodecV2.Unmarshal(data, message)
}

// watch is a viewer's gRPC stream. gRPC takes up to 64 KiB and a message of its own accord, then it has the writer wait for the
// viewer: so the same bounds hold as for a socket. Two goroutines serve it: gRPC's, which waits for the end, and the writer.
type watch struct {
	viewer *viewer
	stream grpc.ServerStream
	// due is when the message that is being written must be, in Unix nanoseconds; 0 while none is.
	due atomic.Int64
	// stuck tells that it was not.
	stuck atomic.Bool

	// All below is the writer's, and err others' after it has ended.

	// handed is the size of the message before, which may have to go before the next can.
	handed int
	single mem.BufferSlice
	err    error
}

// Watch implements the contract. Whoever bounds the stream's context by something that lets the caller in, as a session, ends it with
// a cause (context.WithCancelCause), which the caller is told with UNAUTHENTICATED.
func (h *Hub) Watch(request *gohubv1.LiveRequest, stream grpc.ServerStreamingServer[gohubv1.LiveMessage]) error {
	ctx := stream.Context()
	var remote net.Addr
	var at netip.Prefix
	if from, known := peer.FromContext(ctx); known && from.Addr != nil {
		remote, at = from.Addr, h.options.AddressOwner(from.Addr.String())
	}
	if err := h.reserve(at); err != nil {
		return noPlace(err)
	}
	defer h.release(at)
	w := &watch{viewer: newViewer(h, formProto), stream: stream}
	w.viewer.outlet = w
	if err := h.subscribe(w.viewer, request); err != nil {
		return refusal(err)
	}
	h.enter(w.viewer)
	// The caller learns that it was let in, though there may be no message for a while.
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		w.viewer.end(reasonWrite, nil)
		h.leave(w.viewer, remote)
		return err
	}
	// A writer that is stuck goes on only when this method has returned, for that ends the stream. So Run waits for it.
	h.running.Go(w.viewer.write)
	select {
	case <-w.viewer.ended:
	case <-ctx.Done():
		w.viewer.end(w.gone(), nil)
	}
	return w.status(h.leave(w.viewer, remote))
}

var errStopping = status.Error(codes.Unavailable, "the server stops; call again when it is back")

// refusal is the status of a subscription that failed.
func refusal(err error) error {
	code := codes.InvalidArgument
	switch {
	case errors.Is(err, errNoHost):
		code = codes.NotFound
	case errors.Is(err, errTooManyParts):
		code = codes.ResourceExhausted
	}
	return status.Error(code, err.Error())
}

// gone is why the stream's context has ended.
func (w *watch) gone() reason {
	if ctx := w.stream.Context(); !errors.Is(context.Cause(ctx), ctx.Err()) {
		return reasonSession
	}
	return reasonClient
}

// status is what the caller is told when its watch has ended.
func (w *watch) status(why reason) error {
	ctx := w.stream.Context()
	switch why {
	case reasonGoingAway:
		return errStopping
	case reasonSession:
		return status.Error(codes.Unauthenticated, context.Cause(ctx).Error())
	case reasonWrite:
		if w.stuck.Load() {
			return status.Errorf(codes.ResourceExhausted, "nothing was read for %v", w.viewer.hub.options.WriteTimeout)
		}
		<-w.viewer.written // it is the writer that has failed
		return w.err
	default:
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (w *watch) send(f frame) error {
	w.single = mem.BufferSlice{mem.SliceBuffer(f)}
	err := w.write(&w.single)
	w.single = nil
	return err
}

func (w *watch) sendBatch(batch []*message) error {
	for _, m := range batch {
		if err := w.write(&m.encoded); err != nil {
			return err
		}
	}
	return nil
}

// write hands a message to gRPC, and waits until it has room.
func (w *watch) write(encoded *mem.BufferSlice) error {
	options := &w.viewer.hub.options
	w.due.Store(options.Now().Add(options.WriteTimeout * time.Duration(1+w.handed/writePiece)).UnixNano())
	err := w.stream.SendMsg(encoded)
	w.due.Store(0)
	if err != nil {
		w.err = err
		if w.stream.Context().Err() != nil {
			w.viewer.end(w.gone(), nil)
		}
		return err
	}
	w.handed = encoded.Len()
	w.viewer.hub.metrics.bytes.Add(float64(w.handed))
	return nil
}

// finish has nothing to do: the status tells that nothing more comes.
func (w *watch) finish(frame) error { return nil }

// cut has nothing to do either: Watch returns when the viewer is ended, which cuts the stream.
func (w *watch) cut() {}

// look ends a watch that takes nothing. That the viewer's machine is there the kernel's keep-alives find out.
func (w *watch) look(now time.Time) {
	if due := w.due.Load(); due != 0 && now.UnixNano() >= due {
		w.stuck.Store(true)
		w.viewer.end(reasonWrite, nil)
	}
}

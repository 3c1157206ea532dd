package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// fakeServer is an ingest service that stores in memory, and misbehaves as a test wants.
type fakeServer struct {
	gohubv1.UnimplementedIngestServiceServer

	mu       sync.Mutex
	token    string
	stored   []uint64       // in the order of arrival
	received map[uint64]int // how often each batch came
	bundles  []bundleFrame
	previews []int64 // their times
	hellos   []*gohubv1.Hello
	holdAcks bool
	// goodbye is said after that many batches of a stream, which then waits for the agent's half-close.
	goodbye    *gohubv1.Goodbye
	goodbyeAt  int
	halfClosed int // streams that the agent half-closed after a goodbye
	afterwards int // batches that came after a goodbye
	// onBatch may end the stream with a status instead of storing the batch.
	onBatch func(seq uint64) error
	changed chan struct{} // capacity 1: something above changed
}

func newFakeServer() *fakeServer {
	return &fakeServer{received: make(map[uint64]int), changed: make(chan struct{}, 1)}
}

func (f *fakeServer) note() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fakeServer) Stream(stream gohubv1.IngestService_StreamServer) error {
	if f.token != "" {
		values := metadata.ValueFromIncomingContext(stream.Context(), "authorization")
		if !slices.Equal(values, []string{"Bearer " + f.token}) {
			f.mu.Lock()
			f.hellos = append(f.hellos, nil)
			f.mu.Unlock()
			f.note()
			return status.Error(codes.Unauthenticated, "bad credential")
		}
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	f.mu.Lock()
	f.hellos = append(f.hellos, hello)
	var committed uint64
	if len(f.stored) > 0 {
		committed = slices.Max(f.stored)
	}
	f.mu.Unlock()
	f.note()
	welcome := &gohubv1.Welcome{HostId: 7, CommittedSeq: committed, ServerVersion: "test"}
	if err := stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	for n := 1; ; n++ {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.mu.Lock()
		if goodbye := f.goodbye; goodbye != nil && n == f.goodbyeAt {
			f.goodbye = nil
			f.mu.Unlock()
			return f.part(stream, goodbye)
		}
		f.mu.Unlock()
		batches, err := f.open(request)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			if err := f.take(stream, batch); err != nil {
				return err
			}
		}
		f.note()
	}
}

// open returns the batches of a message, and notes what else it is.
func (f *fakeServer) open(request *gohubv1.StreamRequest) ([]*gohubv1.Batch, error) {
	batches, frame, err := openRequest(request)
	f.mu.Lock()
	defer f.mu.Unlock()
	if frame != nil {
		f.bundles = append(f.bundles, *frame)
	}
	return batches, err
}

// Preview implements the contract.
func (f *fakeServer) Preview(_ context.Context, request *gohubv1.PreviewRequest) (*gohubv1.PreviewResponse, error) {
	f.mu.Lock()
	f.previews = append(f.previews, request.GetSample().GetTimeUnixMillis())
	f.mu.Unlock()
	f.note()
	return &gohubv1.PreviewResponse{}, nil
}

// bundleFrame is what a server sees of a Backlog.
type bundleFrame struct {
	header  zstd.Header
	bytes   int // decompressed
	batches int
}

// openRequest decompresses a Backlog under the contract's limits; a Batch is returned as it is.
func openRequest(request *gohubv1.StreamRequest) ([]*gohubv1.Batch, *bundleFrame, error) {
	backlog := request.GetBacklog()
	switch {
	case request.GetBatch() != nil:
		return []*gohubv1.Batch{request.GetBatch()}, nil, nil
	case backlog == nil:
		return nil, nil, nil
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(4<<20), zstd.WithDecoderMaxWindow(1<<20))
	if err != nil {
		return nil, nil, err
	}
	defer decoder.Close()
	frame := &bundleFrame{}
	if err := frame.header.Decode(backlog.GetZstd()); err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	content, err := decoder.DecodeAll(backlog.GetZstd(), nil)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	batches := &gohubv1.Batches{}
	if err := proto.Unmarshal(content, batches); err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	frame.bytes, frame.batches = len(content), len(batches.GetBatches())
	return batches.GetBatches(), frame, nil
}

// take stores one batch, or does what the test wants.
func (f *fakeServer) take(stream gohubv1.IngestService_StreamServer, batch *gohubv1.Batch) error {
	f.mu.Lock()
	f.received[batch.GetSeq()]++
	onBatch, hold := f.onBatch, f.holdAcks
	f.mu.Unlock()
	f.note()
	if onBatch != nil {
		if err := onBatch(batch.GetSeq()); err != nil {
			return err
		}
	}
	if hold {
		return nil
	}
	f.mu.Lock()
	f.stored = append(f.stored, batch.GetSeq())
	f.mu.Unlock()
	ack := &gohubv1.Ack{Epoch: batch.GetEpoch(), Seq: batch.GetSeq()}
	return stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Ack{Ack: ack}})
}

// part says goodbye and waits for the half-close, as a server does.
func (f *fakeServer) part(stream gohubv1.IngestService_StreamServer, goodbye *gohubv1.Goodbye) error {
	if err := stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Goodbye{Goodbye: goodbye}}); err != nil {
		return err
	}
	for {
		_, err := stream.Recv()
		f.mu.Lock()
		if errors.Is(err, io.EOF) {
			f.halfClosed++
		} else if err == nil {
			f.afterwards++
		}
		f.mu.Unlock()
		if err != nil {
			return status.Error(codes.Code(goodbye.GetCode()), goodbye.GetMessage())
		}
	}
}

// until waits for a condition on the server's state.
func (f *fakeServer) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		met := condition()
		f.mu.Unlock()
		if met {
			return
		}
		select {
		case <-f.changed:
		case <-deadline:
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// serve listens on the address and returns the address and how to stop at once.
func serve(t *testing.T, f *fakeServer, address string) (string, func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gohubv1.RegisterIngestServiceServer(server, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // its error is that it was stopped
	}()
	stop := sync.OnceFunc(func() { server.Stop(); <-done })
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

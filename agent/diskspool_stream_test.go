package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// cursorServer is an ingest service that keeps one cursor, as modelServer does, behind a bufconn.
type cursorServer struct {
	gohubv1.UnimplementedIngestServiceServer
	t        *testing.T
	listener *bufconn.Listener

	mu     sync.Mutex
	model  modelServer
	hellos []uint64

	noChecksums bool // as an older server
}

func serveCursor(t *testing.T) *cursorServer {
	t.Helper()
	f := &cursorServer{t: t, listener: bufconn.Listen(64 << 10)}
	server := grpc.NewServer()
	gohubv1.RegisterIngestServiceServer(server, f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(f.listener) // its error is that it was stopped
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	return f
}

func (f *cursorServer) Stream(stream gohubv1.IngestService_StreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	f.mu.Lock()
	epoch := first.GetHello().GetEpoch()
	f.hellos = append(f.hellos, epoch)
	welcome := &gohubv1.Welcome{CommittedSeq: f.model.hello(epoch), CommittedChecksum: f.model.sum}
	if f.noChecksums {
		welcome.CommittedChecksum = 0
	}
	f.mu.Unlock()
	if err := stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.mu.Lock()
		batches, _, err := openRequest(request)
		if err != nil {
			f.t.Error(err)
		}
		for _, batch := range batches {
			f.model.store(f.t, batch)
		}
		ack := &gohubv1.Ack{Epoch: epoch, Seq: f.model.seq}
		f.mu.Unlock()
		if err := stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Ack{Ack: ack}}); err != nil {
			return err
		}
	}
}

// drainTo runs a client until the server has stored what the spool holds.
func (f *cursorServer) drainTo(s Spool) {
	f.t.Helper()
	stopping := make(chan struct{})
	close(stopping)
	_, log := newTestLog()
	c := newTestClient("passthrough:///spool", s, log)
	c.stopping = stopping
	c.dialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return f.listener.DialContext(ctx)
	})}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	c.run(ctx)
	if ctx.Err() != nil || s.Stats().Batches != 0 {
		f.t.Fatalf("not drained: %+v", s.Stats())
	}
}

func appendRange(t *testing.T, s *DiskSpool, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		mustAppend(t, s, i)
	}
}

// TestRestoredCopyIsStoredOnce goes back to an older copy of the spool, behind what the server has stored. The copy takes
// fewer, as many and more new samples than the server is ahead before it hears of that, and may be started again meanwhile.
func TestRestoredCopyIsStoredOnce(t *testing.T) {
	for _, newSamples := range []int{0, 3, 10, 25} {
		restoredCopy(t, newSamples, 0)
		restoredCopy(t, newSamples, 1)
		restoredCopy(t, newSamples, 2)
	}
}

func restoredCopy(t *testing.T, newSamples, restarts int) {
	t.Helper()
	server := serveCursor(t)
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	appendRange(t, s, 0, 5)
	server.drainTo(s)
	appendRange(t, s, 5, 8) // unsent when the copy is made
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied := save(t, o.Directory)
	s = openDisk(t, o)
	appendRange(t, s, 8, 18)
	server.drainTo(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	copied.restore(t, o.Directory)
	s = openDisk(t, o)
	appendRange(t, s, 18, 18+newSamples)
	for range restarts {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openDisk(t, o)
	}
	server.drainTo(s)
	appendRange(t, s, 18+newSamples, 50)
	server.drainTo(s)
	s.crash() // the new epoch is kept
	s = openDisk(t, o)
	appendRange(t, s, 50, 55)
	server.drainTo(s)
	if got := server.model.stored; !slices.Equal(got.numbers, numbers(0, 55)) || len(got.gaps) > 0 {
		t.Errorf("%d new samples: stored %v, gaps %v", newSamples, got.numbers, got.gaps)
	}
	if epochs := slices.Compact(server.hellos); len(epochs) != 2 {
		t.Errorf("%d new samples: the epochs were %v", newSamples, epochs)
	}
}

// TestRestoredCopyKilledWhileItMovesOn is killed right after it heard that it is a copy.
func TestRestoredCopyKilledWhileItMovesOn(t *testing.T) {
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	appendRange(t, s, 0, 5)
	epoch, _ := s.Begin()
	if err := s.Resume(0, 0); err != nil {
		t.Fatal(err)
	}
	s.crash()
	s = openDisk(t, o)
	appendRange(t, s, 5, 20)
	if again, err := s.Begin(); again != epoch || err != nil {
		t.Fatal(again, err)
	}
	if err := s.Resume(9, 0); !errors.Is(err, ErrEpochDone) {
		t.Fatalf("resume: %v", err)
	}
	s.crash()
	s = openDisk(t, o)
	appendRange(t, s, 20, 22)
	d := drainAll(t, s)
	if !slices.Equal(d.numbers, numbers(5, 22)) || d.ids[0].epoch == epoch || d.ids[0].epoch != d.ids[16].epoch {
		t.Errorf("delivered %v as %v", d.numbers, d.ids)
	}
}

// writeFails has the state refuse writes, as a broken disk does, until the function that is returned is called. A sync finds nothing to
// do meanwhile.
func writeFails(t *testing.T, s *DiskSpool) (works func()) {
	t.Helper()
	unwritable, err := os.Open(s.state.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	writable := s.state.file
	s.state.file = unwritable
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.state.file = writable
		_ = unwritable.Close()
	}
}

// TestEpochIsNotNamedBeforeItIsDurable: a kill after that would bring the old one back, with numbers that the server has for others.
func TestEpochIsNotNamedBeforeItIsDurable(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, *DiskSpool) (works func()){
		"of a copy": func(t *testing.T, s *DiskSpool) func() {
			if _, err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			works := writeFails(t, s)
			if err := s.Resume(100, 1); err == nil || errors.Is(err, ErrEpochDone) {
				t.Fatalf("resume: %v", err)
			}
			return works
		},
		"after the one before": func(t *testing.T, s *DiskSpool) func() {
			if _, err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			if err := s.Resume(5, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(5); !errors.Is(err, ErrEpochDone) {
				t.Fatalf("next: %v", err)
			}
			return writeFails(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := diskOptions(t.TempDir())
			s := openDisk(t, o)
			appendRange(t, s, 0, 5)
			if name == "after the one before" {
				s.mu.Lock()
				s.st.Boot[0] ^= 1 // the system is restarted, so a new epoch begins
				if err := s.writeStateTwice(); err != nil {
					t.Fatal(err)
				}
				s.mu.Unlock()
				s.crash()
				s = openDisk(t, o)
			}
			appendRange(t, s, 5, 8)
			works := begin(t, s)
			for range 2 {
				if epoch, err := s.Begin(); err == nil {
					t.Fatalf("epoch %d is named, and not durable", epoch)
				}
			}
			works()
			epoch, err := s.Begin()
			if err != nil {
				t.Fatal(err)
			}
			s.crash()
			s = openDisk(t, o)
			if again, err := s.Begin(); again != epoch || err != nil {
				t.Fatalf("epoch %d was named, %d goes on: %v", epoch, again, err)
			}
		})
	}
}

// TestOldEpochGoesFirst streams a spool that was damaged, to a server that knows one epoch at a time.
func TestOldEpochGoesFirst(t *testing.T) {
	server := serveCursor(t)
	files, _ := smallSpool(t, false)
	names := []string{}
	for name := range files {
		if name != "state" && name != "lock" {
			names = append(names, name)
		}
	}
	last := slices.Max(names)
	files[last] = files[last][:len(files[last])-10]
	o := diskOptions(t.TempDir())
	files.restore(t, o.Directory)
	s := openDisk(t, o)
	appendRange(t, s, 8, 12)
	server.drainTo(s)
	if got := server.model.stored; !slices.Equal(got.numbers, append(numbers(2, 7), numbers(8, 12)...)) || len(got.gaps) != 1 || got.gaps[0].GetSamples() != 1 {
		t.Errorf("stored %v, gaps %v", got.numbers, got.gaps)
	}
	if len(server.hellos) != 2 || server.hellos[0] == server.hellos[1] {
		t.Errorf("the epochs were %v", server.hellos)
	}
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

// copiedSpool returns two directories with copies of one spool that holds batches 5, 6 and 7, and the server, which has
// stored 0 to 4.
func copiedSpool(t *testing.T) (server *cursorServer, original, copied DiskSpoolOptions) {
	t.Helper()
	server = serveCursor(t)
	original = diskOptions(t.TempDir())
	s := openDisk(t, original)
	appendRange(t, s, 0, 5)
	server.drainTo(s)
	appendRange(t, s, 5, 8)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copied = diskOptions(filepath.Join(t.TempDir(), "copy"))
	save(t, original.Directory).restore(t, copied.Directory)
	return server, original, copied
}

// storedOnce checks that the server has the numbers, each once, in any order.
func (f *cursorServer) storedOnce(what string, want []int) {
	f.t.Helper()
	got := slices.Sorted(slices.Values(f.model.stored.numbers))
	if !slices.Equal(got, want) {
		f.t.Errorf("%s: stored %v, want %v", what, f.model.stored.numbers, want)
	}
}

// TestTwoCopiesGoOnBesideEachOther lets two machines run with copies of one state. Each drains in turn.
func TestTwoCopiesGoOnBesideEachOther(t *testing.T) {
	server, original, copied := copiedSpool(t)
	a, b := openDisk(t, original), openDisk(t, copied)
	log, logger := newTestLog()
	a.log, b.log = logger, logger
	next := 8
	for range 4 {
		for _, s := range []*DiskSpool{a, b} {
			appendRange(t, s, next, next+3)
			next += 3
			server.drainTo(s)
		}
	}
	server.storedOnce("two copies", numbers(0, next))
	if n := log.count("under a new epoch"); n != 1 {
		t.Errorf("%d warnings, want one: the one that moved on is told apart for ever", n)
	}
	if log.count("delete its state directory") != 1 {
		t.Error("the warning does not say what to do")
	}
}

// TestBatchThatTheOtherCopyForestalledIsSentAgain hands a batch to a stream that never arrives; the other copy's batch of
// the same number does. Only the checksum tells them apart.
func TestBatchThatTheOtherCopyForestalledIsSentAgain(t *testing.T) {
	server, original, copied := copiedSpool(t)
	a, b := openDisk(t, original), openDisk(t, copied)
	appendRange(t, a, 8, 10)
	epoch, err := a.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Resume(server.model.hello(epoch), server.model.sum); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(5); seq < 10; seq++ { // on the way, and lost with the stream
		if batch, err := a.Next(seq); err != nil || batch.GetSeq() != seq+1 {
			t.Fatal(batch, err)
		}
	}
	appendRange(t, b, 20, 22)
	server.drainTo(b)
	server.drainTo(a)
	server.storedOnce("forestalled", slices.Concat(numbers(0, 10), numbers(20, 22)))
}

// TestAcknowledgedBatchIsRemembered finds a copy by the batch that was acknowledged last, which is in no segment any more.
func TestAcknowledgedBatchIsRemembered(t *testing.T) {
	for _, how := range []string{"close", "kill"} {
		server, original, _ := copiedSpool(t)
		s := openDisk(t, original)
		server.drainTo(s)
		epoch, seq, sum := server.model.epoch, server.model.seq, server.model.sum
		if how == "close" {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.crash()
		files := save(t, original.Directory)
		for name := range files {
			if filepath.Ext(name) == ".seg" {
				delete(files, name)
			}
		}
		files.restore(t, original.Directory)
		s = openDisk(t, original)
		if again, err := s.Begin(); err != nil || again != epoch {
			t.Fatalf("%s: epoch %d, then %d (%v)", how, epoch, again, err)
		}
		if err := s.Resume(seq, sum); err != nil || sum == 0 {
			t.Errorf("%s: the batch that was acknowledged last, of checksum %08x: %v", how, sum, err)
		}
		if err := s.Resume(seq, sum+1); !errors.Is(err, ErrEpochDone) || s.sending == epoch {
			t.Errorf("%s: another batch of its number: %v", how, err)
		}
	}
}

// TestChangeOfEpochSurvivesAKillAtEachStep saves the directory after each step of the change, and goes on from each.
func TestChangeOfEpochSurvivesAKillAtEachStep(t *testing.T) {
	server, original, copied := copiedSpool(t)
	a := openDisk(t, original)
	appendRange(t, a, 8, 18)
	server.drainTo(a)

	b := openDisk(t, copied)
	appendRange(t, b, 18, 31) // more than the original, so some of the numbers are not taken
	if _, err := b.Begin(); err != nil {
		t.Fatal(err)
	}
	var steps []saved
	b.options.step = func() { steps = append(steps, save(t, copied.Directory)) }
	if err := b.Resume(server.model.seq, server.model.sum); !errors.Is(err, ErrEpochDone) {
		t.Fatal(err)
	}
	b.keep()
	b.options.step()
	b.options.step = nil
	b.crash()
	if len(steps) < 4 {
		t.Fatalf("%d steps", len(steps))
	}
	before := server.model
	for i, files := range steps {
		server.model = before
		server.model.stored.numbers = slices.Clone(before.stored.numbers)
		files.restore(t, copied.Directory)
		s := openDisk(t, copied)
		appendRange(t, s, 31, 33)
		server.drainTo(s)
		server.storedOnce(fmt.Sprint("killed after step ", i+1), numbers(0, 33))
		if len(server.model.stored.gaps) > 0 {
			t.Errorf("step %d: gaps %v", i, server.model.stored.gaps)
		}
		s.crash()
	}
}

// TestSamplesOfEarlierProcessesOfACopyGoOn has two processes run on a copy before it hears from the server, which has other
// batches under some of their numbers.
func TestSamplesOfEarlierProcessesOfACopyGoOn(t *testing.T) {
	server, original, copied := copiedSpool(t)
	b := openDisk(t, copied)
	appendRange(t, b, 20, 25) // numbers 9 to 13
	b.crash()
	a := openDisk(t, original)
	appendRange(t, a, 8, 10) // numbers 9 and 10
	server.drainTo(a)
	b = openDisk(t, copied)
	appendRange(t, b, 25, 27)
	server.drainTo(b)
	server.storedOnce("inherited", slices.Concat(numbers(0, 10), numbers(20, 27)))
}

// TestServerWithoutChecksums decides by the numbers alone.
func TestServerWithoutChecksums(t *testing.T) {
	server, original, copied := copiedSpool(t)
	server.noChecksums = true
	a, b := openDisk(t, original), openDisk(t, copied)
	appendRange(t, a, 8, 18)
	server.drainTo(a)
	appendRange(t, b, 18, 20)
	server.drainTo(b)
	server.storedOnce("no checksums", numbers(0, 20))
}

func TestChecksumIsOfTheContent(t *testing.T) {
	disk, memory := openDisk(t, diskOptions(t.TempDir())), newTestSpool(t, 1<<20)
	if _, err := disk.Begin(); err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for i := range 3 {
		for _, s := range []Spool{disk, memory} {
			if _, err := s.Append(content(i)); err != nil {
				t.Fatal(err)
			}
		}
		one, err := disk.Next(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		other, err := memory.Next(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if one.GetChecksum() == 0 || one.GetChecksum() != other.GetChecksum() || seen[one.GetChecksum()] {
			t.Errorf("checksums %08x and %08x", one.GetChecksum(), other.GetChecksum())
		}
		seen[one.GetChecksum()] = true
	}
	if batchChecksum(nil) != 1 { // CRC-32C of nothing is 0
		t.Errorf("the checksum of an empty batch is %d", batchChecksum(nil))
	}
	if err := memory.Resume(2, 12345); !errors.Is(err, errForeignEpoch) {
		t.Errorf("another batch 2: %v", err)
	}
}

// TestServerToWhichEveryEpochIsForeign must not be asked in a busy loop.
func TestServerToWhichEveryEpochIsForeign(t *testing.T) {
	server := newFakeServer()
	server.stored = []uint64{1000}
	address, _ := serve(t, server, "127.0.0.1:0")
	s := openDisk(t, diskOptions(t.TempDir()))
	appendRange(t, s, 0, 2)
	log, logger := newTestLog()
	c := newTestClient(address, s, logger)
	ctx, kill := context.WithCancel(t.Context())
	finished := make(chan struct{})
	go func() { defer close(finished); c.run(ctx) }()
	log.until(t, "is this machine, or its state directory, a copy")
	kill()
	<-finished
	if len(server.received) != 0 || s.Stats().Batches != 2 {
		t.Errorf("sent %v, held %d", server.received, s.Stats().Batches)
	}
}

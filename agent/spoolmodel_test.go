package agent

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// modelServer is what a server keeps of one agent: one cursor.
type modelServer struct {
	epoch, seq uint64
	sum        uint32 // of the newest batch that is stored
	stored     delivery
}

func (m *modelServer) hello(epoch uint64) uint64 {
	if m.epoch != epoch {
		m.epoch, m.seq, m.sum = epoch, 0, 0
	}
	return m.seq
}

func (m *modelServer) store(t testing.TB, batch *gohubv1.Batch) {
	if batch.GetEpoch() == m.epoch && batch.GetSeq() > m.seq {
		m.seq, m.sum = batch.GetSeq(), batch.GetChecksum()
		m.stored.take(t, batch)
	}
}

// TestDiskSpoolAgainstModel does at random what can happen to a spool. In the end every sample is stored once, in order,
// or was told lost.
func TestDiskSpoolAgainstModel(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 10
	}
	for round := range rounds {
		seed := uint64(round)*7919 + 1
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { modelRun(t, seed) })
	}
}

func modelRun(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	o := diskOptions(t.TempDir())
	bounded := seed%3 == 0
	if bounded {
		o.MaxBytes = 9000
	}
	broken := 0 // how many writes fail from here on
	o.writeAt = func(f *os.File, b []byte, at int64) (int, error) {
		if broken > 0 {
			broken--
			n, _ := f.WriteAt(b[:len(b)/2], at)
			return n, syscall.EIO
		}
		return f.WriteAt(b, at)
	}
	s := openDisk(t, o)
	server := &modelServer{}
	appended, torn, crashedInMemory, doubted := 0, 0, 0, 0
	ids := map[batchID]bool{}
	var cursor uint64
	streaming := false
	for range 1500 {
		switch random.IntN(20) {
		case 0, 1, 2, 3, 4, 5, 6, 7:
			seq := mustAppend(t, s, appended)
			id := batchID{s.st.Epoch, seq}
			if ids[id] {
				t.Fatalf("%v is given twice", id)
			}
			ids[id] = true
			appended++
		case 8, 9, 10, 11: // the stream goes on
			if !streaming {
				epoch, err := s.Begin()
				if err != nil {
					t.Fatal(err)
				}
				cursor = server.hello(epoch)
				if err := s.Resume(cursor, server.sum); err != nil {
					t.Fatal(err) // this spool is no copy
				}
				streaming = true
			}
			for range random.IntN(12) {
				batch, err := s.Next(cursor)
				if errors.Is(err, ErrEpochDone) {
					if err := s.Trim(server.seq); err != nil {
						t.Fatal(err)
					}
					if _, err := s.Next(cursor); !errors.Is(err, ErrEpochDone) {
						t.Fatal("an epoch that was done goes on")
					}
					streaming = false
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if batch == nil {
					break
				}
				server.store(t, batch)
				cursor = batch.GetSeq()
			}
		case 12, 13, 14:
			if streaming { // an ack; some are late
				if err := s.Trim(server.seq - uint64(random.IntN(2))*min(server.seq, 3)); err != nil {
					t.Fatal(err)
				}
			}
		case 15, 16:
			s.keep()
		case 17:
			streaming = false // and begins anew
		case 18:
			if random.IntN(4) == 0 {
				broken = random.IntN(6)
			}
		case 19:
			if random.IntN(3) > 0 {
				continue
			}
			broken, streaming = 0, false
			doubted += int(s.st.Doubted.Full.Samples)
			if random.IntN(2) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				crashedInMemory += len(s.tail)
				s.crash()
				if random.IntN(2) == 0 && len(s.segments) > 0 { // in the middle of a write
					path := s.path(s.last().id)
					half := (&record{seq: s.st.Newest + 1, epoch: s.last().epoch}).half(random)
					f, err := os.OpenFile(path, os.O_WRONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := f.WriteAt(half, s.last().size); err != nil {
						t.Fatal(err)
					}
					_ = f.Close()
					torn++
				}
			}
			s = openDisk(t, o)
		}
	}
	broken = 0
	s.keep()
	ids[batchID{s.st.Epoch, mustAppend(t, s, appended)}] = true
	appended++
	for done := false; !done; {
		epoch, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		last := server.hello(epoch)
		if err := s.Resume(last, server.sum); err != nil {
			t.Fatal(err)
		}
		for {
			batch, err := s.Next(last)
			if errors.Is(err, ErrEpochDone) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if done = batch == nil; done {
				break
			}
			server.store(t, batch)
			last = batch.GetSeq()
			if err := s.Trim(last); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := server.stored
	if !slices.IsSorted(got.numbers) || len(slices.Compact(slices.Clone(got.numbers))) != len(got.numbers) {
		t.Fatalf("stored doubled or out of order: %v", got.numbers)
	}
	for _, id := range got.ids {
		if !ids[id] {
			t.Fatalf("%v was never given", id)
		}
	}
	missing := appended - len(got.numbers)
	full := got.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL)
	damaged := got.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_DAMAGED)
	if !bounded && crashedInMemory == 0 && missing > 0 {
		t.Errorf("%d are missing, and nothing that happened may lose any", missing)
	}
	// A batch may be told lost that was on its way when the process ended.
	if full > missing+doubted && crashedInMemory == 0 {
		t.Errorf("told are %d full, and %d are missing; %d were in doubt at an end", full, missing, doubted)
	}
	// A torn batch was never said to be appended.
	if full+damaged < missing-1 {
		t.Errorf("%d are missing, told are %d full and %d damaged; %d torn, %d in memory", missing, full, damaged, torn, crashedInMemory)
	}
	if !bounded && full > 0 || damaged > torn+crashedInMemory {
		t.Errorf("told lost: %d full and %d damaged, of %d torn and %d in memory", full, damaged, torn, crashedInMemory)
	}
}

// half is a record that was not written to its end.
func (r *record) half(random *rand.Rand) []byte {
	b := make([]byte, recordHeader+100)
	putRecordHeader(b, r)
	return b[:1+random.IntN(len(b)-1)]
}

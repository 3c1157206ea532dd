package agent

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// batchID is what names a batch to a server.
type batchID struct{ epoch, seq uint64 }

// content is the i-th sample of a test: its time and a value say which it is.
func content(i int) *gohubv1.Sample {
	load := float32(i)
	return &gohubv1.Sample{
		TimeUnixMillis: 1_700_000_000_000 + int64(i)*10_000, Host: &gohubv1.HostMetrics{Load1: &load},
		Cores: []*gohubv1.CoreMetrics{{Core: strings.Repeat("x", 40+i%17)}},
	}
}

// contentNumber is i of content(i); ok is false if the sample is anything else.
func contentNumber(s *gohubv1.Sample) (i int, ok bool) {
	i = int((s.GetTimeUnixMillis() - 1_700_000_000_000) / 10_000)
	return i, proto.Equal(s, content(i))
}

func diskOptions(directory string) DiskSpoolOptions {
	return DiskSpoolOptions{
		AgentID: testAgentID, Directory: directory, MaxBytes: MinSpoolBytes, MemoryBytes: MinBufferBytes,
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		manual: true, noSync: true, segment: 600,
	}
}

func openDisk(t testing.TB, o DiskSpoolOptions) *DiskSpool {
	t.Helper()
	s, err := OpenDiskSpool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.crash() })
	return s
}

// crash leaves the directory as a kill of the process does.
func (s *DiskSpool) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if !s.options.manual {
		close(s.stop)
	}
	s.reader.close()
	_ = s.closeFiles()
}

func mustAppend(t testing.TB, s *DiskSpool, i int) uint64 {
	t.Helper()
	seq, err := s.Append(content(i))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// delivery is what a server would have stored of a spool.
type delivery struct {
	ids     []batchID
	numbers []int
	gaps    []*gohubv1.Gap
}

func (d *delivery) take(t testing.TB, batch *gohubv1.Batch) {
	t.Helper()
	d.ids = append(d.ids, batchID{batch.GetEpoch(), batch.GetSeq()})
	d.gaps = append(d.gaps, batch.GetGaps()...)
	for _, sample := range batch.GetSamples() {
		i, ok := contentNumber(sample)
		if !ok {
			t.Fatalf("batch %d is not what was appended: %v", batch.GetSeq(), sample)
		}
		d.numbers = append(d.numbers, i)
	}
}

// drainAll sends everything, as a client does, to a server that has stored nothing of it.
func drainAll(t testing.TB, s *DiskSpool) (d delivery) {
	t.Helper()
	for range 100 {
		epoch, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		last := uint64(0)
		for {
			batch, err := s.Next(last)
			if errors.Is(err, ErrEpochDone) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if batch == nil {
				if held := s.Stats().Batches; held != 0 {
					t.Fatalf("%d batches are held, and none comes", held)
				}
				return d
			}
			if batch.GetEpoch() != epoch || batch.GetSeq() <= last || batch.GetAgentId() != testAgentID {
				t.Fatalf("batch %d of epoch %d after %d of %d", batch.GetSeq(), batch.GetEpoch(), last, epoch)
			}
			d.take(t, batch)
			last = batch.GetSeq()
			if err := s.Trim(last); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatal("epochs without end")
	return d
}

// lostSamples adds up the gaps of a reason.
func (d *delivery) lostSamples(reason gohubv1.GapReason) (n int) {
	for _, gap := range d.gaps {
		if gap.GetReason() == reason {
			n += int(gap.GetSamples())
		}
		if gap.GetFromUnixMillis() > gap.GetToUnixMillis() {
			panic("a gap ends before it begins")
		}
	}
	return n
}

func numbers(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func TestDiskSpoolKeepsBatchesAndNumbersOverReopen(t *testing.T) {
	for _, how := range []string{"close", "kill"} {
		t.Run(how, func(t *testing.T) {
			o := diskOptions(t.TempDir())
			s := openDisk(t, o)
			epoch, err := s.Begin()
			if err != nil || epoch == 0 || epoch>>63 != 0 {
				t.Fatalf("epoch %d, %v", epoch, err)
			}
			for i := range 20 {
				if seq := mustAppend(t, s, i); seq != uint64(i)+1 {
					t.Fatalf("batch %d has number %d", i, seq)
				}
			}
			if err := s.Trim(7); err != nil {
				t.Fatal(err)
			}
			if how == "close" {
				if err := errors.Join(s.Close(), s.Close()); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Append(); !errors.Is(err, ErrSpoolClosed) {
					t.Errorf("append after close: %v", err)
				}
			}
			s.crash()
			s = openDisk(t, o)
			if again, _ := s.Begin(); again != epoch {
				t.Errorf("epoch %d, then %d", epoch, again)
			}
			if seq := mustAppend(t, s, 20); seq != 21 {
				t.Errorf("the next number is %d", seq)
			}
			if d := drainAll(t, s); !slices.Equal(d.numbers, numbers(7, 21)) || len(d.gaps) > 0 || d.ids[0].epoch != epoch {
				t.Errorf("delivered %v with gaps %v", d.numbers, d.gaps)
			}
			s.keep()
			if files, _ := filepath.Glob(filepath.Join(o.Directory, "*.seg")); len(files) != 1 {
				t.Errorf("left on disk: %v", files)
			}
		})
	}
}

func TestDiskSpoolIsForOneProcess(t *testing.T) {
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	if _, err := OpenDiskSpool(o); !errors.Is(err, ErrSpoolLocked) || !strings.Contains(err.Error(), o.Directory) {
		t.Errorf("a second one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openDisk(t, o)
}

func TestFullDiskSpoolDropsTheOldestAndTellsOneGrowingGap(t *testing.T) {
	o := diskOptions(t.TempDir())
	o.MaxBytes = 12_000
	s := openDisk(t, o)
	const n = 1500
	for i := range n {
		mustAppend(t, s, i)
		if size := directorySize(t, o.Directory); size > o.MaxBytes+2*stateSlotSize+700 {
			t.Fatalf("%d bytes on disk", size)
		}
		if i%5 == 0 {
			s.keep()
		}
		if i%400 == 0 { // the gap outlives the process
			s.crash()
			s = openDisk(t, o)
		}
	}
	d := drainAll(t, s)
	mustAppend(t, s, n)
	rest := drainAll(t, s)
	d.gaps, d.numbers = append(d.gaps, rest.gaps...), append(d.numbers, rest.numbers...)
	held := len(d.numbers)
	if !slices.Equal(d.numbers, numbers(n+1-held, n+1)) || held < 20 {
		t.Errorf("delivered %v", d.numbers)
	}
	if lost := d.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL); lost+held != n+1 || len(d.gaps) > held {
		t.Errorf("%d delivered, %d told lost in %d gaps, %d appended", held, lost, len(d.gaps), n+1)
	}
	first := slices.MinFunc(d.gaps, func(a, b *gohubv1.Gap) int { return cmp.Compare(a.GetFromUnixMillis(), b.GetFromUnixMillis()) })
	if first.GetFromUnixMillis() != content(0).GetTimeUnixMillis() {
		t.Errorf("the first gap is %v", first)
	}
}

// TestDroppedBatchThatIsStoredIsNotToldLost: a full spool drops the oldest, and those are on the way. Which of them are lost shows when the
// server has spoken.
func TestDroppedBatchThatIsStoredIsNotToldLost(t *testing.T) {
	for name, c := range map[string]struct {
		stored int // of the ten that are on the way when they are dropped
		acked  bool
		crash  bool
		told   int
	}{
		"acknowledged":                          {stored: 10, acked: true, told: 0},
		"stored, and the stream broke":          {stored: 10, told: 0},
		"some stored, and the stream broke":     {stored: 6, told: 4},
		"none stored, and the stream broke":     {stored: 0, told: 10},
		"some acknowledged":                     {stored: 6, acked: true, told: 4},
		"killed before the server was heard":    {stored: 0, crash: true, told: 10},
		"stored, and killed before it is heard": {stored: 10, crash: true, told: 10},
	} {
		t.Run(name, func(t *testing.T) {
			o := diskOptions(t.TempDir())
			o.MaxBytes = 9000
			s := openDisk(t, o)
			epoch, err := s.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Resume(0, 0); err != nil {
				t.Fatal(err)
			}
			var server delivery
			var sum uint32
			n := 0
			for ; n < 10; n++ {
				mustAppend(t, s, n)
			}
			for last := uint64(0); last < 10; last++ {
				batch, err := s.Next(last)
				if err != nil {
					t.Fatal(err)
				}
				if int(last) < c.stored {
					server.take(t, batch)
					sum = batch.GetChecksum()
				}
			}
			for ; s.segments[0].first <= 10; n++ {
				mustAppend(t, s, n)
				s.keep()
			}
			fullBefore := s.segments[0].first - 1 - 10 // dropped, and never sent
			if c.acked {
				if err := s.Trim(uint64(c.stored)); err != nil {
					t.Fatal(err)
				}
			}
			if c.crash {
				s.crash()
				s = openDisk(t, o)
			}
			if again, err := s.Begin(); err != nil || again != epoch {
				t.Fatal(again, err)
			}
			if err := s.Resume(uint64(c.stored), sum); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(uint64(c.stored)); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, n)
			for last := uint64(c.stored); ; {
				batch, err := s.Next(last)
				if err != nil {
					t.Fatal(err)
				}
				if batch == nil {
					break
				}
				server.take(t, batch)
				last = batch.GetSeq()
			}
			if got := server.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL); got != c.told+int(fullBefore) {
				t.Errorf("told %d lost, want %d; dropped unsent %d", got, c.told+int(fullBefore), fullBefore)
			}
			if got := len(server.numbers); !c.crash && got+c.told+int(fullBefore) != n+1 {
				t.Errorf("%d stored and %d told lost, of %d", got, c.told+int(fullBefore), n+1)
			}
		})
	}
}

// TestDiscardedBatchIsToldInAGap: what a server will never take is missing for ever, and must be seen to be. The gap that the
// batch carried is told again.
func TestDiscardedBatchIsToldInAGap(t *testing.T) {
	s := openDisk(t, diskOptions(t.TempDir()))
	mustAppend(t, s, 0)
	s.st.Pending.Full.add(lostSpan{From: 1000, To: 3000, Samples: 3})
	refused := mustAppend(t, s, 1)
	mustAppend(t, s, 2)
	for range 2 { // the second time it is gone already
		if err := errors.Join(s.Discard(refused), s.Discard(99), s.Discard(0)); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, 3)
	d := drainAll(t, s)
	if !slices.Equal(d.numbers, []int{0, 2, 3}) {
		t.Errorf("delivered %v", d.numbers)
	}
	full, gaveUp := d.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL), d.lostSamples(gohubv1.GapReason_GAP_REASON_REFUSED)
	if full != 3 || gaveUp != 1 || s.Stats().Dropped != 1 {
		t.Errorf("told %d lost of a full spool and %d refused in %v, dropped %d", full, gaveUp, d.gaps, s.Stats().Dropped)
	}
	if taken := content(1).GetTimeUnixMillis(); d.gaps[1].GetFromUnixMillis() != taken || d.gaps[1].GetToUnixMillis() != taken {
		t.Errorf("the gap is %v, the sample was taken at %d", d.gaps[1], taken)
	}
}

func directorySize(t testing.TB, directory string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
	}
	return size
}

// saved is a spool directory in memory.
type saved map[string][]byte

func save(t testing.TB, directory string) saved {
	t.Helper()
	files := saved{}
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(directory, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func (f saved) restore(t testing.TB, directory string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, entry := range entries {
		_ = os.Remove(filepath.Join(directory, entry.Name()))
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range f {
		if err := os.WriteFile(filepath.Join(directory, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestartOfTheSystemWithoutCloseBeginsAnEpoch(t *testing.T) {
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	mustAppend(t, s, 0)
	s.mu.Lock()
	epoch := s.st.Epoch
	s.st.Boot[0] ^= 1
	s.writeStateTwice()
	s.mu.Unlock()
	s.crash()
	s = openDisk(t, o)
	mustAppend(t, s, 1)
	if d := drainAll(t, s); !slices.Equal(d.numbers, []int{0, 1}) || d.ids[0].epoch != epoch || d.ids[1].epoch == epoch || len(d.gaps) > 0 {
		t.Errorf("delivered %v of %v, gaps %v", d.numbers, d.ids, d.gaps)
	}
}

func TestKeeperSyncsRemovesAndStops(t *testing.T) {
	o := diskOptions(t.TempDir())
	o.manual, o.noSync = false, false
	s := openDisk(t, o)
	for i := range 50 {
		mustAppend(t, s, i)
	}
	if d := drainAll(t, s); len(d.numbers) != 50 {
		t.Errorf("delivered %v", d.numbers)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Directory, "*.seg")); len(files) != 1 {
		t.Errorf("left on disk: %v", files)
	}
}

func BenchmarkDiskSpool(b *testing.B) {
	o := diskOptions(b.TempDir())
	o.manual, o.noSync, o.segment, o.MaxBytes = false, false, 0, DefaultSpoolBytes
	o.SyncEvery = time.Second
	s := openDisk(b, o)
	if _, err := s.Begin(); err != nil {
		b.Fatal(err)
	}
	sample := content(1)
	sample.Cores[0].Core = strings.Repeat("x", 3000)
	b.ReportAllocs()
	var last uint64
	for b.Loop() {
		seq, err := s.Append(sample)
		if err != nil {
			b.Fatal(err)
		}
		batch, err := s.Next(last)
		if err != nil || batch.GetSeq() != seq {
			b.Fatal(batch.GetSeq(), err)
		}
		last = seq
		if err := s.Trim(seq); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

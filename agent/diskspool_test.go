package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	return &gohubv1.Sample{TimeUnixMillis: 1_700_000_000_000 + int64(i)*10_000, Host: &gohubv1.HostMetrics{Load1: &load},
		Cores: []*gohubv1.CoreMetrics{{Core: strings.Repeat("x", 40+i%17)}}}
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

// smallSpool is a directory with 8 batches in segments, of which the first 2 are acknowledged.
func smallSpool(t testing.TB, close bool) (files saved, given map[batchID]bool) {
	t.Helper()
	o := diskOptions(t.TempDir())
	s := openDisk(t, o)
	epoch, _ := s.Begin()
	given = map[batchID]bool{}
	for i := range 8 {
		given[batchID{epoch, mustAppend(t, s, i)}] = true
	}
	if err := s.Trim(2); err != nil {
		t.Fatal(err)
	}
	s.keep()
	if close {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.crash()
	return save(t, o.Directory), given
}

// checkDamaged opens a damaged copy of smallSpool and looks at what is delivered.
func checkDamaged(t *testing.T, what string, o DiskSpoolOptions, given map[batchID]bool) {
	t.Helper()
	s, err := OpenDiskSpool(o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() { s.crash() }()
	seq := mustAppend(t, s, 8)
	appendEpoch := s.st.Epoch
	if given[batchID{appendEpoch, seq}] {
		t.Fatalf("%s: number %d of the epoch is given twice", what, seq)
	}
	d := drainAll(t, s)
	// What is found while reading is told with the batch after it, also over a kill.
	s.crash()
	if s, err = OpenDiskSpool(o); err != nil {
		t.Fatalf("%s: again: %v", what, err)
	}
	mustAppend(t, s, 9)
	more := drainAll(t, s)
	d.ids, d.numbers, d.gaps = append(d.ids, more.ids...), append(d.numbers, more.numbers...), append(d.gaps, more.gaps...)

	if !slices.IsSorted(d.numbers) || len(slices.Compact(slices.Clone(d.numbers))) != len(d.numbers) {
		t.Fatalf("%s: delivered %v", what, d.numbers)
	}
	for i, id := range d.ids[:len(d.ids)-2] {
		if !given[id] && d.numbers[i] < 8 {
			t.Fatalf("%s: batch %v was never given", what, id)
		}
	}
	missing := 0
	for i := 2; i < 10; i++ {
		if !slices.Contains(d.numbers, i) {
			missing++
		}
	}
	told := d.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_DAMAGED)
	if told < missing || told > missing+1 { // the number that a torn batch may have had is told, too
		t.Fatalf("%s: %d are missing of %v, told are %d: %v", what, missing, d.numbers, told, d.gaps)
	}
	if missing > 0 && told > 0 && (d.gaps[0].GetFromUnixMillis() < content(0).GetTimeUnixMillis() || d.gaps[0].GetToUnixMillis() > content(10).GetTimeUnixMillis()) {
		t.Fatalf("%s: gap %v", what, d.gaps[0])
	}
}

func TestEveryFlippedByteIsFoundAndTold(t *testing.T) {
	for _, closed := range []bool{true, false} {
		if closed && testing.Short() {
			continue // as after a kill, but for a few bytes of the state
		}
		files, given := smallSpool(t, closed)
		directory := filepath.Join(t.TempDir(), "spool")
		for name, data := range files {
			for at := range data {
				if name == "state" && at%stateSlotSize > 400 {
					continue // never read: behind the state
				}
				damaged := saved{}
				for other, content := range files {
					damaged[other] = content
				}
				damaged[name] = slices.Clone(data)
				damaged[name][at] ^= 1 << (at % 8)
				damaged.restore(t, directory)
				checkDamaged(t, fmt.Sprintf("byte %d of %s, closed %t", at, name, closed), diskOptions(directory), given)
			}
		}
	}
}

func TestEveryTruncationIsFoundAndTold(t *testing.T) {
	for _, closed := range []bool{true, false} {
		if closed && testing.Short() {
			continue // as after a kill, but for a few bytes of the state
		}
		files, given := smallSpool(t, closed)
		directory := filepath.Join(t.TempDir(), "spool")
		for name, data := range files {
			if name == "state" {
				continue
			}
			for length := range data {
				cut := saved{}
				for other, content := range files {
					cut[other] = content
				}
				cut[name] = data[:length]
				cut.restore(t, directory)
				checkDamaged(t, fmt.Sprintf("%s cut to %d, closed %t", name, length, closed), diskOptions(directory), given)
			}
		}
	}
}

func TestEveryMissingFileIsSurvived(t *testing.T) {
	files, given := smallSpool(t, true)
	directory := filepath.Join(t.TempDir(), "spool")
	for name := range files {
		if name == "state" {
			continue
		}
		rest := saved{}
		for other, content := range files {
			if other != name {
				rest[other] = content
			}
		}
		rest.restore(t, directory)
		checkDamaged(t, name+" missing", diskOptions(directory), given)
	}
	delete(files, "state")
	files.restore(t, directory)
	s := openDisk(t, diskOptions(directory))
	if seq := mustAppend(t, s, 8); given[batchID{s.st.Epoch, seq}] {
		t.Error("a number is given twice")
	}
	if d := drainAll(t, s); !slices.Equal(d.numbers[len(d.numbers)-7:], numbers(2, 9)) {
		t.Errorf("without the state: %v", d.numbers)
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

// modelServer is what a server keeps of one agent: one cursor.
type modelServer struct {
	epoch, seq uint64
	stored     delivery
}

func (m *modelServer) hello(epoch uint64) uint64 {
	if m.epoch != epoch {
		m.epoch, m.seq = epoch, 0
	}
	return m.seq
}

func (m *modelServer) store(t testing.TB, batch *gohubv1.Batch) {
	if batch.GetEpoch() == m.epoch && batch.GetSeq() > m.seq {
		m.seq = batch.GetSeq()
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
	appended, torn, crashedInMemory := 0, 0, 0
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
				if err := s.Resume(cursor); err != nil {
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
		if err := s.Resume(last); err != nil {
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
	// A batch may be told lost that was on its way, and a torn batch was never said to be appended.
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

func TestBrokenDiskKeepsABoundedTailAndTellsOnce(t *testing.T) {
	o := diskOptions(t.TempDir())
	o.MemoryBytes = 2000
	log, logger := newTestLog()
	o.Logger = logger
	broken := false
	o.writeAt = func(f *os.File, b []byte, at int64) (int, error) {
		if broken {
			return 0, syscall.EIO
		}
		return f.WriteAt(b, at)
	}
	s := openDisk(t, o)
	for i := range 100 {
		broken = i >= 10
		mustAppend(t, s, i)
		s.keep()
	}
	if s.tailSize > o.MemoryBytes || s.Stats().Durable {
		t.Errorf("%d bytes in memory, %+v", s.tailSize, s.Stats())
	}
	if batch, err := s.Next(10); err != nil || batch.GetSeq() <= 11 {
		t.Errorf("what is in memory can not be sent: %v, %v", batch, err)
	}
	broken = false
	s.keep()
	mustAppend(t, s, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d := drainAll(t, openDisk(t, o))
	if lost := d.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL); lost == 0 || lost+len(d.numbers) != 101 {
		t.Errorf("%d delivered, %d told lost: %v", len(d.numbers), lost, d.gaps)
	}
	if fails, works := log.count("spool's disk fails"), log.count("spool's disk works again"); fails != 1 || works != 1 {
		t.Errorf("logged %d failures and %d ends of them, want one each", fails, works)
	}
}

const crashDirectory = "GOHUB_TEST_SPOOL"

// TestKillLosesNothingThatWasAppended kills a process that appends, several times over one directory.
func TestKillLosesNothingThatWasAppended(t *testing.T) {
	if directory := os.Getenv(crashDirectory); directory != "" {
		appendUntilKilled(directory)
	}
	directory := t.TempDir()
	reported := map[uint64]bool{}
	for round := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKillLosesNothingThatWasAppended$")
		child.Env = append(os.Environ(), crashDirectory+"="+directory)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			seq, err := strconv.ParseUint(lines.Text(), 10, 64)
			if err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			if reported[seq] {
				t.Fatalf("number %d was given twice", seq)
			}
			reported[seq] = true
			if n == 100+37*round {
				_ = child.Process.Kill()
			}
		}
		_ = child.Wait() // killed
		cancel()
	}
	o := diskOptions(directory)
	o.segment = 0
	s := openDisk(t, o)
	found := map[uint64]bool{}
	for _, id := range drainAll(t, s).ids { // a kill in the middle of a write begins an epoch
		found[id.seq] = true
	}
	for seq := range reported {
		if !found[seq] {
			t.Errorf("batch %d was appended, and is lost", seq)
		}
	}
}

func appendUntilKilled(directory string) {
	o := diskOptions(directory)
	o.manual, o.noSync, o.segment = false, false, 0
	s, err := OpenDiskSpool(o)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		seq, err := s.Append(content(i))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(seq)
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

// FuzzReadSegment puts any bytes in the place of a part of a segment. What is read is what was written, and all of it
// that was not touched is read.
func FuzzReadSegment(f *testing.F) {
	whole := segmentInfo{epoch: 5, first: 1, time: 1}.encode()
	ends := []int{segmentHeader}
	for seq := range uint64(6) {
		b := append(make([]byte, recordHeader), bytes.Repeat([]byte{byte(seq)}, int(seq)*31)...)
		putRecordHeader(b, &record{seq: seq + 1, epoch: 5, samples: 1})
		whole = append(whole, b...)
		ends = append(ends, len(whole))
	}
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Add(whole, uint16(0), uint16(len(whole)))
	f.Add(whole[ends[2]:ends[3]], uint16(ends[1]), uint16(9))
	f.Add([]byte{7, 7, 7}, uint16(ends[3]+2), uint16(60))
	f.Fuzz(func(t *testing.T, insert []byte, at, cut uint16) {
		from := min(int(at), len(whole))
		to := min(from+int(cut), len(whole))
		data := slices.Concat(whole[:from], insert, whole[to:])
		var last uint64
		end := 0
		found := map[uint64]bool{}
		salvage(data, func(r record, offset int) {
			if r.seq <= last || offset < end || offset+recordHeader+len(r.payload) > len(data) {
				t.Fatalf("record %d at %d after %d, which ended at %d", r.seq, offset, last, end)
			}
			last, end = r.seq, offset+recordHeader+len(r.payload)
			again := append(make([]byte, recordHeader), r.payload...)
			putRecordHeader(again, &r)
			if !bytes.Equal(again, data[offset:end]) {
				t.Fatalf("record %d is read other than it is written", r.seq)
			}
			found[r.seq] = true
		})
		if bytes.Contains(insert, binary.LittleEndian.AppendUint32(nil, recordMagic)) || len(data) < segmentHeader || from < segmentHeader && from+len(insert) != to {
			return // a record of another numbering may be in it, or what follows is moved into the header
		}
		for seq := 1; seq < len(ends); seq++ {
			if (ends[seq] <= from || ends[seq-1] >= to) && !found[uint64(seq)] {
				t.Fatalf("record %d was not touched by %d..%d and is not found", seq, from, to)
			}
		}
	})
}

// FuzzOpenSpool opens a spool that holds any bytes.
func FuzzOpenSpool(f *testing.F) {
	files, _ := smallSpool(f, false)
	for name, data := range files {
		f.Add(data, name == "state")
	}
	f.Fuzz(func(t *testing.T, data []byte, isState bool) {
		directory := filepath.Join(t.TempDir(), "spool")
		name := filepath.Base(segmentPath("", 1))
		if isState {
			name = "state"
		}
		(saved{name: data}).restore(t, directory)
		s, err := OpenDiskSpool(diskOptions(directory))
		if errors.Is(err, errSegmentVersion) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.crash()
		if _, err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		for last := uint64(0); ; {
			batch, err := s.Next(last)
			if batch == nil || err != nil { // a payload that is no batch may have a right CRC here
				return
			}
			last = batch.GetSeq()
		}
	})
}

func TestStateSlotTooLongIsNotRead(t *testing.T) {
	s := spoolState{}
	b := s.encode(nil)
	binary.LittleEndian.PutUint32(b[12:], 1<<31)
	if _, ok := parseState(b); ok {
		t.Error("read")
	}
	s.damaged, s.relabels = make([]damage, maxDamaged), make([]relabel, maxRelabels)
	b = s.encode(nil)
	if _, ok := parseState(b); !ok || len(b) > stateSlotSize {
		t.Errorf("the largest state has %d bytes", len(b))
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

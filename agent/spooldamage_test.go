package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

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

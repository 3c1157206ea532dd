package agent

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

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

func TestBatchThatIsToldLostWhileItIsReadIsNotSent(t *testing.T) {
	o := diskOptions(t.TempDir())
	o.MemoryBytes = 400
	broken := false
	o.writeAt = func(f *os.File, b []byte, at int64) (int, error) {
		if broken {
			return 0, syscall.EIO
		}
		return f.WriteAt(b, at)
	}
	s := openDisk(t, o)
	broken = true
	first := mustAppend(t, s, 0)
	dropped, err := s.locate(0)
	if err != nil || dropped.tail == nil || dropped.tail.seq != first {
		t.Fatalf("located %+v, %v", dropped, err)
	}
	last := first
	for i := 1; s.tail[0].seq == first; i++ {
		last = mustAppend(t, s, i)
	}
	if batch, err := s.decode(&dropped, first, dropped.tail.bytes[recordHeader:]); batch != nil || err != nil {
		t.Errorf("sent %v, %v", batch, err)
	}
	written, err := s.locate(last - 1)
	if err != nil || written.tail == nil {
		t.Fatalf("located %+v, %v", written, err)
	}
	broken = false
	s.keep()
	if batch, err := s.decode(&written, last, written.tail.bytes[recordHeader:]); batch != nil || err != nil {
		t.Errorf("sent %v, %v: it is to be read where it is now", batch, err)
	}
	if batch, err := s.Next(last - 1); batch.GetSeq() != last || err != nil {
		t.Errorf("sent %v, %v", batch, err)
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

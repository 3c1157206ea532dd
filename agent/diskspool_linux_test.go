package agent

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// TestFullFilesystem uses a filesystem of 1 MiB, which needs root.
func TestFullFilesystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getuid() == 0 && os.Getenv("CI") != "" {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Skipf("a small filesystem can not be mounted (as user %d): %v", os.Getuid(), err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	log, logger := newTestLog()
	o := diskOptions(filepath.Join(mount, "spool"))
	o.Logger, o.MaxBytes, o.segment = logger, 64<<20, 32<<10
	s := openDisk(t, o)
	const n = 12_000
	for i := range n {
		mustAppend(t, s, i)
		if i%7 == 0 {
			s.keep()
		}
		if s.tailSize > o.MemoryBytes {
			t.Fatalf("%d bytes in memory", s.tailSize)
		}
	}
	// Someone else takes all that is left, and gives it back.
	hog, err := os.Create(filepath.Join(mount, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 512); ; {
		if _, err := hog.Write(block); errors.Is(err, unix.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		mustAppend(t, s, n+i)
	}
	if err := errors.Join(hog.Close(), os.Remove(hog.Name())); err != nil {
		t.Fatal(err)
	}
	s.keep()
	mustAppend(t, s, n+300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d := drainAll(t, openDisk(t, o))
	lost := d.lostSamples(gohubv1.GapReason_GAP_REASON_SPOOL_FULL)
	if len(d.numbers)+lost != n+301 || lost == 0 || len(d.numbers) < 1000 {
		t.Errorf("%d delivered, %d told lost, %d appended", len(d.numbers), lost, n+301)
	}
	if log.count("the disk is full") == 0 {
		t.Error("not logged")
	}
	t.Logf("%d delivered, %d told lost in %d gaps", len(d.numbers), lost, len(d.gaps))
}

package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Bounds and default of DiskSpoolOptions.MaxBytes. The default holds about a week of samples of an ordinary machine at
// the default interval.
const (
	DefaultSpoolBytes = 256 << 20
	MinSpoolBytes     = 1 << 20
	MaxSpoolBytes     = 64 << 30
)

// A segment is a 64th of the spool, so that making room by whole segments costs little of it, within bounds: the upper
// keeps the reading of one small, the lower keeps their number down.
const (
	segmentsPerSpool = 64
	minSegmentBytes  = 16 << 10
	maxSegmentBytes  = 4 << 20
)

var (
	// ErrSpoolLocked says that another process has the spool.
	ErrSpoolLocked = errors.New("spool is in use by another agent")

	errLocked = errors.New("file is locked")
)

// DiskSpoolOptions configure a DiskSpool.
type DiskSpoolOptions struct {
	AgentID   string
	Directory string
	// MaxBytes bounds the files, MinSpoolBytes to MaxSpoolBytes.
	MaxBytes int64
	// MemoryBytes bounds the batches that are kept in memory while the disk takes none.
	MemoryBytes int64
	// SyncEvery is how often the disk is told to make durable what was written, 0 for after every Append.
	SyncEvery time.Duration
	Logger    *slog.Logger
	Now       func() time.Time

	// For tests: no keeper of its own, no syncs, a smaller spool, and a disk that fails.
	manual  bool
	noSync  bool
	segment int64
	writeAt func(*os.File, []byte, int64) (int, error)
	step    func() // runs after each step that changes the state
}

// DiskSpool is a Spool in a directory, for one process at a time.
//
// # What is durable when
//
// Append writes the batch into the newest segment before it returns: from then on a kill of the process loses nothing. A
// sync follows at once, or within SyncEvery, on the keeper's goroutine, so that a slow disk does not hold up the sampling:
// a power cut loses what was written since the last sync. While the disk takes nothing (full, broken), batches are kept
// in memory, numbered and sendable as ever, and written when it takes them again; a kill loses those.
//
// # Numbers and epochs
//
// Numbers grow through the whole life of the directory, over all its epochs; none is given twice. An epoch is a label on a
// run of segments, and the batches of one go to the server before those of the next:
//
//	          damage, a lost tail, or a reboot without Close              Welcome beyond what can be ours
//	(none) ──────────────▶ epoch A: batches 1…9 ──────────────▶ epoch B: batches 11…40 ──────────────▶ epoch C: 31…
//	                           │ sent first                         │ begins when A is empty, and that is durable
//	                           └────────── acks trim ───────────────┴────────── acks trim ───────────────▶
//
// A server knows one epoch of an agent at a time, so there is no way back: before Begin names the next epoch, the disk has
// confirmed that the one before is done with.
//
// A new epoch begins where it can not be known that every number that was given is known: the state file is lost, or knows
// of newer batches than there are, the last segment is torn or damaged, or the system was restarted without a Close, so
// that writes may be lost. Batches that can be read keep their epoch.
//
// # Restored copies
//
// A directory may come back from an older copy, behind what the server has stored, and two machines may run with copies of
// one directory. Then the same epoch and numbers name different samples. Each stream begins with the server's word which
// batch it stored last, and what its checksum was. The batches here are not the continuation of that if
//
//   - the batch with that number is here, or was the last that was acknowledged, and its checksum is another one; or
//   - nothing is known of its content, and no batch of that number can have been sent from here: it is beyond the newest,
//     or beyond both what is inherited and what this process has given to a stream.
//
// Everything goes on in a new epoch then. Of the batches here,
//
//	1 … acked … committed … inherited  up to committed, the server has those that the original sent, and they are dropped;
//	                                   those after it are sent in the new epoch
//	inherited+1 … newest               taken here, so unknown to the server: all are sent in the new epoch. Only if the
//	                                   server tells no checksum, those that were given to a stream count as stored
//
// Inherited is what was there when the directory was opened for the first time since a server was heard, so it stays where it
// is when the agent is started again before it hears from one.
//
// They keep their numbers, as in every change of the epoch: the server is used to numbers that are missing. So no segment is
// written anew; the change is one write of the state, which sets the cursor and gives segments another label, and is durable
// before the new epoch is told to a server. A kill leaves the state from before it or from after it.
//
// What is not told apart: a copy of the running process, or of its disk, with unsent batches of its own sends those a second
// time in the new epoch.
type DiskSpool struct {
	options  DiskSpoolOptions
	log      *slog.Logger
	segBytes int64
	lock     *os.File
	appended chan struct{} // capacity 1, never closed

	kick    chan struct{} // capacity 1, never closed: there is work for the keeper
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the keeper

	// Locks are taken in this order. reading is Next's, keeping is keep's; neither is held up by the other, and Append
	// waits for neither.
	reading  sync.Mutex
	reader   segmentReader
	offsets  []int64 // of the whole records in the reader's segment, if it is damaged
	salvaged bool
	failures struct {
		segment uint64
		times   int
	}

	keeping  sync.Mutex
	lastSync time.Time

	mu       sync.Mutex
	file     *os.File // of the last segment, nil when the next batch needs a new one
	segments []*segment
	state    *stateFile
	st       spoolState
	retired  []*os.File // full: to sync and close
	garbage  []uint64   // to remove once the state that says so is durable
	urgent   bool       // the state must be durable soon
	newNames bool       // the directory must be
	needRoom bool       // the disk is full
	bytes    int64      // in segments
	onDisk   uint64     // newest number written, or known to be lost
	written  uint64     // number of the last record
	// gapOnDisk is the newest gap number in a batch that was written.
	gapOnDisk uint64
	sending   uint64 // epoch of the stream
	inherited uint64
	handed    uint64    // newest number given to the stream in the epoch sending
	onTheWay  []checked // given to the stream in the epoch sending and not acknowledged
	doubted   []doubt
	moved     bool  // to another epoch, which is not durable yet
	unwritten error // why the state on disk is an older one
	tail      []tailRecord
	tailSize  int64
	refused   map[uint64]struct{} // discarded
	dropped   uint64
	encoded   []byte
	closed    bool
	close     func() error // shut, once

	full         bool
	fullLoggedAt time.Time
	trouble      string // with the disk, as it was logged
	troubleAt    time.Time
}

type segment struct {
	segmentInfo
	id   uint64
	size int64 // what is behind is not valid
}

func segmentPath(directory string, id uint64) string {
	return filepath.Join(directory, fmt.Sprintf("%016x.seg", id))
}

func (s *DiskSpool) path(id uint64) string { return segmentPath(s.options.Directory, id) }

// Appended implements Spool.
func (s *DiskSpool) Appended() <-chan struct{} { return s.appended }

// writeState keeps the state through a kill of the process. A failure is logged and left in unwritten, and the next write makes up
// for it.
func (s *DiskSpool) writeState() {
	s.unwritten = nil
	if err := s.state.write(&s.st); err != nil {
		s.unwritten = fmt.Errorf("write spool state: %w", err)
		s.diskFails(s.unwritten)
	}
	if s.options.step != nil {
		s.options.step()
	}
}

// syncState waits until the state that was written is durable.
func (s *DiskSpool) syncState() error {
	if s.options.noSync {
		return nil
	}
	return s.state.file.Sync()
}

// Newest implements Spool.
func (s *DiskSpool) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.Newest
}

// Trim implements Spool.
func (s *DiskSpool) Trim(through uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSpoolClosed
	}
	s.trim(through)
	return nil
}

func (s *DiskSpool) trim(through uint64) {
	s.settle(through)
	through = min(through, s.lastOfSending())
	if through < s.st.Acked {
		return
	}
	s.st.Acked = through
	for len(s.onTheWay) > 0 && s.onTheWay[0].Seq <= through {
		s.st.Stored, s.onTheWay = s.onTheWay[0], s.onTheWay[1:]
	}
	if len(s.onTheWay) == 0 {
		s.onTheWay = nil // give the memory of a backlog back
	}
	for seq := range s.refused {
		if seq <= through {
			delete(s.refused, seq)
		}
	}
	for len(s.tail) > 0 && s.tail[0].seq <= through {
		s.wrote(s.tail[0].record) // with the server
		s.forgetTail()
	}
	for len(s.segments) > 1 && s.lastOf(0) <= through {
		s.remove()
		s.full = false
	}
	s.writeState()
	if len(s.garbage) > 0 {
		signal(s.kick)
	}
}

// remove takes the oldest segment out. Its file goes when that is durable.
func (s *DiskSpool) remove() {
	oldest := s.segments[0]
	s.segments = s.segments[1:]
	s.bytes -= oldest.size
	s.garbage = append(s.garbage, oldest.id)
	s.st.Removed, s.urgent = oldest.id, true
	s.st.damaged = slices.DeleteFunc(s.st.damaged, func(d damage) bool { return d.Segment <= oldest.id })
	s.st.relabels = slices.DeleteFunc(s.st.relabels, func(r relabel) bool { return r.Through <= oldest.id })
}

// Discard implements Spool. The gaps that the batch carries are told with a later one: a server leaves out what it does not
// like of gaps, so they are not what it refused.
func (s *DiskSpool) Discard(seq uint64) error {
	var batch *gohubv1.Batch
	if seq > 0 {
		var err error
		if batch, err = s.Next(seq - 1); err != nil && !errors.Is(err, ErrEpochDone) {
			return fmt.Errorf("read batch %d to discard it: %w", seq, err)
		}
	}
	if batch.GetSeq() != seq {
		return nil // it is gone already
	}
	told := lostIn(batch.GetGaps())
	told.Refused.add(spanOf(batch.GetSamples()))
	return s.discard(seq, told)
}

// discard has a batch never be sent again, and a later one tell what is lost with it.
func (s *DiskSpool) discard(seq uint64, told lost) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSpoolClosed
	}
	if _, twice := s.refused[seq]; seq > s.st.Acked && seq <= s.st.Newest && !twice {
		s.refused[seq] = struct{}{}
		s.dropped++
		s.st.Pending.add(told)
		s.writeState()
	}
	return nil
}

// Stats implements Spool. Batches counts numbers that were dropped or lost between held ones too; it is 0 when and only
// when nothing is held.
func (s *DiskSpool) Stats() SpoolStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.st.Acked
	switch {
	case len(s.segments) > 0:
		stored = max(stored, s.segments[0].first-1)
	case len(s.tail) > 0:
		stored = max(stored, s.tail[0].seq-1)
	}
	held := int(s.st.Newest-stored) - len(s.refused)
	return SpoolStats{Batches: max(held, 0), Bytes: s.bytes + s.tailSize, Dropped: s.dropped, Durable: len(s.tail) == 0}
}

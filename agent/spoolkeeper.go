package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// retryDisk is how long to wait before a disk that failed is tried again.
const retryDisk = time.Second

// runKeeper does what must not hold up the sampling: it syncs, makes room, removes files, and tries a failed disk again.
// It ends when stop is closed; Close waits for it.
func (s *DiskSpool) runKeeper() {
	defer close(s.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		case <-timer.C:
		}
		if wait := s.options.SyncEvery - time.Since(s.lastSync); wait > 0 && s.options.SyncEvery > 0 {
			timer.Reset(wait)
			select {
			case <-s.stop:
				return
			case <-timer.C:
			}
		}
		if !s.keep() {
			timer.Reset(retryDisk)
		}
	}
}

// keep does the keeper's work once. It is false if something is left to do.
func (s *DiskSpool) keep() (done bool) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.makeRoom()
	synced := s.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return true
	}
	if len(s.tail) > 0 {
		s.flushTail()
		s.writeState()
	}
	if s.needRoom && len(s.segments) > 1 {
		signal(s.kick) // and drop another one
	}
	if synced && len(s.tail) == 0 {
		s.diskWorks()
	}
	return synced && len(s.tail) == 0 && !s.needRoom
}

// makeRoom drops the oldest segments while there is too much. It leaves room for two, which Append may fill before the
// keeper comes round again.
func (s *DiskSpool) makeRoom() {
	for {
		s.mu.Lock()
		tooMuch := s.bytes > s.options.MaxBytes-2*s.segBytes || s.needRoom
		if !tooMuch || len(s.segments) < 2 {
			s.needRoom = false
			s.mu.Unlock()
			return
		}
		oldest := s.segments[0]
		s.mu.Unlock()
		left := readRecords(s.path(oldest.id))
		s.mu.Lock()
		if len(s.segments) > 1 && s.segments[0] == oldest {
			s.drop(left)
			s.needRoom = false
		}
		s.mu.Unlock()
	}
}

// drop gives the oldest segment up, and tells a gap of what is lost with it.
func (s *DiskSpool) drop(left records) {
	s.account(0, left, s.lastOf(0))
	for _, r := range left.records {
		if r.seq <= s.st.Acked {
			continue
		}
		if _, refused := s.refused[r.seq]; refused {
			delete(s.refused, r.seq)
			continue
		}
		told := r.gaps
		told.Full.add(r.span())
		s.lose(r.seq, told)
	}
	reason := "the spool has reached its bound"
	if s.needRoom {
		reason = "the disk is full"
	}
	s.remove()
	s.writeState()
	if now := s.options.Now(); !s.full || now.Sub(s.fullLoggedAt) >= relogDrops {
		s.log.Error("the spool of unsent samples is full: the oldest are dropped", "reason", reason,
			"held_bytes", s.bytes, "max_bytes", s.options.MaxBytes, "dropped_batches", s.dropped)
		s.full, s.fullLoggedAt = true, now
	}
}

// sync makes durable what was written, then removes the files that are not needed any more.
func (s *DiskSpool) sync() (ok bool) {
	s.lastSync = time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return true
	}
	file, retired, garbage, urgent, newNames := s.file, s.retired, s.garbage, s.urgent, s.newNames
	s.retired, s.garbage, s.urgent, s.newNames = nil, nil, false, false
	if s.unwritten != nil {
		s.writeState()
	}
	stateErr := s.unwritten
	s.mu.Unlock()

	var problems []error
	for _, one := range retired {
		problems = append(problems, s.syncFile(one), one.Close())
	}
	if file != nil {
		if err := s.syncFile(file); err != nil {
			problems = append(problems, err)
			s.mu.Lock()
			if s.file == file {
				s.retire() // what a failed sync leaves of a file is not known
			}
			s.mu.Unlock()
		}
	}
	if newNames {
		problems = append(problems, syncDirectory(s.options.Directory))
	}
	if stateErr == nil && (urgent || len(garbage) > 0) {
		stateErr = s.syncState()
	}
	problems = append(problems, stateErr)
	var kept []uint64
	for _, id := range garbage {
		err := stateErr
		if err == nil {
			// On Windows a file can not go while it is being read; it goes the next time.
			err = os.Remove(s.path(id))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			kept = append(kept, id)
		}
	}
	err := errors.Join(problems...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.garbage = append(kept, s.garbage...)
	if err != nil {
		s.urgent, s.newNames = s.urgent || urgent, s.newNames || newNames
		s.diskFails(fmt.Errorf("sync spool: %w", err))
	}
	return err == nil
}

func (s *DiskSpool) syncFile(file *os.File) error {
	if s.options.noSync {
		return nil
	}
	return file.Sync()
}

// diskFails notes a failure, and logs it when it is news.
func (s *DiskSpool) diskFails(err error) {
	kind := "disk error"
	if isDiskFull(err) {
		kind, s.needRoom = "disk full", true
	}
	if now := s.options.Now(); s.trouble != kind || now.Sub(s.troubleAt) >= relogDrops {
		s.log.Error("the spool's disk fails; samples are kept in memory until it works again", "kind", kind,
			"error", err, "directory", s.options.Directory, "memory_bytes", s.options.MemoryBytes)
		s.trouble, s.troubleAt = kind, now
	}
}

func (s *DiskSpool) diskWorks() {
	if s.trouble != "" {
		s.log.Info("the spool's disk works again", "directory", s.options.Directory)
		s.trouble = ""
	}
}

// records is what can be read of a segment.
type records struct {
	info    segmentInfo
	err     error // of the header
	clean   bool
	end     int64 // of the last record
	size    int64
	records []recordPlace
}

type recordPlace struct {
	record
	offset int64
	length int
	gaps   lost
}

// readRecords reads what there is of a segment, without the payloads.
func readRecords(path string) (left records) {
	data, err := readSegmentFile(path)
	if err != nil {
		left.err = fmt.Errorf("%w: %w", errDamaged, err)
		return left
	}
	left.size, left.end = int64(len(data)), min(segmentHeader, int64(len(data)))
	left.info, left.err, left.clean = salvage(data, func(r record, offset int) {
		place := recordPlace{record: r, offset: int64(offset), length: recordHeader + len(r.payload)}
		if r.gap != 0 {
			batch := &gohubv1.Batch{}
			if proto.Unmarshal(r.payload, batch) == nil {
				place.gaps = lostIn(batch.GetGaps())
			}
		}
		place.payload = nil
		left.records = append(left.records, place)
		left.end = place.offset + int64(place.length)
	})
	return left
}

// account tells a gap of the batches that should be in a segment and are not, up to the number expected, but for those
// that were told before. It is true if there is something new to tell.
func (s *DiskSpool) account(i int, left records, expected uint64) bool {
	seg := s.segments[i]
	before, beforeTo := seg.first-1, seg.time-1
	var span lostSpan
	var missing, unacked uint64
	hole := func(through uint64, nextFrom int64) {
		if through <= before {
			return
		}
		missing += through - before
		if through <= s.st.Acked {
			return
		}
		n := through - max(before, s.st.Acked)
		unacked += n
		from := beforeTo + 1
		span.add(lostSpan{From: from, To: max(from, nextFrom-1), Samples: n})
	}
	for _, r := range left.records {
		if !left.clean {
			hole(r.seq-1, r.from)
		}
		before, beforeTo = r.seq, r.to
	}
	nextTime := s.st.NewestTime + 1
	if i+1 < len(s.segments) {
		nextTime = s.segments[i+1].time
	}
	if left.clean && i+1 < len(s.segments) {
		expected = s.segments[i+1].before // numbers after it were never written
	}
	hole(expected, nextTime)
	return s.tell(seg.id, missing, unacked, span)
}

// tell adds a damage to the gap that the next batch carries, unless it was told before.
func (s *DiskSpool) tell(id, missing, unacked uint64, span lostSpan) bool {
	at := -1
	var known uint64
	for i, d := range s.st.damaged {
		if d.Segment == id {
			at, known = i, d.Missing
		}
	}
	if missing <= known {
		return false
	}
	switch {
	case at >= 0:
		s.st.damaged[at].Missing = missing
	default:
		if len(s.st.damaged) == maxDamaged {
			s.st.damaged = s.st.damaged[1:] // it may be told twice then
		}
		s.st.damaged = append(s.st.damaged, damage{id, missing})
	}
	if span.Samples = min(unacked, missing-known); span.Samples > 0 {
		s.st.Pending.Damaged.add(span)
	}
	return true
}

package agent

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// OpenDiskSpool opens the spool in a directory, which is made if need be, and cuts off or works round what is damaged. It
// fails with ErrSpoolLocked if another process has it open, and if the directory can not be used at all. What it holds of
// another agent id is dropped: it was taken on another machine, which still has it.
func OpenDiskSpool(o DiskSpoolOptions) (spool *DiskSpool, err error) {
	if o.AgentID == "" || o.Directory == "" || o.MaxBytes < MinSpoolBytes && o.segment == 0 || o.MaxBytes > MaxSpoolBytes || o.SyncEvery < 0 {
		return nil, fmt.Errorf("disk spool needs an agent id, a directory and %d to %d bytes, got %q, %q and %d",
			MinSpoolBytes, MaxSpoolBytes, o.AgentID, o.Directory, o.MaxBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.writeAt == nil {
		o.writeAt = (*os.File).WriteAt
	}
	s := &DiskSpool{
		options: o, log: o.Logger,
		segBytes: min(max(o.MaxBytes/segmentsPerSpool, minSegmentBytes), maxSegmentBytes),
		appended: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
		refused: make(map[uint64]struct{}),
	}
	s.close = sync.OnceValue(s.shut)
	if o.segment > 0 {
		s.segBytes = o.segment
	}
	if err := os.MkdirAll(o.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	s.lock, err = os.OpenFile(filepath.Join(o.Directory, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close() // err says what went wrong first
		}
	}()
	if err := lockFile(s.lock); errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%w: %s", ErrSpoolLocked, o.Directory)
	} else if err != nil {
		return nil, fmt.Errorf("lock spool: %w", err)
	}
	var known bool
	s.state, s.st, known, err = openState(filepath.Join(o.Directory, "state"))
	if err != nil {
		return nil, fmt.Errorf("open spool state: %w", err)
	}
	if known {
		if err := s.disinherit(); err != nil {
			return nil, errors.Join(err, s.state.file.Close())
		}
	}
	s.st.Owner = ownerOf(o.AgentID)
	if err := s.recover(known); err != nil {
		return nil, errors.Join(err, s.state.file.Close())
	}
	if o.manual {
		close(s.stopped)
	} else {
		go s.runKeeper() // ends with Close, which waits for it
	}
	signal(s.kick)
	return s, nil
}

// ownerOf is a digest of an agent id.
func ownerOf(agentID string) (owner [16]byte) {
	sum := sha256.Sum256([]byte(agentID))
	copy(owner[:], sum[:])
	return owner
}

// disinherit gives up what another agent id has left, and begins a new epoch. The batches are that agent's, which still has
// them where this directory is a copy. The files go when the state that says so is durable.
func (s *DiskSpool) disinherit() error {
	if s.st.Owner == ownerOf(s.options.AgentID) || s.st.Owner == [16]byte{} {
		return nil
	}
	ids, err := s.segmentIDs()
	if err != nil {
		return err
	}
	epoch, err := newEpoch()
	if err != nil {
		return err
	}
	unsent := s.st.Newest - min(s.st.Acked, s.st.Newest)
	s.st.Epoch, s.st.Acked, s.st.Clean = epoch, s.st.Newest, 1
	if n := len(ids); n > 0 {
		s.st.Removed = max(s.st.Removed, ids[n-1])
	}
	s.st.Pending, s.st.Taken, s.st.Doubted, s.st.damaged, s.st.relabels, s.st.Stored = lost{}, lost{}, lost{}, nil, nil, checked{}
	s.st.Owner = ownerOf(s.options.AgentID)
	if err := s.confirm(); err != nil {
		return err
	}
	if unsent > 0 {
		s.log.Warn("dropped the unsent samples that were taken under another agent id; the machine that this one is a copy of still has them",
			"batches", unsent, "directory", s.options.Directory)
	}
	return nil
}

// recover makes sense of the files. known says that the state was found.
func (s *DiskSpool) recover(known bool) error {
	doubt := ""
	suspect := func(reason string, when bool) {
		if when && doubt == "" {
			doubt = reason
		}
	}
	damaged, err := s.listSegments(known)
	if err != nil {
		return err
	}
	suspect("a segment's header is damaged", damaged)
	if boot := bootID(); s.st.Clean == 0 {
		suspect("the system was restarted without a stop of the agent", known && (boot == [16]byte{} || boot != s.st.Boot))
	}

	s.onDisk = max(s.st.Newest, s.st.Acked)
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		left := readRecords(s.path(last.id))
		s.recoverGaps(left)
		found := last.first - 1
		if len(left.records) > 0 {
			found = left.records[len(left.records)-1].seq
			s.written = found
		}
		expected := max(found, s.st.Newest, s.st.Acked)
		if torn := left.end < left.size; torn && expected == found {
			expected++ // the number of what is cut off
		}
		suspect("the newest segment is torn or damaged", !left.clean)
		suspect("the newest batches are missing", known && expected > found)
		s.onDisk = expected
		s.account(n-1, left, expected)
		last.size = left.end
	} else if s.recoverGaps(records{}); s.st.Newest > s.st.Acked {
		suspect("all segments are missing", true)
		n := s.st.Newest - s.st.Acked
		s.tell(0, n, n, lostSpan{From: s.st.NewestTime, To: s.st.NewestTime})
	}
	suspect("the state file is lost", !known && len(s.segments) > 0)
	s.findHoles(known)

	s.st.Newest = max(s.onDisk, s.st.Newest)
	s.inherited = s.st.Newest
	if known && s.st.Unheard != 0 {
		s.inherited = min(s.st.Inherited, s.st.Newest)
	}
	s.st.Inherited, s.st.Unheard = s.inherited, 1
	if !known || doubt != "" {
		if s.st.Epoch, err = newEpoch(); err != nil {
			return err
		}
	}
	if doubt != "" {
		s.log.Warn("the spool was not closed well; what can be read is kept, new samples go under a new epoch",
			"reason", doubt, "directory", s.options.Directory, "lost_samples", s.st.Pending.Damaged.Samples)
	}
	if n := len(s.segments); doubt == "" && known && n > 0 && s.epochOf(s.segments[n-1]) == s.st.Epoch {
		// Go on in it; if it can not be opened, the next batch begins a new one.
		s.file, _ = os.OpenFile(s.path(s.segments[n-1].id), os.O_RDWR, 0)
	}
	s.sending = s.oldestEpoch()
	s.st.Pending.add(s.st.Doubted) // which of it is stored is not known any more
	s.st.Doubted = lost{}
	s.st.Clean, s.st.Boot = 0, bootID()
	for range 2 {
		if err := s.state.write(&s.st); err != nil {
			return fmt.Errorf("write spool state: %w", err)
		}
	}
	return errors.Join(s.syncState(), syncDirectory(s.options.Directory))
}

// segmentIDs are the numbers of the segment files, in order.
func (s *DiskSpool) segmentIDs() (ids []uint64, err error) {
	entries, err := os.ReadDir(s.options.Directory)
	if err != nil {
		return nil, fmt.Errorf("read spool directory: %w", err)
	}
	for _, entry := range entries {
		name, isSegment := strings.CutSuffix(entry.Name(), ".seg")
		if id, err := strconv.ParseUint(name, 16, 64); isSegment && err == nil && len(name) == 16 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// listSegments finds the segments, oldest first, by their headers. damaged says that one was not whole.
func (s *DiskSpool) listSegments(known bool) (damaged bool, err error) {
	ids, err := s.segmentIDs()
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		path := s.path(id)
		if id <= s.st.Removed || id == 0 {
			s.garbage = append(s.garbage, id)
			continue
		}
		one, whole, err := s.openSegment(id)
		if err != nil {
			return false, err
		}
		damaged = damaged || !whole
		if one == nil {
			_ = os.Remove(path) // there is nothing in it
			continue
		}
		s.segments = append(s.segments, one)
		s.bytes += one.size
	}
	if !known && len(s.segments) > 0 {
		s.st.Removed = s.segments[0].id - 1
		s.st.Acked = s.segments[0].first - 1
	}
	return damaged, nil
}

// openSegment looks at a segment's header, or at its records where the header is damaged. It returns nil for one that
// has neither, or does not come after the one before.
func (s *DiskSpool) openSegment(id uint64) (one *segment, whole bool, err error) {
	one = &segment{id: id}
	var before uint64
	if len(s.segments) > 0 {
		before = s.last().first
	}
	file, err := os.Open(s.path(id))
	if err == nil {
		var stat os.FileInfo
		header := make([]byte, segmentHeader)
		if _, err = io.ReadFull(io.NewSectionReader(file, 0, segmentHeader), header); err == nil {
			one.segmentInfo, err = parseSegmentHeader(header)
		}
		if stat, _ = file.Stat(); stat != nil {
			one.size = stat.Size()
		}
		_ = file.Close() // it was only read
	}
	switch {
	case errors.Is(err, errSegmentVersion):
		return nil, false, fmt.Errorf("%w in %s: a newer agent wrote it", err, s.path(id))
	case err == nil && one.first > before:
		return one, true, nil
	}
	left := readRecords(s.path(id))
	if len(left.records) == 0 || left.records[0].seq <= before {
		return nil, false, nil
	}
	first := left.records[0]
	one.segmentInfo = segmentInfo{epoch: first.epoch, first: first.seq, time: first.from}
	if len(s.segments) == 0 && s.st.Acked < first.seq {
		one.first = s.st.Acked + 1 // any before the first that can be read are lost, too
	} else if len(s.segments) > 0 {
		one.first = before + 1
		if earlier := readRecords(s.path(s.last().id)).records; len(earlier) > 0 {
			newest := earlier[len(earlier)-1]
			one.first, one.time = min(newest.seq+1, first.seq), newest.to+1
		}
	}
	return one, false, nil
}

// findHoles tells gaps of segments whose files are missing: their numbers are consecutive.
func (s *DiskSpool) findHoles(known bool) {
	previous := s.st.Removed
	for i, one := range s.segments {
		if one.id != previous+1 && (known || i > 0) {
			stored, storedTo := s.st.Acked, one.time-1
			if i > 0 {
				stored, storedTo = max(stored, s.segments[i-1].first-1), s.segments[i-1].time
				left := readRecords(s.path(previous))
				if n := len(left.records); n > 0 {
					stored, storedTo = max(stored, left.records[n-1].seq), left.records[n-1].to
				}
			}
			if one.first-1 > stored {
				n := one.first - 1 - stored
				s.tell(one.id-1, n, n, lostSpan{From: storedTo + 1, To: max(storedTo+1, one.time-1)})
			}
		}
		previous = one.id
	}
}

// recoverGaps finds out whether the gaps that were waiting are in a batch on disk.
func (s *DiskSpool) recoverGaps(left records) {
	newest := left.info.gap
	for _, r := range left.records {
		newest = max(newest, r.gap)
	}
	if newest > s.st.GapNumber { // the state is older than the batch
		s.st.GapNumber, s.st.Taken, s.st.Pending = newest, lost{}, lost{}
	}
	if newest < s.st.GapNumber && s.st.Acked < s.st.TakenSeq {
		s.st.Pending.add(s.st.Taken)
	}
	s.st.Taken, s.gapOnDisk = lost{}, s.st.GapNumber
}

// Close implements Spool.
func (s *DiskSpool) Close() error { return s.close() }

// shut ends the keeper, makes everything durable, and says so in the state.
func (s *DiskSpool) shut() error {
	if !s.options.manual {
		close(s.stop)
	}
	<-s.stopped
	s.keep()
	s.keep() // of what the first one has begun anew
	s.reading.Lock()
	defer s.reading.Unlock()
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.reader.close()
	var lostBatches error
	if len(s.tail) > 0 {
		lostBatches = fmt.Errorf("close spool: %d batches could not be written", len(s.tail))
		for len(s.tail) > 0 {
			s.loseTail()
		}
	} else if s.trouble == "" {
		s.st.Clean = 1
	}
	err := s.state.write(&s.st)
	err = errors.Join(err, s.syncState(), s.closeFiles())
	if err != nil {
		err = fmt.Errorf("close spool: %w", err)
	}
	return errors.Join(lostBatches, err)
}

func (s *DiskSpool) closeFiles() error {
	s.retire()
	var problems []error
	for _, file := range append(s.retired, s.state.file, s.lock) {
		problems = append(problems, file.Close())
	}
	return errors.Join(problems...)
}

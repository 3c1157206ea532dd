package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
)

// epochOf is the epoch of a segment's batches.
func (s *DiskSpool) epochOf(segment *segment) uint64 {
	for _, r := range slices.Backward(s.st.relabels) {
		if r.From <= segment.id && segment.id <= r.Through {
			return r.Epoch
		}
	}
	return segment.epoch
}

// lastOf is a number that no batch of the segment is over, and every batch of the next one is.
func (s *DiskSpool) lastOf(i int) uint64 {
	if i+1 < len(s.segments) {
		return s.segments[i+1].first - 1
	}
	return s.onDisk
}

// after is the first segment that may have a batch with a greater number.
func (s *DiskSpool) after(seq uint64) int {
	return sort.Search(len(s.segments), func(i int) bool { return s.lastOf(i) > seq })
}

// lastOfSending is lastOf for the epoch that is being sent.
func (s *DiskSpool) lastOfSending() uint64 {
	if s.sending == s.st.Epoch {
		return s.st.Newest
	}
	last := s.st.Acked
	for i := s.after(s.st.Acked); i < len(s.segments) && s.epochOf(s.segments[i]) == s.sending; i++ {
		last = s.lastOf(i)
	}
	return last
}

// oldestEpoch is that of the oldest batch held.
func (s *DiskSpool) oldestEpoch() uint64 {
	if i := s.after(s.st.Acked); i < len(s.segments) {
		return s.epochOf(s.segments[i])
	}
	return s.st.Epoch
}

// Begin implements Spool.
func (s *DiskSpool) Begin() (uint64, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, ErrSpoolClosed
	}
	epoch := s.oldestEpoch()
	if epoch == s.sending && !s.moved {
		s.mu.Unlock()
		return epoch, nil
	}
	s.mu.Unlock()
	if err := s.confirm(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.despair(0) // the server forgets the epoch before
	s.sending, s.handed, s.onTheWay = epoch, 0, nil
	return epoch, nil
}

// writeStateTwice leaves no slot with an older state.
func (s *DiskSpool) writeStateTwice() error {
	s.writeState()
	first := s.unwritten
	s.writeState()
	return errors.Join(first, s.unwritten)
}

// confirm makes the state durable, and leaves no slot with an older one. What a server is told may rest on it only after that.
func (s *DiskSpool) confirm() error {
	s.mu.Lock()
	err := s.writeStateTwice()
	s.mu.Unlock()
	if err == nil {
		err = s.syncState()
	}
	if err != nil {
		return fmt.Errorf("make the spool's state durable: %w", err)
	}
	s.mu.Lock()
	s.moved = false
	s.mu.Unlock()
	return nil
}

// Resume implements Spool; the type's comment says how a copy is told, and what becomes of it.
func (s *DiskSpool) Resume(committed uint64, checksum uint32) error {
	ours := s.checksumOf(committed)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrSpoolClosed
	}
	foreign := false
	if ours != 0 && checksum != 0 {
		foreign = ours != checksum
	} else if s.sending == s.st.Epoch {
		foreign = committed > max(s.inherited, s.handed)
	}
	heard := s.st.Unheard == 0
	s.st.Unheard = 0
	if !foreign {
		s.trim(committed)
		if committed > 0 && checksum != 0 {
			s.st.Stored = checked{s.sending, committed, checksum}
			heard = false
		}
		if !heard {
			s.writeState()
		}
		s.mu.Unlock()
		return nil
	}
	bound := min(committed, s.inherited)
	if checksum == 0 {
		bound = min(committed, max(s.inherited, s.handed))
	}
	bound = max(bound, s.st.Acked)
	from, old := s.st.Acked, s.sending
	err := s.moveOn(bound)
	kept := s.st.Newest - bound
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.log.Warn("the server has stored other batches than these under the same numbers: the spool was set back to an older copy, or another machine runs with a copy of it; what is new here goes on under a new epoch",
		"stored_through", committed, "old_epoch", old, "dropped_as_stored_already", bound-from, "go_on", kept,
		"hint", "if this machine is a copy of another one, stop the agent, delete its state directory (the one that holds the spool), and start it: it is a host of its own then",
		"directory", s.options.Directory)
	if err := s.confirm(); err != nil {
		return err // and Begin tries again before it names the new epoch
	}
	return ErrEpochDone
}

// moveOn gives every batch of the epoch that is being sent over the bound to a new epoch, and the others up.
func (s *DiskSpool) moveOn(bound uint64) error {
	if len(s.st.relabels) == maxRelabels {
		return fmt.Errorf("%w, again: the spool has changed its epoch %d times without getting empty", errForeignEpoch, maxRelabels)
	}
	epoch, err := newEpoch()
	if err != nil {
		return err
	}
	first := s.after(bound)
	end := first
	for end < len(s.segments) && s.epochOf(s.segments[end]) == s.sending {
		end++
	}
	if end > first {
		s.st.relabels = append(s.st.relabels, relabel{s.segments[first].id, s.segments[end-1].id, epoch})
	}
	if s.sending == s.st.Epoch {
		if end == first {
			s.retire() // it is all of the old epoch
		}
		s.st.Epoch = epoch
	}
	s.sending, s.handed, s.onTheWay = epoch, 0, nil
	s.st.Acked, s.st.Stored = max(s.st.Acked, bound), checked{}
	s.moved = true
	s.trim(bound)
	return nil
}

// checksumOf is that of a batch of the epoch that is being sent, 0 if it is not known. It reads the disk.
func (s *DiskSpool) checksumOf(seq uint64) uint32 {
	s.mu.Lock()
	if s.st.Stored.Epoch == s.sending && s.st.Stored.Seq == seq {
		defer s.mu.Unlock()
		return s.st.Stored.Checksum
	}
	for i := range s.tail {
		if s.tail[i].seq == seq {
			defer s.mu.Unlock()
			return batchChecksum(s.tail[i].bytes[recordHeader:])
		}
	}
	i := len(s.segments)
	if seq > 0 {
		i = s.after(seq - 1)
	}
	if i == len(s.segments) || s.epochOf(s.segments[i]) != s.sending {
		s.mu.Unlock()
		return 0
	}
	in := *s.segments[i]
	s.mu.Unlock()
	file, err := os.Open(s.path(in.id))
	if err != nil {
		return 0
	}
	reader := segmentReader{file: file, id: in.id, at: segmentHeader}
	defer reader.close()
	for {
		r, err := reader.next(in.epoch, in.size)
		if err != nil || r.seq > seq {
			return 0
		}
		if r.seq == seq {
			return batchChecksum(r.payload)
		}
	}
}

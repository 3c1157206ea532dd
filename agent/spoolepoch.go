package agent

import (
	"fmt"
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
	if epoch == s.sending {
		s.mu.Unlock()
		return epoch, nil
	}
	s.writeStateTwice()
	s.mu.Unlock()
	if err := s.syncState(); err != nil {
		return 0, fmt.Errorf("sync spool state: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending, s.handed = epoch, 0
	return epoch, nil
}

// writeStateTwice leaves no slot with an older state.
func (s *DiskSpool) writeStateTwice() {
	s.writeState()
	s.writeState()
}

// Resume implements Spool; the type's comment says how a restored copy is told.
func (s *DiskSpool) Resume(committed uint64) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrSpoolClosed
	}
	bound := max(s.atOpen, s.handed)
	if s.sending != s.st.Epoch || committed <= bound {
		s.trim(committed)
		s.mu.Unlock()
		return nil
	}
	err := s.moveOn(bound)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.log.Warn("the server has stored more of this spool than was ever sent from here: it is an older copy; what is new here goes on under a new epoch",
		"stored_through", committed, "newest_ours", bound)
	if err := s.syncState(); err != nil {
		return fmt.Errorf("sync spool state: %w", err)
	}
	return ErrEpochDone
}

// moveOn gives every batch over the bound to a new epoch.
func (s *DiskSpool) moveOn(bound uint64) error {
	if len(s.st.relabels) == maxRelabels {
		return fmt.Errorf("%w, again: the spool has changed its epoch %d times without getting empty", errForeignEpoch, maxRelabels)
	}
	epoch, err := newEpoch()
	if err != nil {
		return err
	}
	if i := s.after(bound); i < len(s.segments) {
		s.st.relabels = append(s.st.relabels, relabel{s.segments[i].id, s.last().id, epoch})
	} else {
		s.retire() // it is all of the old epoch
	}
	s.st.Epoch, s.sending, s.handed = epoch, epoch, 0
	s.st.Acked = max(s.st.Acked, bound)
	s.writeStateTwice()
	s.trim(bound)
	return nil
}

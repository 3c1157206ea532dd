package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// unreadableTries is how often a disk error may stop Next before the segment is taken for damaged.
const unreadableTries = 3

// located is where the next batch may be.
type located struct {
	segment segment
	last    uint64
	written uint64 // the last record that must be in it, 0 if that is not known
	epoch   uint64
	tail    *tailRecord
	none    bool
	acked   uint64
}

func (s *DiskSpool) locate(after uint64) (located, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return located{}, ErrSpoolClosed
	}
	s.despair(after)
	l := located{epoch: s.sending, acked: s.st.Acked}
	after = max(after, s.st.Acked)
	if i := s.after(after); i < len(s.segments) {
		if s.epochOf(s.segments[i]) != s.sending {
			return l, ErrEpochDone
		}
		l.segment, l.last = *s.segments[i], s.lastOf(i)
		if i+1 < len(s.segments) {
			l.written = s.segments[i+1].before
		}
		return l, nil
	}
	if s.sending != s.st.Epoch {
		return l, ErrEpochDone
	}
	for i := range s.tail {
		if _, refused := s.refused[s.tail[i].seq]; s.tail[i].seq > after && !refused {
			one := s.tail[i] // its bytes are not changed before it is written, and the payload never
			l.tail = &one
			return l, nil
		}
	}
	l.none = true
	return l, nil
}

// Next implements Spool.
func (s *DiskSpool) Next(after uint64) (*gohubv1.Batch, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	first := true
	nothingOut := false // every batch up to after is stored
	for {
		l, err := s.locate(after)
		if first {
			first, nothingOut = false, after <= l.acked
		}
		after = max(after, l.acked)
		if errors.Is(err, ErrEpochDone) || l.none {
			if nothingOut && after > l.acked {
				s.passOver(after)
			}
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		if l.tail != nil {
			batch, err := s.decode(&l, l.tail.seq, l.tail.bytes[recordHeader:])
			if batch == nil && err == nil { // written or dropped meanwhile
				continue
			}
			return batch, err
		}
		r, err := s.read(&l, after)
		switch {
		case errors.Is(err, io.EOF):
			if s.reader.last < l.written && !s.salvaged { // it is shorter than it was
				s.salvageSegment(l.segment.id)
				continue
			}
			after = l.last
			continue
		case errors.Is(err, os.ErrNotExist) && !s.holds(l.segment.id):
			continue // dropped meanwhile
		case err != nil:
			if !errors.Is(err, errDamaged) && !errors.Is(err, os.ErrNotExist) && !s.givenUp(l.segment.id) {
				return nil, fmt.Errorf("read segment %d: %w", l.segment.id, err)
			}
			s.salvageSegment(l.segment.id)
			continue
		}
		batch, err := s.decode(&l, r.seq, r.payload)
		if err != nil { // its CRC is right: it was written so, and will never be another
			s.log.Error("a batch of the spool makes no sense and is given up", "error", err)
			if err := s.discard(r.seq, lost{Damaged: r.span()}); err != nil {
				return nil, err
			}
			continue
		}
		if batch == nil { // dropped meanwhile, and told lost
			continue
		}
		return batch, nil
	}
}

// passOver takes batches that are gone, up to seq, for done with: nothing before it is on the way.
func (s *DiskSpool) passOver(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(seq)
}

func (s *DiskSpool) holds(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.segments, func(one *segment) bool { return one.id == id })
}

// givenUp counts a disk error of a segment, and says whether it was one too many.
func (s *DiskSpool) givenUp(id uint64) bool {
	s.reader.close()
	if s.failures.segment != id {
		s.failures.segment, s.failures.times = id, 0
	}
	s.failures.times++
	return s.failures.times >= unreadableTries
}

// decode gives a batch to the stream, nil if it is not held any more where it was located.
func (s *DiskSpool) decode(l *located, seq uint64, payload []byte) (*gohubv1.Batch, error) {
	epoch, batch := l.epoch, &gohubv1.Batch{}
	if err := proto.Unmarshal(payload, batch); err != nil {
		return nil, fmt.Errorf("decode batch %d: %w", seq, err)
	}
	batch.AgentId, batch.Epoch, batch.Seq, batch.Checksum = s.options.AgentID, epoch, seq, batchChecksum(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.tail != nil && !slices.ContainsFunc(s.tail, func(one tailRecord) bool { return one.seq == seq }) {
		return nil, nil // it may have been told lost
	}
	if epoch == s.sending && seq > s.st.Acked {
		if len(s.segments) > 0 && seq < s.segments[0].first {
			return nil, nil
		}
		s.handed = max(s.handed, seq)
		if n := len(s.onTheWay); n == 0 || s.onTheWay[n-1].Seq < seq { // or it is sent again
			s.onTheWay = append(s.onTheWay, checked{epoch, seq, batch.Checksum})
		}
	}
	return batch, nil
}

// read returns the first record after the number in a segment.
func (s *DiskSpool) read(l *located, after uint64) (record, error) {
	if s.salvaged && s.reader.id == l.segment.id && len(s.offsets) == 0 {
		return record{}, io.EOF
	}
	if s.reader.file == nil || s.reader.id != l.segment.id || s.reader.last > after {
		if s.reader.id != l.segment.id {
			s.offsets, s.salvaged = nil, false
		}
		s.reader.close()
		file, err := os.Open(s.path(l.segment.id))
		if err != nil {
			return record{}, err
		}
		s.reader.file, s.reader.id, s.reader.at = file, l.segment.id, segmentHeader
	}
	for {
		var left int
		if s.salvaged {
			left = sort.Search(len(s.offsets), func(i int) bool { return s.offsets[i] >= s.reader.at })
			if left == len(s.offsets) {
				return record{}, io.EOF
			}
			s.reader.at = s.offsets[left]
		}
		r, err := s.reader.next(l.segment.epoch, l.segment.size)
		if err != nil && s.salvaged { // it could be read a moment ago
			s.offsets = slices.Delete(s.offsets, left, left+1)
			continue
		}
		if err != nil {
			return r, err
		}
		s.mu.Lock()
		_, refused := s.refused[r.seq]
		s.mu.Unlock()
		if r.seq > after && !refused {
			return r, nil
		}
	}
}

// salvageSegment prepares the reading of what is left of a damaged segment, and tells a gap of what is not.
func (s *DiskSpool) salvageSegment(id uint64) {
	s.mu.Lock()
	if s.file != nil && s.last().id == id {
		s.retire() // nothing more goes into it
	}
	s.mu.Unlock()
	left := readRecords(s.path(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.segments, func(one *segment) bool { return one.id == id })
	if i < 0 {
		return
	}
	if s.account(i, left, s.lastOf(i)) {
		s.log.Error("a part of the spool can not be read back", "file", s.path(id), "readable_batches", len(left.records))
	}
	_ = s.writeStateTwice() // the keeper makes it durable
	s.urgent = true
	s.reader.close()
	s.reader.id = id
	s.offsets, s.salvaged = make([]int64, 0, len(left.records)), true
	for _, r := range left.records {
		if r.offset+int64(r.length) <= s.segments[i].size {
			s.offsets = append(s.offsets, r.offset)
		}
	}
	signal(s.kick)
}

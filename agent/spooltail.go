package agent

import (
	"slices"
)

// tailRecord is a batch that is not on disk.
type tailRecord struct {
	record
	bytes []byte // room for the header, then the payload
}

// keepInMemory holds a batch that the disk does not take.
func (s *DiskSpool) keepInMemory(r record, b []byte) {
	s.tail = append(s.tail, tailRecord{r, slices.Clone(b)})
	s.tailSize += int64(len(b))
	for s.tailSize > s.options.MemoryBytes && len(s.tail) > 1 {
		s.loseTail()
	}
}

// loseTail drops the oldest batch in memory.
func (s *DiskSpool) loseTail() {
	oldest := s.tail[0]
	told := lost{Full: oldest.span()}
	if oldest.gap != 0 {
		told.add(s.st.Taken)
		s.st.Taken = lost{}
	}
	s.lose(oldest.seq, told)
	s.forgetTail()
}

func (s *DiskSpool) forgetTail() {
	s.tailSize -= int64(len(s.tail[0].bytes))
	s.tail[0] = tailRecord{}
	if s.tail = s.tail[1:]; len(s.tail) == 0 {
		s.tail = nil // give the memory back
	}
}

// flushTail writes what is in memory, as far as the disk takes it.
func (s *DiskSpool) flushTail() {
	for len(s.tail) > 0 {
		oldest := &s.tail[0]
		if err := s.put(&oldest.record, oldest.bytes); err != nil {
			s.diskFails(err)
			return
		}
		s.wrote(oldest.record)
		s.forgetTail()
	}
}

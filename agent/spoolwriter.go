package agent

import (
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Append implements Spool. It waits for a write at most, never for a sync.
func (s *DiskSpool) Append(samples ...*gohubv1.Sample) (uint64, error) {
	seq, over, err := s.append(samples)
	if over {
		s.keep()
	}
	signal(s.kick)
	return seq, err
}

func (s *DiskSpool) append(samples []*gohubv1.Sample) (seq uint64, over bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false, ErrSpoolClosed
	}
	span := spanOf(samples)
	r := record{seq: s.st.Newest + 1, samples: uint32(len(samples)), from: span.From, to: span.To}
	if len(samples) == 0 {
		r.from = s.options.Now().UnixMilli()
		r.to = r.from
	}
	batch := gohubv1.Batch{Samples: samples}
	attach := s.st.Taken.empty() && !s.st.Pending.empty()
	if attach {
		batch.Gaps = s.st.Pending.gaps()
	}
	if cap(s.encoded) < recordHeader {
		s.encoded = make([]byte, 0, 8<<10)
	}
	b, err := proto.MarshalOptions{}.MarshalAppend(s.encoded[:recordHeader], &batch)
	if err == nil && len(b) > recordHeader+maxPayload {
		err = fmt.Errorf("it has %d bytes, the limit is %d", len(b), maxPayload)
	}
	if err != nil {
		s.st.Pending.Full.add(r.span())
		return 0, false, fmt.Errorf("encode batch %d: %w", r.seq, err)
	}
	s.encoded = b
	if attach {
		s.st.GapNumber++
		r.gap = s.st.GapNumber
		s.st.Taken, s.st.TakenSeq, s.st.Pending = s.st.Pending, r.seq, lost{}
	}
	s.st.Newest, s.st.NewestTime = r.seq, r.to
	s.flushTail()
	if len(s.tail) > 0 {
		s.keepInMemory(r, b)
	} else if err := s.put(&r, b); err != nil {
		s.diskFails(err)
		s.keepInMemory(r, b)
	} else {
		s.wrote(r)
	}
	s.writeState()
	signal(s.appended)
	return r.seq, s.bytes > s.options.MaxBytes, nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // the receiver has not taken the last one yet
	}
}

// wrote forgets that a batch's gaps might be lost.
func (s *DiskSpool) wrote(r record) {
	if r.gap != 0 {
		s.st.Taken, s.urgent = lost{}, true
	}
}

// put writes a record into the last segment, or a new one.
func (s *DiskSpool) put(r *record, b []byte) error {
	if s.file == nil || s.last().size > segmentHeader && s.last().size+int64(len(b)) > s.segBytes {
		if err := s.begin(r); err != nil {
			return err
		}
	}
	last := s.last()
	r.epoch = last.epoch
	putRecordHeader(b, r)
	if _, err := s.options.writeAt(s.file, b, last.size); err != nil {
		if s.file.Truncate(last.size) != nil {
			s.retire() // nothing may be written behind half a record
		}
		return fmt.Errorf("write batch: %w", err)
	}
	last.size += int64(len(b))
	s.bytes += int64(len(b))
	s.onDisk, s.written = r.seq, r.seq
	s.gapOnDisk = max(s.gapOnDisk, r.gap)
	return nil
}

func (s *DiskSpool) last() *segment { return s.segments[len(s.segments)-1] }

// retire ends the writing to the last segment.
func (s *DiskSpool) retire() {
	if s.file != nil {
		s.retired = append(s.retired, s.file)
		s.file = nil
	}
}

// begin makes a new segment for a record.
func (s *DiskSpool) begin(r *record) error {
	s.retire()
	id := s.st.Removed + 1
	if len(s.segments) > 0 {
		id = s.last().id + 1
	}
	info := segmentInfo{epoch: s.st.Epoch, first: r.seq, gap: s.gapOnDisk, time: r.from, before: s.written}
	file, err := os.OpenFile(s.path(id), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make segment: %w", err)
	}
	if _, err := s.options.writeAt(file, info.encode(), 0); err != nil {
		return fmt.Errorf("make segment: %w", errors.Join(err, file.Close(), os.Remove(file.Name())))
	}
	s.file, s.newNames = file, true
	s.segments = append(s.segments, &segment{segmentInfo: info, id: id, size: segmentHeader})
	s.bytes += segmentHeader
	return nil
}

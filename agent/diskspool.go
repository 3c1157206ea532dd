package agent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

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

// unreadableTries is how often a disk error may stop Next before the segment is taken for damaged.
const unreadableTries = 3

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
// A directory may come back from an older copy, of the same epoch, behind what the server has stored. Then
//
//	1 … acked … atOpen        in the copy: the same batches that the original sent, or would have
//	atOpen+1 … newest         taken since this process opened it: new samples under numbers the original gave too
//
// Of the second kind, those up to handed were given to a stream after a Welcome, and are this process's. So a server that
// says committed > max(atOpen, handed) talks of the original's batches. Resume then takes everything up to that bound for
// stored, which it is, and moves everything after it, unsent so far, into a new epoch under its old numbers: a relabel in
// the state file, written before anything else. A server that says less confirms this spool's own batches. What is not told
// apart: a copy of the running process (a live snapshot) with unsent batches sends those a second time in the new epoch.
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
	atOpen    uint64
	handed    uint64 // newest number given to the stream in the epoch sending
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

// tailRecord is a batch that is not on disk.
type tailRecord struct {
	record
	bytes []byte // room for the header, then the payload
}

func segmentPath(directory string, id uint64) string {
	return filepath.Join(directory, fmt.Sprintf("%016x.seg", id))
}

func (s *DiskSpool) path(id uint64) string { return segmentPath(s.options.Directory, id) }

// Appended implements Spool.
func (s *DiskSpool) Appended() <-chan struct{} { return s.appended }

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
	r := record{seq: s.st.Newest + 1, samples: uint32(len(samples))}
	for i, sample := range samples {
		t := sample.GetTimeUnixMillis()
		if i == 0 {
			r.from, r.to = t, t
		}
		r.from, r.to = min(r.from, t), max(r.to, t)
	}
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
		s.st.Pending.Full.add(lostSpan{r.from, r.to, uint64(r.samples)})
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

// keepInMemory holds a batch that the disk does not take.
func (s *DiskSpool) keepInMemory(r record, b []byte) {
	s.tail = append(s.tail, tailRecord{r, slices.Clone(b)})
	s.tailSize += int64(len(b))
	for s.tailSize > s.options.MemoryBytes && len(s.tail) > 1 {
		s.loseTail()
		s.dropped++
	}
}

// loseTail tells a gap of the oldest batch in memory.
func (s *DiskSpool) loseTail() {
	oldest := s.tail[0]
	s.st.Pending.Full.add(lostSpan{oldest.from, oldest.to, uint64(oldest.samples)})
	if oldest.gap != 0 {
		s.st.Pending.add(s.st.Taken)
		s.st.Taken = lost{}
	}
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

func (s *DiskSpool) writeState() {
	if err := s.state.write(&s.st); err != nil {
		s.diskFails(fmt.Errorf("write spool state: %w", err))
	}
}

// syncState waits until the state that was written is durable.
func (s *DiskSpool) syncState() error {
	if s.options.noSync {
		return nil
	}
	return s.state.file.Sync()
}

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
			return s.decode(l.tail.seq, l.epoch, l.tail.bytes[recordHeader:])
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
		batch, err := s.decode(r.seq, l.epoch, r.payload)
		if err != nil { // its CRC is right: it was written so, and will never be another
			s.log.Error("a batch of the spool makes no sense and is given up", "error", err)
			if err := s.Discard(r.seq); err != nil {
				return nil, err
			}
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

func (s *DiskSpool) decode(seq, epoch uint64, payload []byte) (*gohubv1.Batch, error) {
	batch := &gohubv1.Batch{}
	if err := proto.Unmarshal(payload, batch); err != nil {
		return nil, fmt.Errorf("decode batch %d: %w", seq, err)
	}
	batch.AgentId, batch.Epoch, batch.Seq = s.options.AgentID, epoch, seq
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch == s.sending {
		s.handed = max(s.handed, seq)
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
	s.writeStateTwice()
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
	through = min(through, s.lastOfSending())
	if through < s.st.Acked {
		return
	}
	s.st.Acked = through
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

// Discard implements Spool. A batch that is discarded takes the gaps it carries with it: they may be what is refused.
func (s *DiskSpool) Discard(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSpoolClosed
	}
	if _, twice := s.refused[seq]; seq > s.st.Acked && seq <= s.st.Newest && !twice {
		s.refused[seq] = struct{}{}
		s.dropped++
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

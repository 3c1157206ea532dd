package agent

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// ErrSpoolClosed is returned by a spool that has been closed.
var ErrSpoolClosed = errors.New("spool is closed")

// ErrEpochDone says that a stream has nothing more to send, and another one may.
var ErrEpochDone = errors.New("nothing is left of the epoch")

// Spool keeps batches from when their samples are taken until the server has stored them. Batches are numbered from 1
// within the spool's epoch; (agent id, epoch, number) names a batch and its content for ever, so what is sent again is
// exactly what was sent before. A full spool makes room by dropping its oldest batches.
//
// A spool can hold batches of more than one epoch. A stream carries one of them, from Begin until Next says ErrEpochDone.
//
// Implementations are safe for concurrent use.
type Spool interface {
	// Begin returns the epoch of the oldest batch held, for a stream to begin with. What Next, Resume and Trim mean by a
	// number is of that epoch until the next Begin.
	Begin() (epoch uint64, err error)
	// Resume takes the server's word, given in answer to the epoch, that the batches up to committed are stored, and that
	// checksum came with the last of them, 0 for not known. It returns ErrEpochDone if the stream must begin anew.
	Resume(committed uint64, checksum uint32) error
	// Append numbers the samples as the next batch and keeps it.
	Append(samples ...*gohubv1.Sample) (seq uint64, err error)
	// Next returns the oldest batch held whose number is greater than after, nil if there is none. It returns ErrEpochDone
	// if there will never be one, as new batches are of another epoch.
	Next(after uint64) (*gohubv1.Batch, error)
	// Newest is the number that was given last, 0 for none.
	Newest() uint64
	// Trim forgets the batches up to and with the number: the server has stored them.
	Trim(through uint64) error
	// Discard forgets one batch that the server will never take. A spool that outlives the process tells the server of it
	// with a gap.
	Discard(seq uint64) error
	// Appended has a value after an Append. One receiver.
	Appended() <-chan struct{}
	// Stats says what is held, and what was lost.
	Stats() SpoolStats
	// Close ends the use of the spool.
	Close() error
}

// SpoolStats is the state of a spool.
type SpoolStats struct {
	Batches int   // held
	Bytes   int64 // held, encoded
	Dropped uint64
	Durable bool // what is held outlives the process
}

// MemorySpoolOptions configure a MemorySpool.
type MemorySpoolOptions struct {
	AgentID  string
	MaxBytes int64        // of encoded batches; the newest batch is held whatever its size
	Logger   *slog.Logger // takes the news that batches are dropped
	Now      func() time.Time
}

// MemorySpool is a Spool that does not outlive the process.
type MemorySpool struct {
	options  MemorySpoolOptions
	epoch    uint64
	appended chan struct{} // capacity 1, never closed

	mu       sync.Mutex
	held     []heldBatch // by seq, which has gaps
	bytes    int64
	newest   uint64
	dropped  uint64
	closed   bool
	full     bool // batches have been dropped since there was room
	loggedAt time.Time
}

type heldBatch struct {
	seq     uint64
	encoded []byte // without what the spool knows by itself: agent id, epoch, seq, checksum
}

// relogDrops is how often a spool that stays full says so.
const relogDrops = 10 * time.Minute

// NewMemorySpool returns an empty spool with a new epoch.
func NewMemorySpool(o MemorySpoolOptions) (*MemorySpool, error) {
	if o.AgentID == "" || o.MaxBytes <= 0 {
		return nil, fmt.Errorf("memory spool needs an agent id and room, got %q and %d bytes", o.AgentID, o.MaxBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	epoch, err := newEpoch()
	if err != nil {
		return nil, err
	}
	return &MemorySpool{options: o, epoch: epoch, appended: make(chan struct{}, 1)}, nil
}

// newEpoch returns a random number from 1 to 2^63-1, which fits a signed column too.
func newEpoch() (uint64, error) {
	for {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("make epoch: %w", err)
		}
		if epoch := binary.LittleEndian.Uint64(b[:]) >> 1; epoch != 0 {
			return epoch, nil
		}
	}
}

// Begin implements Spool.
func (s *MemorySpool) Begin() (uint64, error) { return s.epoch, nil }

// Resume implements Spool. A spool that ends with its process has no copies, but where a whole running machine was copied.
func (s *MemorySpool) Resume(committed uint64, checksum uint32) error {
	s.mu.Lock()
	newest, ours := s.newest, uint32(0)
	if i := s.from(committed); i < len(s.held) && s.held[i].seq == committed {
		ours = batchChecksum(s.held[i].encoded)
	}
	s.mu.Unlock()
	if committed > newest || ours != 0 && checksum != 0 && ours != checksum {
		return fmt.Errorf("%w: it has stored up to batch %d (checksum %08x), here are batches up to %d (its checksum is %08x)",
			errForeignEpoch, committed, checksum, newest, ours)
	}
	return s.Trim(committed)
}

// Appended implements Spool.
func (s *MemorySpool) Appended() <-chan struct{} { return s.appended }

// Append implements Spool.
func (s *MemorySpool) Append(samples ...*gohubv1.Sample) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrSpoolClosed
	}
	seq := s.newest + 1
	encoded, err := proto.Marshal(&gohubv1.Batch{Samples: samples})
	if err != nil {
		return 0, fmt.Errorf("encode batch %d: %w", seq, err)
	}
	s.newest = seq
	s.held = append(s.held, heldBatch{seq: seq, encoded: encoded})
	s.bytes += int64(len(encoded))
	s.makeRoom()
	select {
	case s.appended <- struct{}{}:
	default: // the receiver has not taken the last one yet
	}
	return seq, nil
}

// makeRoom drops the oldest batches while there are too many bytes.
func (s *MemorySpool) makeRoom() {
	if s.bytes <= s.options.MaxBytes {
		return
	}
	first := s.held[0].seq
	for s.bytes > s.options.MaxBytes && len(s.held) > 1 {
		s.forget(1)
		s.dropped++
	}
	if s.held[0].seq == first {
		return
	}
	if now := s.options.Now(); !s.full || now.Sub(s.loggedAt) >= relogDrops {
		s.options.Logger.Error("the queue of unsent samples is full: the oldest are dropped",
			"held_batches", len(s.held), "held_bytes", s.bytes, "dropped_batches", s.dropped)
		s.full, s.loggedAt = true, now
	}
}

// forget removes the oldest n batches.
func (s *MemorySpool) forget(n int) {
	for i := range n {
		s.bytes -= int64(len(s.held[i].encoded))
		s.held[i].encoded = nil
	}
	s.held = s.held[n:]
	if len(s.held) == 0 {
		s.held = nil // give the memory of a long outage back
	}
}

// from is the index of the oldest batch whose number is at least seq.
func (s *MemorySpool) from(seq uint64) int {
	return sort.Search(len(s.held), func(i int) bool { return s.held[i].seq >= seq })
}

// Next implements Spool.
func (s *MemorySpool) Next(after uint64) (*gohubv1.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrSpoolClosed
	}
	i := s.from(after + 1)
	if i == len(s.held) {
		return nil, nil
	}
	batch := &gohubv1.Batch{}
	if err := proto.Unmarshal(s.held[i].encoded, batch); err != nil {
		return nil, fmt.Errorf("decode batch %d: %w", s.held[i].seq, err)
	}
	batch.AgentId, batch.Epoch, batch.Seq = s.options.AgentID, s.epoch, s.held[i].seq
	batch.Checksum = batchChecksum(s.held[i].encoded)
	return batch, nil
}

// Newest implements Spool.
func (s *MemorySpool) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Trim implements Spool.
func (s *MemorySpool) Trim(through uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSpoolClosed
	}
	if n := s.from(through + 1); n > 0 {
		s.forget(n)
		s.full = false
	}
	return nil
}

// Discard implements Spool.
func (s *MemorySpool) Discard(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSpoolClosed
	}
	if i := s.from(seq); i < len(s.held) && s.held[i].seq == seq {
		s.bytes -= int64(len(s.held[i].encoded))
		s.held = append(s.held[:i], s.held[i+1:]...)
		s.dropped++
	}
	return nil
}

// Stats implements Spool.
func (s *MemorySpool) Stats() SpoolStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SpoolStats{Batches: len(s.held), Bytes: s.bytes, Dropped: s.dropped}
}

// Close implements Spool.
func (s *MemorySpool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.held, s.bytes = true, nil, 0
	return nil
}

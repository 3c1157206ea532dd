package ingest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// How a stream ends by the server's will.
var (
	errStopping = status.Error(codes.Unavailable, "the server is stopping")
	errReplaced = status.Error(codes.Aborted, "another stream of this agent took over; if this machine is a copy of another, give it an agent id of its own")
	errIsolated = status.Error(codes.Unavailable, "the database can not take this agent's next batch; keep it and send it again later")
	errFenced   = status.Error(codes.Aborted, "the batch does not follow the newest stored one; reconnect and go on after the welcome's committed_seq")
)

// session is one agent's stream. The goroutine of its handler receives; what is sent, its voice sends.
type session struct {
	server   *Server
	stream   grpc.ServerStream
	incoming incoming
	host     storage.HostID
	agent    uuid.UUID
	// agentID is agent as batches tell it. What else is known of the host is not kept for each of thousands of streams.
	agentID  string
	hostname string
	epoch    uint64
	// displaced is the epoch of the last stream of the agent with another one that had to go, 0 if none had. Server.mu guards it.
	displaced uint64
	shard     *shard
	// budget bounds what this agent has on its way to storage, so that it can not fill its shard's ring.
	budget budget
	voice  voice
	// queued is the newest batch that the flusher will see, or has seen.
	queued atomic.Uint64
	// stored is the newest batch that is stored and not acknowledged yet, 0 for none, and acked the newest acknowledged. Owned
	// by the flusher.
	stored, acked uint64

	// growth is how much longer rows are than the message that they came in. Owned by the handler's goroutine, as are those
	// below.
	growth float32
	// greeted is when the agent said hello, in whole seconds since the server's start, as that has room beside growth.
	greeted uint32
	// last is the sequence number of the newest batch that was taken, warned whether a sample was quarantined, told whether a
	// number was left out.
	// welcomed and welcomedChecksum are those of the welcome.
	welcomed         uint64
	welcomedChecksum uint32
	// lastChecksum is that of the last batch, or the welcome's.
	last         uint64
	lastChecksum uint32
	warned, told bool
	// word is what the agent's clock said.
	word word
	// heard is when the newest message came.
	heard time.Time
}

// quietTime is how far apart the messages of a stream must come for a helper to take them. It costs a microsecond, and keeps
// the stack of the handler's goroutine small. A stream that is held back by its acknowledgements is not quiet.
const quietTime = 5 * time.Second

// log names the host. It is made when there is something to say: thousands of agents have nothing.
func (s *session) log() *slog.Logger {
	return s.server.log.With("host_id", s.host, "hostname", s.hostname)
}

// receive takes messages until the stream ends, and returns its status.
func (s *session) receive() error {
	for {
		err := s.incoming.wait()
		if errors.Is(err, io.EOF) { // the agent has said all, or was asked to
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if now.Sub(s.heard) < quietTime {
			err = s.hear()
		} else {
			err = s.server.helpers.call(s.hear)
		}
		if err != nil {
			return err
		}
		s.heard = now
	}
}

// hear takes the message that has come, or refuses it.
func (s *session) hear() error {
	message, err := s.incoming.read(MaxMessageBytes)
	if err != nil {
		return err
	}
	defer message.Free()
	if s.voice.ending.Load() || s.server.stopping.Err() != nil { // only the end of the stream is waited for
		return nil
	}
	err = s.take(message)
	if status.Code(err) == codes.InvalidArgument {
		s.server.metrics.refused.Inc()
		s.log().Warn("refused a message", "error", err)
	}
	return err
}

// take handles one message. Its errors are statuses.
func (s *session) take(message mem.Buffer) error {
	var said catalogue.Field // the last field of a oneof wins
	wire := text(message)
	err := each(wire, func(field catalogue.Field) error {
		if field.Type == protowire.BytesType && field.Number >= requestHello && field.Number <= requestBacklog {
			said = field
		}
		return nil
	})
	if err == nil {
		err = checkPadding(len(wire), len(said.Text))
	}
	if err != nil {
		return refusal(err)
	}
	work := s.server.borrow()
	defer s.server.giveBack(work)
	switch said.Number {
	case requestBatch:
		return s.takeBatch(work, said.Text, message)
	case requestBacklog:
		return s.takeBacklog(work, said.Text)
	default:
		return refusal(errors.New("after the hello, every message must be a batch or a backlog"))
	}
}

// takeBatch checks a batch, shows its samples to the observer, and puts it into the ring. wire is a part of source.
func (s *session) takeBatch(work *workspace, wire string, source mem.Buffer) error {
	head := &work.parts
	if err := head.find(wire); err != nil {
		return refusal(err)
	}
	if err := s.check(head); err != nil {
		return refusal(err)
	}
	if head.seq <= s.welcomed && head.checksum != 0 && (head.seq < s.welcomed || head.checksum != s.welcomedChecksum) {
		// The welcome told that a batch of this number is stored, and how to know whether it is this one.
		return errFenced
	}
	if head.seq <= s.last {
		// It was taken on this stream, and its acknowledgement is on the way.
		s.server.metrics.duplicates.Inc()
		s.ackAgain()
		return nil
	}
	now := s.server.options.Now().UTC()
	e := newEntry(s, wire, source)
	e.batch = storage.Batch{Host: s.host, Epoch: s.epoch, Prev: s.last, PrevChecksum: s.lastChecksum, Seq: head.seq, Checksum: head.checksum, ReceivedAt: now}
	// What it may take is taken from the budgets before there is any of it.
	room := buffers.room(s.expected(len(wire)))
	e.bytes = int64(len(wire)+room) + mostAsides(len(wire), len(head.samples), len(head.gaps))
	if err := s.reserve(e.bytes); err != nil {
		e.release()
		return err
	}
	e.begin(&work.rows, room)
	if err := s.read(work, e, now); err != nil {
		s.giveBack(e)
		if holds(err) {
			return err
		}
		return refusal(fmt.Errorf("batch %d: %w", head.seq, err))
	}
	if rejected := e.batch.Rejected; len(rejected) > 0 && !s.warned { // once a stream: the others are in the quarantine
		s.warned = true
		s.log().Warn("put a sample into quarantine, as will be others of this stream", "seq", head.seq, "reason", rejected[0].Reason)
	}
	s.settle(e, e.fill(&work.rows))
	s.learn(len(wire), e.batch.Rows.Bytes())
	s.queued.Store(head.seq)
	if err := s.shard.put(s.stream.Context(), e); err != nil {
		s.giveBack(e)
		return err
	}
	s.last, s.lastChecksum = head.seq, head.checksum
	return nil
}

// expected is about how many bytes the rows of a batch will have, and learn remembers how many it were: an agent's batches
// are alike. It must not be too few, for then the rows are copied to where there is room.
func (s *session) expected(wire int) int { return int(float32(wire)*s.growth) + rowSlack }

func (s *session) learn(wire, rows int) {
	if wire > 0 {
		s.growth = min(float32(rows)/float32(wire), mostGrowth)
	}
}

const (
	// firstGrowth is about what a sample of a small machine has, and mostGrowth bounds what one odd message leads to.
	firstGrowth, mostGrowth = 1.75, 4
	// rowSlack is for what says which rows are whose, and for numbers that got longer.
	rowSlack = 96
)

// parts are those of a Batch message, found but for the most part not read. They point into it.
type parts struct {
	agentID    string
	checksum   uint32
	epoch, seq uint64
	samples    []string
	gaps       []string
}

// find takes a message apart. It is called for one message after the other.
func (p *parts) find(wire string) error {
	p.forget()
	for len(wire) > 0 {
		field, n := catalogue.Next(wire)
		if n == 0 {
			return catalogue.ErrMalformed
		}
		wire = wire[n:]
		switch {
		case field.Number == batchSamples && field.Type == protowire.BytesType:
			if len(p.samples) == maxSamplesPerBatch {
				return fmt.Errorf("over %d samples, the limit of one batch", maxSamplesPerBatch)
			}
			p.samples = append(p.samples, field.Text)
		case field.Number == batchGaps && field.Type == protowire.BytesType:
			// One more than is kept, so that it is known that there were too many.
			if len(p.gaps) <= maxGapsPerBatch {
				p.gaps = append(p.gaps, field.Text)
			}
		case field.Number == batchAgentID && field.Type == protowire.BytesType:
			p.agentID = field.Text
		case field.Number == batchEpoch && field.Type == protowire.VarintType:
			p.epoch = field.Value
		case field.Number == batchSeq && field.Type == protowire.VarintType:
			p.seq = field.Value
		case field.Number == batchChecksum && field.Type == protowire.Fixed32Type:
			p.checksum = uint32(field.Value)
		}
	}
	return nil
}

// forget lets go of the message.
func (p *parts) forget() {
	clear(p.samples)
	clear(p.gaps)
	*p = parts{samples: p.samples[:0], gaps: p.gaps[:0]}
}

// check refuses what does not belong on the stream.
func (s *session) check(batch *parts) error {
	switch {
	case batch.agentID != s.agentID:
		return fmt.Errorf("batch of agent %q on the stream of agent %s", clip(batch.agentID), s.agentID)
	case batch.epoch != s.epoch:
		return fmt.Errorf("batch of epoch %d on a stream of epoch %d", batch.epoch, s.epoch)
	case batch.seq == 0 || batch.seq > math.MaxInt64:
		return fmt.Errorf("sequence number %d is not between 1 and 2^63-1", batch.seq)
	default:
		return nil
	}
}

// read makes rows of the samples, and reads the gaps. A sample that must not be stored goes to quarantine. The last sample is
// decoded, for the observer sees it; those before it become rows straight from the wire, if they are as agents send them.
func (s *session) read(work *workspace, e *entry, now time.Time) error {
	accept := s.server.acceptance(now)
	rows, newest, decoded := 0, "", false // newest is the last sample that is stored
	doubted, doubtedOld := false, false
	samples := work.parts.samples
	for i, wire := range samples {
		last := i == len(samples)-1
		if !last {
			if n, ok := work.rows.AddEncoded(s.host, now, wire, accept.earliest, accept.latest); ok {
				if rows += n; rows > maxRowsPerBatch {
					return fmt.Errorf("over %d rows", maxRowsPerBatch)
				}
				newest = wire
				e.samples++
				continue
			}
		}
		if err := work.sample.Decode(wire); err != nil {
			return err
		}
		if last && !work.backlog {
			s.tellClock(work.sample.TimeUnixMillis)
		}
		switch taken := work.sample.TimeUnixMillis; {
		case taken > accept.latest && !doubted:
			doubted = true
			if err := s.doubt(work.backlog); err != nil {
				return err
			}
		case taken < accept.earliest && !doubtedOld:
			var err error
			if doubtedOld, err = s.doubtOld(taken); err != nil {
				return err
			}
		}
		if rows += work.sample.Rows(); rows > maxRowsPerBatch {
			return fmt.Errorf("over %d rows", maxRowsPerBatch)
		}
		if reason := accept.check(&work.sample); reason != "" {
			s.reject(e, wire, reason)
			continue
		}
		s.noteOmitted(e, &work.sample)
		work.rows.Add(s.host, now, &work.sample)
		newest, decoded = wire, last
		e.samples++
	}
	if err := s.readGaps(work, e); err != nil {
		return err
	}
	if e.samples == 0 {
		return nil
	}
	if !decoded {
		if err := work.sample.Decode(newest); err != nil {
			return err
		}
	}
	// Only the newest counts for what is shown.
	s.server.options.Observer.Observe(s.host, &work.sample, now)
	s.server.metrics.lag.Observe(float64(accept.now-work.sample.TimeUnixMillis) / 1000)
	return nil
}

func (s *session) readGaps(work *workspace, e *entry) error {
	bad := 0
	for _, wire := range work.parts.gaps {
		if len(e.batch.Gaps) == maxGapsPerBatch || len(wire) > maxGapBytes {
			bad++
			continue
		}
		gap := &gohubv1.Gap{}
		// What a later version says of a gap is not stored, and would be kept in memory until the rest is.
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(wire), gap); err != nil {
			return fmt.Errorf("decode a gap: %w", err)
		}
		if !checkGap(gap) {
			bad++
			continue
		}
		e.batch.Gaps = append(e.batch.Gaps, gap)
	}
	if bad > 0 {
		s.log().Warn("left out gaps that are no stretches of time, or too many", "seq", e.batch.Seq, "gaps", bad)
	}
	return nil
}

// reject has a sample go to quarantine. Those of a batch that have the same reason share its text.
func (s *session) reject(e *entry, wire, reason string) {
	rejected := e.batch.Rejected
	if last := len(rejected) - 1; last >= 0 && rejected[last].Reason == reason {
		reason = rejected[last].Reason
	}
	e.batch.Rejected = append(rejected, storage.Rejected{Wire: kept(wire), Reason: reason})
}

// noteOmitted counts the numbers of a sample that no database can keep, which are missing readings.
func (s *session) noteOmitted(e *entry, sample *catalogue.Sample) {
	if sample.Omitted() == 0 {
		return
	}
	s.server.metrics.omitted.Add(float64(sample.Omitted()))
	if !s.told { // once a stream: it lasts for as long as the counter is what it is
		s.told = true
		s.log().Warn("left a reading out of a sample, as will be others of this stream", "seq", e.batch.Seq, "reason", sample.Omission())
	}
}

// reserve takes bytes of the budgets: first that of the agent, so that one that sends much waits for itself.
func (s *session) reserve(bytes int64) error {
	ctx := s.stream.Context()
	if err := s.budget.take(ctx, bytes); err != nil {
		return err
	}
	err := s.server.budget.take(ctx, bytes)
	if err != nil {
		s.budget.give(bytes)
	}
	return err
}

// settle has the entry hold as many bytes as it has, instead of as many as were expected. A few more than expected wait for
// nobody.
func (s *session) settle(e *entry, bytes int64) {
	s.budget.give(e.bytes - bytes)
	s.server.budget.give(e.bytes - bytes)
	e.bytes = bytes
}

// giveBack ends an entry that does not go into the ring.
func (s *session) giveBack(e *entry) {
	s.budget.give(e.bytes)
	s.server.budget.give(e.bytes)
	e.release()
}

// takeBacklog takes batches that come compressed. Few streams do so at once, as what they decompress is not in a budget yet.
func (s *session) takeBacklog(work *workspace, wire string) error {
	var compressed string
	err := each(wire, func(field catalogue.Field) error {
		if field.Number == backlogZstd && field.Type == protowire.BytesType {
			compressed = field.Text
		}
		return nil
	})
	if err != nil {
		return refusal(err)
	}
	select {
	case s.server.backlogs <- struct{}{}:
		defer func() { <-s.server.backlogs }()
	case <-s.stream.Context().Done():
		return s.stream.Context().Err()
	}
	batches, err := s.server.decompress(compressed)
	if err != nil {
		return refusal(err)
	}
	defer batches.Free()
	content, known := text(batches), 0
	err = each(content, func(field catalogue.Field) error {
		if field.Number == batchesBatches && field.Type == protowire.BytesType {
			known += len(field.Text) + fieldOverhead
		}
		return nil
	})
	if err == nil {
		err = checkPadding(len(content), known)
	}
	if err != nil {
		return refusal(err)
	}
	work.backlog = true
	var failure error // of a batch, a status already
	err = each(content, func(field catalogue.Field) error {
		if field.Number == batchesBatches && field.Type == protowire.BytesType {
			failure = s.takeBatch(work, field.Text, batches)
		}
		return failure
	})
	if failure != nil {
		return failure
	}
	if err != nil {
		return refusal(err)
	}
	return nil
}

// A batch holds on to the whole message that it is in, and only the batch is in the budgets. So there may be little else, as a
// later version's field might be.
const (
	mostPadding = 4 << 10
	// fieldOverhead is at least what is around a field's bytes: its tag and its length.
	fieldOverhead = 2
)

func checkPadding(length, known int) error {
	if length-known > mostPadding+known/16 {
		return fmt.Errorf("%d of %d bytes are of fields that this server does not know", length-known, length)
	}
	return nil
}

// refusal is the status of a message that the agent must not send again.
func refusal(cause error) error { return status.Error(codes.InvalidArgument, cause.Error()) }

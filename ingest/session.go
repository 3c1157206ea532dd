package ingest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// How a stream ends by the server's will.
var (
	errStopping = status.Error(codes.Unavailable, "the server is stopping")
	errReplaced = status.Error(codes.Aborted, "another stream of this agent took over; if this machine is a copy of another, give it an agent id of its own")
	errFenced   = status.Error(codes.Aborted, "the batch does not follow the newest stored one; reconnect and go on after the welcome's committed_seq")
)

// session is one agent's stream. Two goroutines run it: receive reads batches, answer writes acknowledgements. gRPC
// allows one reader and one writer at a time, and ends the reader when answer returns.
type session struct {
	server *Server
	stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]
	host   storage.Host
	epoch  uint64
	shard  *shard
	log    *slog.Logger

	// last is the sequence number of the newest batch that was taken, warned whether a sample was quarantined. Owned by
	// receive.
	last   uint64
	warned bool

	// acked is the newest sequence number to acknowledge. The flusher writes it and rings wake.
	acked atomic.Uint64
	wake  chan struct{}

	// ended is closed, with cause set before, when the stream must end.
	once  sync.Once
	ended chan struct{}
	cause error
}

// ack lets answer acknowledge the batches up to seq. The flusher calls it, in the order of the sequence.
func (s *session) ack(seq uint64) {
	s.acked.Store(seq)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// end makes answer return the cause. Only the first call counts.
func (s *session) end(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.ended)
	})
}

// receive takes batches until the stream or the server ends.
func (s *session) receive() {
	for {
		message := &request{}
		err := s.stream.RecvMsg(message)
		switch {
		case errors.Is(err, io.EOF): // the agent has said all
			s.end(nil)
			return
		case err != nil:
			s.end(err)
			return
		case s.server.stopping.Err() != nil:
			return // answer ends the stream when the flushers are done
		}
		batch, err := s.check(message.batch)
		if err != nil {
			s.log.Warn("refused a message", "error", err)
			s.end(s.server.refuse(err))
			return
		}
		if batch == nil {
			continue
		}
		rows := 0
		for _, sample := range batch.Samples {
			s.server.options.Observer.Observe(s.host.ID, sample, batch.ReceivedAt)
			rows += sample.Rows()
		}
		if err := s.shard.put(s.stream.Context(), entry{batch: batch, rows: rows, from: s}); err != nil {
			s.end(err)
			return
		}
		s.last = batch.Seq
	}
}

// check turns a message into a batch to store, or returns nil for one that is stored already.
func (s *session) check(message *batchMessage) (*storage.Batch, error) {
	switch {
	case message == nil:
		return nil, errors.New("after the hello, every message must be a batch")
	case message.agentID != s.host.AgentID.String():
		return nil, fmt.Errorf("batch of agent %q on the stream of agent %s", clip(message.agentID), s.host.AgentID)
	case message.epoch != s.epoch:
		return nil, fmt.Errorf("batch of epoch %d on a stream of epoch %d", message.epoch, s.epoch)
	case message.seq == 0 || message.seq > math.MaxInt64:
		return nil, fmt.Errorf("sequence number %d is not between 1 and 2^63-1", message.seq)
	case len(message.samples) > maxSamplesPerBatch:
		return nil, fmt.Errorf("batch %d has %d samples, the limit is %d", message.seq, len(message.samples), maxSamplesPerBatch)
	case message.seq <= s.last:
		// It was taken on this stream or before it. Its acknowledgement is on the way, or was lost with another stream.
		s.server.metrics.duplicates.Inc()
		s.ackAgain()
		return nil, nil
	}
	gaps, badGaps := checkGaps(message.gaps)
	if badGaps > 0 {
		s.log.Warn("left out gaps that are no stretches of time", "seq", message.seq, "gaps", badGaps)
	}
	now := s.server.options.Now().UTC()
	batch := &storage.Batch{Host: s.host.ID, Epoch: s.epoch, Prev: s.last, Seq: message.seq, ReceivedAt: now, Gaps: gaps}
	for _, sample := range message.samples {
		if reason := s.server.checkSample(sample, now); reason != "" {
			if len(batch.Rejected) == 0 && !s.warned { // once a stream: the others are in the quarantine
				s.warned = true
				s.log.Warn("put a sample into quarantine, as will be others of this stream", "seq", message.seq, "reason", reason)
			}
			batch.Rejected = append(batch.Rejected, storage.Rejected{Sample: sample, Reason: reason})
			continue
		}
		batch.Samples = append(batch.Samples, sample)
		s.server.metrics.lag.Observe(float64(now.UnixMilli()-sample.TimeUnixMillis) / 1000)
	}
	return batch, nil
}

// ackAgain repeats the newest acknowledgement.
func (s *session) ackAgain() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// answer sends acknowledgements until the stream must end, and returns its status. Acknowledgements are cumulative, so
// a slow agent gets fewer of them, never a queue.
func (s *session) answer() error {
	for {
		select {
		case <-s.wake:
			if err := s.sendAck(); err != nil {
				return err
			}
		case <-s.ended:
			return s.cause
		case <-s.stream.Context().Done():
			return s.stream.Context().Err()
		case <-s.server.drained:
			if err := s.sendAck(); err != nil {
				return err
			}
			return errStopping
		}
	}
}

func (s *session) sendAck() error {
	ack := &gohubv1.Ack{Epoch: s.epoch, Seq: s.acked.Load()}
	return s.stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Ack{Ack: ack}})
}

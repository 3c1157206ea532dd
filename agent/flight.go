package agent

import (
	"fmt"
	"sync"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// flight is the batches that are on the way on one stream. The sender adds to it, the receiver takes away.
type flight struct {
	spool    Spool
	epoch    uint64
	last     uint64        // sent last, or the server's cursor; the sender's own
	progress chan struct{} // capacity 1, never closed: the receiver got an ack
	parting  chan error    // capacity 1, never closed: the receiver got a goodbye, as a status
	bundler  *bundler      // while a backlog drains; the sender's own

	mu     sync.Mutex
	seqs   []uint64 // not acknowledged, in order
	ends   []uint64 // the last of each bundle that is not acknowledged
	newest uint64   // sent last, for the receiver
	acked  uint64
}

func newFlight(spool Spool, epoch, cursor uint64) *flight {
	return &flight{spool: spool, epoch: epoch, last: cursor, newest: cursor, acked: cursor, progress: make(chan struct{}, 1), parting: make(chan error, 1)}
}

func (f *flight) sent(seq uint64) {
	f.last = seq
	f.mu.Lock()
	f.seqs, f.newest = append(f.seqs, seq), seq
	f.mu.Unlock()
}

// sentBundle is sent for batches that go together.
func (f *flight) sentBundle(seqs []uint64) {
	f.last = seqs[len(seqs)-1]
	f.mu.Lock()
	f.seqs, f.newest, f.ends = append(f.seqs, seqs...), f.last, append(f.ends, f.last)
	f.mu.Unlock()
}

// bundles is how many are on the way.
func (f *flight) bundles() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ends)
}

func (f *flight) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seqs)
}

func (f *flight) ackedThrough() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acked
}

func (f *flight) unacked() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seqs
}

// receive takes acks, and a goodbye, until the stream ends, and returns why it did.
func (f *flight) receive(stream gohubv1.IngestService_StreamClient) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if goodbye := response.GetGoodbye(); goodbye != nil {
			select {
			case f.parting <- farewell(goodbye):
			default: // the first one counts
			}
			continue // acks may follow; the sender makes the stream end
		}
		ack := response.GetAck()
		if ack == nil {
			continue // a message of a newer server
		}
		if err := f.ack(ack); err != nil {
			return err
		}
	}
}

func (f *flight) ack(ack *gohubv1.Ack) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ack.GetEpoch() != f.epoch || ack.GetSeq() > f.newest {
		return fmt.Errorf("%w: it acknowledged batch %d of epoch %d, sent was up to %d of %d",
			errForeignEpoch, ack.GetSeq(), ack.GetEpoch(), f.newest, f.epoch)
	}
	if ack.GetSeq() <= f.acked {
		return nil
	}
	if err := f.spool.Trim(ack.GetSeq()); err != nil {
		return fmt.Errorf("trim spool: %w", err)
	}
	f.acked = ack.GetSeq()
	for len(f.seqs) > 0 && f.seqs[0] <= f.acked {
		f.seqs = f.seqs[1:]
	}
	for len(f.ends) > 0 && f.ends[0] <= f.acked {
		f.ends = f.ends[1:]
	}
	select {
	case f.progress <- struct{}{}:
	default: // the sender has not looked since the last one
	}
	return nil
}

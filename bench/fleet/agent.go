package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// agent is one simulated agent. It keeps what it sent until the acknowledgement, as a real one does.
//
//	connect ─▶ hello ─▶ welcome ─▶ send after its cursor, up to a window ahead of the acknowledgements ─▶ the stream ends ─┐
//	   ▲                                                                                                                 │
//	   └───────────────────────────────── wait: back-off with full jitter ◀──────────────────────────────────────────────┘
//
// What has waited for long goes as backlogs (backlog.go).
type agent struct {
	fleet  *Fleet
	number int
	epoch  uint64
	hello  []byte

	// wake holds a token when there may be something to send.
	wake chan struct{}
	// fresh holds the newest sample, when it is to be shown before its turn.
	fresh chan []byte

	mu   sync.Mutex
	host *Host
	// queue holds what is not acknowledged, oldest first; the first sent of it are on the way on the present stream.
	queue []message
	sent  int
	// backlogs of these batches are unacknowledged on the present stream.
	backlogs []span
	// taken is the newest sequence number that a batch got, highest the newest that was ever sent.
	taken, highest uint64
	// times are those of the samples that wait for their batch to be full.
	times []int64
	// round is the value of Fleet.round when the stream got its welcome, counted the last round that the agent was counted in.
	round, counted int64
	// over says that everything is acknowledged, and nothing is taken any more.
	over bool
}

// message is an encoded batch.
type message struct {
	seq     uint64
	samples int
	taken   time.Time
	wire    []byte
}

// run streams until everything is sent and acknowledged, or ctx ends.
func (a *agent) run(ctx context.Context) {
	pause := a.fleet.options.FirstPause
	for ctx.Err() == nil {
		welcomed, err := a.stream(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.fleet.breaks.Add(1)
		a.fleet.lastError.Store(&err)
		if welcomed {
			pause = a.fleet.options.FirstPause
		}
		select { // full jitter
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
		}
		pause = min(2*pause, a.fleet.options.LongestPause)
	}
}

// stream runs one stream, and returns nil when there is nothing left to do.
func (a *agent) stream(ctx context.Context) (welcomed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connection, done, err := a.fleet.connection(a.number)
	if err != nil {
		return false, err
	}
	defer done()
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		gohubv1.IngestService_Stream_FullMethodName, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return false, err
	}
	var welcome answer
	if err := stream.SendMsg(a.hello); err == nil || errors.Is(err, errEOF) {
		err = stream.RecvMsg(&welcome) // tells why the server ended it, if it did
		if err != nil {
			return false, err
		}
	} else {
		return false, err
	}
	if !welcome.welcome {
		return false, errAnswer
	}
	a.fleet.hostIDs[a.number].Store(welcome.hostID)
	if err := a.begin(welcome.seq); err != nil {
		return true, err
	}
	a.fleet.connected.Add(1)
	defer a.fleet.connected.Add(-1)

	var previewing sync.WaitGroup // ends with the stream's context
	defer previewing.Wait()
	defer cancel()
	if a.fleet.options.live() {
		previewing.Go(func() { a.previews(ctx, connection) })
	}
	finished := make(chan error, 1) // the receiver's last word
	go func() { finished <- a.receive(stream) }()
	return true, a.send(ctx, stream, cancel, finished)
}

// begin trims what the server has, and makes the rest ready to be sent again.
func (a *agent) begin(stored uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if stored > a.taken {
		return fmt.Errorf("the server has stored batch %d of agent %s, the newest taken is %d", stored, a.host.ID(), a.taken)
	}
	a.trim(stored)
	a.sent, a.backlogs = 0, a.backlogs[:0]
	a.round = a.fleet.round.Load()
	return nil
}

// trim drops what is acknowledged. The caller holds mu.
func (a *agent) trim(seq uint64) {
	n, samples := 0, 0
	for n < len(a.queue) && a.queue[n].seq <= seq {
		samples += a.queue[n].samples
		if a.fleet.options.OnAck != nil {
			a.fleet.options.OnAck(a.number, a.queue[n].taken)
		}
		n++
	}
	if n == 0 {
		return
	}
	clear(a.queue[:n])
	a.queue = a.queue[n:]
	a.sent = max(a.sent-n, 0)
	a.backlogs = slices.DeleteFunc(a.backlogs, func(one span) bool { return one.last <= seq })
	a.fleet.ackedSamples.Add(int64(samples))
	a.fleet.ackedBatches.Add(int64(n))
}

// receive takes acknowledgements until the stream ends.
func (a *agent) receive(stream grpc.ClientStream) error {
	for {
		var ack answer
		if err := stream.RecvMsg(&ack); err != nil {
			return err
		}
		if ack.goodbye {
			return errGoodbye // the stream's context ends with this, and so the stream
		}
		a.fleet.acks.Add(1)
		a.mu.Lock()
		a.trim(ack.seq)
		if a.counted < a.round {
			a.counted = a.round
			if a.round == a.fleet.round.Load() {
				a.fleet.again.Add(1)
			}
		}
		a.mu.Unlock()
		a.ring()
	}
}

func (a *agent) ring() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// send sends until the stream ends, or returns nil when all is acknowledged and no more will come.
func (a *agent) send(ctx context.Context, stream grpc.ClientStream, cancel func(), finished <-chan error) error {
	select { // flat out, all begin at once
	case <-a.fleet.started:
	case err := <-finished:
		return err
	case <-ctx.Done():
		<-finished
		return ctx.Err()
	}
	for {
		out, over := a.next()
		wire := a.fleet.encode(out)
		switch {
		case over:
			if err := stream.CloseSend(); err != nil {
				cancel()
			}
			<-finished // all is acknowledged: how it ends does not matter
			return nil
		case wire != nil:
			if err := stream.SendMsg(wire); err != nil {
				if !errors.Is(err, errEOF) {
					cancel()
				}
				return errors.Join(err, <-finished) // a broken stream's send says EOF; the reason comes from the receiver
			}
			continue
		}
		select {
		case <-a.wake:
		case err := <-finished:
			return err
		case <-ctx.Done():
			<-finished
			return ctx.Err()
		}
	}
}

// next returns what to send next, nothing if there is none now, and whether there will be none any more.
func (a *agent) next() (out outgoing, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fleet.options.live() && len(a.queue)-a.sent > backlogFrom {
		if len(a.backlogs) < mostBacklogs {
			out.backlog = a.pack()
		}
		return out, false
	}
	if a.singles() >= a.fleet.options.Window {
		return out, false
	}
	if a.sent == len(a.queue) {
		if !a.fleet.options.live() {
			a.refill()
		}
		if a.sent == len(a.queue) {
			a.over = len(a.queue) == 0 && a.exhausted()
			return out, a.over
		}
	}
	one := a.queue[a.sent]
	a.sent++
	a.count(one.seq)
	out.wire = one.wire
	return out, false
}

// count notes that a batch goes out. The caller holds mu.
func (a *agent) count(seq uint64) {
	if seq <= a.highest {
		a.fleet.resent.Add(1)
	}
	a.highest = max(a.highest, seq)
}

// refill takes the next prepared batch, or makes it. The caller holds mu.
func (a *agent) refill() {
	options := &a.fleet.options
	if a.exhausted() {
		return
	}
	first := int(a.taken) * options.Samples
	samples := min(options.Samples, options.Ticks-first)
	one := message{seq: a.taken + 1, samples: samples, taken: time.Now()}
	if prepared := a.fleet.prepared; prepared != nil {
		one.wire = prepared[a.number][a.taken]
	} else {
		one.wire = a.encode(nil, one.seq, first, samples)
	}
	a.taken++
	a.fleet.takenSamples.Add(int64(samples))
	a.queue = append(a.queue, one)
}

// encode appends the batch of the ticks from first to dst. The caller holds mu, or owns the agent.
func (a *agent) encode(dst []byte, seq uint64, first, samples int) []byte {
	a.times = a.times[:0]
	for tick := first; tick < first+samples; tick++ {
		a.times = append(a.times, a.fleet.options.timeOf(tick))
	}
	return a.host.AppendBatch(dst, a.epoch, seq, a.times...)
}

// exhausted says that no more batches will be taken. The caller holds mu.
func (a *agent) exhausted() bool {
	if a.fleet.options.live() {
		return a.fleet.stopped.Load()
	}
	return int(a.taken)*a.fleet.options.Samples >= a.fleet.options.Ticks
}

// take takes a sample at a time, and queues a batch when it is full.
func (a *agent) take(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	a.times = append(a.times, at.UnixMilli())
	if len(a.times) < a.fleet.options.Samples {
		return
	}
	a.taken++
	wire := a.host.AppendBatch(nil, a.epoch, a.taken, a.times...)
	if a.fleet.options.live() && len(a.queue) > 0 { // the one before is not acknowledged
		a.show(newestSample(wire))
	}
	a.queue = append(a.queue, message{seq: a.taken, samples: len(a.times), taken: at, wire: wire})
	a.fleet.takenSamples.Add(int64(len(a.times)))
	a.times = a.times[:0]
	a.ring()
}

package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// sendWindow is how many batches may be on the way at once: enough to fill a long line while a backlog drains, and
	// little enough that a reconnect sends little twice.
	sendWindow = 32
	// welcomeTimeout bounds everything up to the Welcome: name, connection, TLS, and the server's reading of its cursor.
	welcomeTimeout = 20 * time.Second
	// leaveTimeout is how long a server gets to end a stream that the agent has ended.
	leaveTimeout = time.Second
	// healthyAfter is how long a stream must last for the next reconnect to be quick again.
	healthyAfter = 10 * time.Second
	// slowRetry is the wait, jittered, after a refusal that only a person can change.
	slowRetry = time.Minute
	// keepaliveTime is after how long a silence the server is asked for a sign of life; the server must allow it.
	keepaliveTime    = time.Minute
	keepaliveTimeout = 20 * time.Second
	// ioBuffer is gRPC's read and write buffer: a batch is a few KiB.
	ioBuffer = 8 << 10
	// malformedRefusals and exhaustedRefusals are how often a batch that is alone on the way may be refused before it is
	// given up: once and once more after a resend; a limit can be a passing one, unlike a malformed message.
	malformedRefusals = 2
	exhaustedRefusals = 3
)

var (
	errNoToken      = errors.New("read token")
	errNoWelcome    = errors.New("no welcome from the server")
	errForeignEpoch = errors.New("the server's cursor does not fit this agent's batches")
)

// ClientTLS returns the configuration of a TLS connection to the server: trusting the authorities in the PEM file, or the
// system's if it is "", and expecting the server to be called serverName, or by its address if that is "".
func ClientTLS(caFile, serverName string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no PEM certificate", caFile)
	}
	return config, nil
}

// client sends what a spool holds to the server and trims it by the server's word. Its life is a loop of streams:
//
//	dial ─▶ Hello ─▶ Welcome ─▶ send after the cursor, up to a window ahead of the acks ─▶ the stream ends ─┐
//	 ▲                                                                                                     │
//	 └────────────────────────── wait: back-off with full jitter, or slowly after a refusal ◀──────────────┘
//
// When nothing is left of an epoch, the next stream begins at once with the epoch after it.
//
// Batches go in the order of their numbers, as the server's cursor wants it: after an outage a new sample waits behind the
// backlog, which goes many batches a message (see bundler). So that a dashboard need not wait, each new sample is then shown
// to the server at once (see previews).
//
// A refused batch does not block those behind it. The status that ends a stream does not say which batch it means, so
// after the first refusal the batches that were on the way are sent again one by one; the one that is refused alone, and
// again after a resend, is given up and counted.
type client struct {
	server      string
	tls         *tls.Config // nil for plaintext
	token       func() (string, error)
	hello       func(ctx context.Context, epoch uint64) *gohubv1.Hello
	agentID     string
	spool       Spool
	log         *slog.Logger
	dialOptions []grpc.DialOption // more of them, for tests

	now       func() time.Time // what samples are taken by
	window    int
	backoff   backoff
	slowRetry time.Duration
	healthy   time.Duration

	// stopping is closed by the agent when no more batches will be appended.
	stopping <-chan struct{}

	refused atomic.Uint64 // batches given up because the server refuses them
	// newest is the sample taken last, and fresh, with room for one, says that there is another.
	newest atomic.Pointer[taken]
	fresh  chan struct{}

	// Owned by run's goroutine.
	complaints     complaints
	suspectThrough uint64 // batches up to this one are sent one by one
	refusal        struct {
		seq   uint64
		times int
	}
}

// streamEnd is how a stream ended.
type streamEnd struct {
	err      error
	welcomed time.Time // zero if it never was
	unacked  []uint64  // sent on this stream and not acknowledged
	drained  bool      // ended by the agent, which has nothing left to send
	epoch    bool      // ended by the agent, which goes on with its next epoch
	moved    bool      // ended by the agent, which made a new epoch, as the old one is another's
}

// run streams until the context ends, or the agent stops and everything is stored.
func (c *client) run(ctx context.Context) {
	moved := 0 // streams in a row that ended so
	for ctx.Err() == nil {
		end := c.stream(ctx)
		if end.drained || ctx.Err() != nil || c.nothingLeft() {
			return
		}
		if end.epoch || end.moved {
			c.suspectThrough = 0
		}
		if moved++; !end.moved {
			moved = 0
		}
		if end.epoch || moved == 1 {
			continue // at once; but a server to which every epoch is foreign must not make this a busy loop
		}
		if !end.welcomed.IsZero() && time.Since(end.welcomed) >= c.healthy {
			c.backoff.reset()
			c.complaints.healthy()
		}
		if status.Code(end.err) == codes.OutOfRange { // so it is with the whole fleet, until somebody sets a clock
			c.backoff.grow()
		}
		wait := c.backoff.next()
		switch status.Code(end.err) {
		case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.OutOfRange:
			wait = c.slowRetry/2 + wait%(c.slowRetry/2+1)
		case codes.InvalidArgument, codes.ResourceExhausted:
			if end.welcomed.IsZero() {
				wait = c.slowRetry/2 + wait%(c.slowRetry/2+1) // it means the Hello, which will be the same next time
			} else {
				c.blame(end)
			}
		}
		if errors.Is(end.err, errForeignEpoch) {
			wait = c.slowRetry
		}
		select {
		case <-c.stopping: // a last try or two before the agent's patience ends
			wait = min(wait, time.Second)
		default:
		}
		c.complaints.fail(end.err, wait)
		if !c.wait(ctx, wait) || c.nothingLeft() {
			return
		}
	}
}

// nothingLeft says that the agent is stopping and the spool is empty.
func (c *client) nothingLeft() bool {
	select {
	case <-c.stopping:
		return c.spool.Stats().Batches == 0
	default:
		return false
	}
}

// wait sleeps until the time is up, cut short when the agent begins to stop. It is false when the context ended.
func (c *client) wait(ctx context.Context, d time.Duration) bool {
	stopping := c.stopping
	select {
	case <-stopping:
		stopping = nil // it was stopping before: this wait is meant
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-stopping:
	case <-timer.C:
	}
	return true
}

// blame deals with a refusal of one of the batches on the way.
func (c *client) blame(end streamEnd) {
	if len(end.unacked) == 0 {
		return // nothing was on the way; back-off is all there is
	}
	first, last := end.unacked[0], end.unacked[len(end.unacked)-1]
	c.suspectThrough = max(c.suspectThrough, last)
	if len(end.unacked) > 1 {
		return
	}
	if c.refusal.seq != first {
		c.refusal.seq, c.refusal.times = first, 0
	}
	c.refusal.times++
	limit := malformedRefusals
	if status.Code(end.err) == codes.ResourceExhausted {
		limit = exhaustedRefusals
	}
	if c.refusal.times < limit {
		return
	}
	if err := c.spool.Discard(first); err != nil {
		c.log.Error("discard refused batch", "seq", first, "error", err)
		return
	}
	c.log.Error("a batch is given up: the server refused it again after a resend",
		"seq", first, "error", end.err, "given_up_batches", c.refused.Add(1))
}

func (c *client) options() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if c.tls != nil {
		transport = credentials.NewTLS(c.tls)
	}
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithReadBufferSize(ioBuffer),
		grpc.WithWriteBufferSize(ioBuffer),
		grpc.WithStaticStreamWindowSize(64 << 10), // what comes are acknowledgements: the window need not grow, which takes pings
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // the spool is what sends again
		grpc.WithUserAgent("gohub-agent"),
	}, c.dialOptions...)
}

// target is the server as gRPC names it: looked up in the DNS at every connect, unless the address says otherwise.
func (c *client) target() string {
	if strings.Contains(c.server, ":///") {
		return c.server
	}
	return "dns:///" + c.server
}

// stream runs one stream, from the dial to its end. A connection of its own each time: what was wrong with the last one,
// its address or its keys, is looked up anew.
func (c *client) stream(ctx context.Context) (end streamEnd) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	token, err := c.token()
	if err != nil {
		return streamEnd{err: fmt.Errorf("%w: %w", errNoToken, err)}
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	epoch, err := c.spool.Begin()
	if err != nil {
		return streamEnd{err: fmt.Errorf("begin with spool: %w", err)}
	}
	conn, err := grpc.NewClient(c.target(), c.options()...)
	if err != nil {
		return streamEnd{err: fmt.Errorf("prepare connection: %w", err)}
	}
	defer conn.Close() // its error says only that it was closed before

	late := time.AfterFunc(welcomeTimeout, func() { cancel(errNoWelcome) })
	defer late.Stop()
	stream, welcome, err := c.open(ctx, conn, epoch)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errNoWelcome) {
			err = fmt.Errorf("%w within %s: %w", errNoWelcome, welcomeTimeout, err)
		}
		return streamEnd{err: err}
	}
	late.Stop()
	end.welcomed = time.Now()
	if err := c.spool.Resume(welcome.GetCommittedSeq(), welcome.GetCommittedChecksum()); err != nil {
		end.err, end.moved = fmt.Errorf("resume from spool: %w", err), errors.Is(err, ErrEpochDone)
		if end.moved {
			end.err = fmt.Errorf("%w: %w", errForeignEpoch, end.err)
		}
		return end
	}
	c.complaints.connected("server_version", welcome.GetServerVersion(), "host_id", welcome.GetHostId(),
		"stored_through", welcome.GetCommittedSeq(), "held_batches", c.spool.Stats().Batches)

	flight := newFlight(c.spool, epoch, welcome.GetCommittedSeq())
	var previewing sync.WaitGroup // ends with the stream's context
	defer previewing.Wait()
	defer cancel(nil)
	previewing.Go(func() { c.previews(ctx, conn, c.agentID, flight) })
	received := make(chan error, 1) // the receiver's last word
	// The receiver ends with the stream, at the latest when cancel runs; it is waited for.
	go func() { received <- flight.receive(stream) }()
	ended, err := c.send(ctx, stream, flight, received)
	if !ended {
		cancel(nil)
		receiveErr := <-received
		// A Send fails with EOF alone; the reason comes from the receiving side.
		if errors.Is(err, io.EOF) {
			err = receiveErr
		}
	}
	select {
	case parting := <-flight.parting:
		if err != nil && !errors.Is(err, ErrEpochDone) { // how else it ended follows from the goodbye
			err = parting
		}
	default:
	}
	end.err, end.unacked = err, flight.unacked()
	end.drained, end.epoch = err == nil, errors.Is(err, ErrEpochDone)
	if errors.Is(err, io.EOF) {
		end.err = status.Error(codes.Unavailable, "the server closed the stream")
	}
	return end
}

func (c *client) open(ctx context.Context, conn *grpc.ClientConn, epoch uint64) (gohubv1.IngestService_StreamClient, *gohubv1.Welcome, error) {
	stream, err := gohubv1.NewIngestServiceClient(conn).Stream(ctx)
	if err != nil {
		return nil, nil, err
	}
	hello := c.hello(ctx, epoch)
	// Last, as the facts take a while.
	hello.TimeUnixMillis = c.now().UnixMilli()
	request := &gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello}}
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) { // after EOF, Recv tells why
		return nil, nil, err
	}
	response, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, nil, status.Error(codes.Unavailable, "the server closed the stream before its welcome")
	}
	if err != nil {
		return nil, nil, err
	}
	if goodbye := response.GetGoodbye(); goodbye != nil {
		return nil, nil, farewell(goodbye)
	}
	welcome := response.GetWelcome()
	if welcome == nil {
		return nil, nil, fmt.Errorf("%w: it sent %T first", errNoWelcome, response.GetMessage())
	}
	return stream, welcome, nil
}

// send puts batches on the way until the stream ends, which received says (ended is true then), or sending fails, or the
// agent stops and everything is stored: then err is nil.
func (c *client) send(ctx context.Context, stream gohubv1.IngestService_StreamClient, f *flight, received <-chan error) (ended bool, err error) {
	stopping := c.stopping
	for {
		select {
		case err := <-f.parting:
			return c.part(stream, received, err)
		default:
		}
		sent, all, err := c.sendNext(stream, f)
		done := errors.Is(err, ErrEpochDone)
		switch {
		case done && f.size() == 0:
			ended, leaveErr := c.leave(stream, received)
			if leaveErr != nil {
				err = leaveErr
			}
			return ended, err
		case err != nil && !done:
			return false, err
		case sent:
			continue
		case all && stopping == nil && f.size() == 0:
			return c.leave(stream, received)
		}
		select {
		case err := <-received:
			return true, err
		case err := <-f.parting:
			return c.part(stream, received, err)
		case <-f.progress:
		case <-c.spool.Appended():
		case <-stopping:
			stopping = nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// sendNext sends the next message, if there is one and it may be on the way; all says that there is none. It returns
// ErrEpochDone if there never will be.
func (c *client) sendNext(stream gohubv1.IngestService_StreamClient, f *flight) (sent, all bool, err error) {
	onTheWay, bundles := f.size(), f.bundles()
	unsent := c.spool.Stats().Batches - onTheWay
	window := c.window
	switch {
	case f.ackedThrough() < c.suspectThrough:
		window = 1
	case f.bundler == nil && unsent > backlogBatches:
		if f.bundler, err = newBundler(); err != nil {
			return false, false, err
		}
	case f.bundler != nil && unsent <= backlogBatches && bundles == 0:
		f.bundler = nil // caught up; its memory goes back
	}
	if f.bundler != nil {
		return c.sendBacklog(stream, f, bundles)
	}
	if onTheWay >= window {
		return false, false, nil
	}
	batch, err := c.spool.Next(f.last)
	if batch == nil || err != nil {
		return false, err == nil, readSpool(err)
	}
	f.sent(batch.GetSeq())
	return true, false, stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
}

// readSpool says what failed; ErrEpochDone is no failure.
func readSpool(err error) error {
	if err == nil || errors.Is(err, ErrEpochDone) {
		return err
	}
	return fmt.Errorf("read spool: %w", err)
}

// part ends a stream that the server has said goodbye on; err is what it said. Acks that come meanwhile still count.
func (c *client) part(stream gohubv1.IngestService_StreamClient, received <-chan error, err error) (ended bool, _ error) {
	ended, _ = c.leave(stream, received) // the stream ends for the reason given, even if it breaks before
	return ended, err
}

// farewell is a goodbye as the status that the stream would have ended with.
func farewell(goodbye *gohubv1.Goodbye) error {
	code := codes.Code(goodbye.GetCode())
	if code == codes.OK { // the server wants the stream ended, the agent has more to say
		code = codes.Unavailable
	}
	return status.Error(code, goodbye.GetMessage())
}

// leave half-closes a stream on which nothing more is sent, and gives the server a moment to end its side. It is called by
// the goroutine that sends: gRPC forbids a CloseSend beside a Send.
func (c *client) leave(stream gohubv1.IngestService_StreamClient, received <-chan error) (ended bool, err error) {
	if err := stream.CloseSend(); err != nil {
		return false, err
	}
	timer := time.NewTimer(leaveTimeout)
	defer timer.Stop()
	select {
	case <-received: // whatever it says, the stream ends for another reason
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

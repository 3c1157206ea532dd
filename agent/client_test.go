package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// patience is how long a test waits for something that must happen.
const patience = 10 * time.Second

// testClient is a client with short waits, and its spool.
type testClient struct {
	*client
	spool    *MemorySpool
	stop     func() // begins the drain
	kill     func()
	finished chan struct{}
	log      *logBuffer
}

// logBuffer keeps log text for a test to look at.
type logBuffer struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // capacity 1
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *logBuffer) until(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(patience)
	for b.count(part) == 0 {
		select {
		case <-b.changed:
		case <-deadline:
			t.Fatalf("still waiting for %q in the log", part)
		}
	}
}

func (b *logBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

// newTestClient is a client with short waits that is not told to stop.
func newTestClient(server string, spool Spool, log *slog.Logger) *client {
	return &client{
		server: server, spool: spool, log: log, window: 4, agentID: testAgentID, fresh: make(chan struct{}, 1),
		token: func() (string, error) { return "", nil },
		hello: func(_ context.Context, epoch uint64) *gohubv1.Hello {
			return &gohubv1.Hello{AgentId: testAgentID, Epoch: epoch}
		},
		backoff:    backoff{base: time.Millisecond, ceiling: 20 * time.Millisecond},
		slowRetry:  20 * time.Millisecond,
		healthy:    time.Hour,
		now:        time.Now,
		complaints: complaints{log: log, server: server, now: time.Now},
	}
}

func startClient(t *testing.T, server, token string) *testClient {
	t.Helper()
	spool := newTestSpool(t, 1<<20)
	stopping := make(chan struct{})
	ctx, kill := context.WithCancel(t.Context())
	log, logger := newTestLog()
	c := &testClient{
		client:   newTestClient(server, spool, logger),
		spool:    spool,
		stop:     sync.OnceFunc(func() { close(stopping) }),
		kill:     kill,
		finished: make(chan struct{}),
		log:      log,
	}
	c.token = func() (string, error) { return token, nil }
	c.stopping = stopping
	go func() {
		defer close(c.finished)
		c.run(ctx)
	}()
	t.Cleanup(func() { kill(); <-c.finished })
	return c
}

func (c *testClient) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := c.spool.Append(&gohubv1.Sample{TimeUnixMillis: int64(c.spool.Newest() + 1)}); err != nil {
			t.Fatal(err)
		}
	}
}

// drain stops the client and waits until it says that all is stored.
func (c *testClient) drain(t *testing.T) {
	t.Helper()
	c.stop()
	select {
	case <-c.finished:
	case <-time.After(patience):
		t.Fatal("the client does not finish")
	}
}

func TestAcksTrimTheSpool(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 20)
	c.drain(t)
	if !slices.Equal(server.stored, sequence(1, 20)) {
		t.Errorf("stored %v", server.stored)
	}
	if s := c.spool.Stats(); s.Batches != 0 || s.Dropped != 0 {
		t.Errorf("the spool holds %+v after everything was acknowledged", s)
	}
}

func TestWindowBoundsWhatIsOnTheWay(t *testing.T) {
	server := newFakeServer()
	server.holdAcks = true
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 12)
	server.until(t, "a full window", func() bool { return len(server.received) == c.window })
	if s := c.spool.Stats(); s.Batches != 12 {
		t.Errorf("the spool holds %d batches, nothing was acknowledged", s.Batches)
	}
	c.kill()
	<-c.finished
	if len(server.received) != c.window {
		t.Errorf("%d batches were sent without an ack, the window is %d", len(server.received), c.window)
	}
}

func TestReconnectResendsExactlyTheUnacknowledged(t *testing.T) {
	server := newFakeServer()
	// The third batch arrives, and the stream breaks before it is stored.
	broken := false
	server.onBatch = func(seq uint64) error {
		if seq == 3 && !broken {
			broken = true
			return status.Error(codes.Aborted, "another stream took over")
		}
		return nil
	}
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 5)
	c.drain(t)
	if !slices.Equal(server.stored, sequence(1, 5)) {
		t.Errorf("stored %v, want each batch once and in order", server.stored)
	}
	if server.received[1] != 1 || server.received[2] != 1 || server.received[3] != 2 {
		t.Errorf("received %v: only what was not stored may come again", server.received)
	}
}

func TestGoodbyeHalfClosesAndCountsAsTheStatusItTells(t *testing.T) {
	for _, one := range []struct {
		code codes.Code
		hint string
	}{
		{codes.Aborted, "was this machine cloned?"},
		{codes.Unavailable, "tried again by itself"},
		{codes.Unauthenticated, "refuses this agent's token"},
		{codes.OK, "tried again by itself"},
	} {
		t.Run(one.code.String(), func(t *testing.T) {
			server := newFakeServer()
			server.goodbye, server.goodbyeAt = &gohubv1.Goodbye{Code: uint32(one.code), Message: "farewell to you"}, 3
			address, _ := serve(t, server, "127.0.0.1:0")
			c := startClient(t, address, "")
			c.append(t, 12)
			c.log.until(t, "farewell to you")
			c.drain(t)
			if !slices.Equal(server.stored, sequence(1, 12)) {
				t.Errorf("stored %v, want each batch once and in order", server.stored)
			}
			if server.halfClosed != 1 || server.afterwards > c.window {
				t.Errorf("%d streams were half-closed, %d batches came after the goodbye", server.halfClosed, server.afterwards)
			}
			if c.log.count(one.hint) != 1 {
				t.Errorf("no hint %q in the log", one.hint)
			}
		})
	}
}

func TestServerDownThenUpLosesNothingAndLogsOnce(t *testing.T) {
	first := newFakeServer()
	address, stop := serve(t, first, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 3)
	first.until(t, "the first batches", func() bool { return len(first.stored) == 3 })
	stop()
	c.append(t, 3)
	c.log.until(t, "connection refused")
	second := newFakeServer()
	second.stored = slices.Clone(first.stored)
	serve(t, second, address)
	c.drain(t)
	if !slices.Equal(second.stored, sequence(1, 6)) {
		t.Errorf("stored %v", second.stored)
	}
	if n := c.log.count("connection refused"); n != 1 {
		t.Errorf("a refused connection is logged %d times, want once", n)
	}
}

func TestWrongTokenKeepsTryingAndSaysWhatToCheck(t *testing.T) {
	server := newFakeServer()
	server.token = "right"
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "wrong-secret")
	c.append(t, 1)
	server.until(t, "a third attempt", func() bool { return len(server.hellos) >= 3 })
	c.kill()
	<-c.finished
	if n := c.log.count("refuses this agent's token"); n != 1 {
		t.Errorf("the hint is logged %d times, want once", n)
	}
	if c.log.count("wrong-secret") != 0 {
		t.Error("the token is in the log")
	}
	if c.spool.Stats().Batches != 1 {
		t.Error("the batch is gone")
	}
}

func TestRightTokenIsSent(t *testing.T) {
	server := newFakeServer()
	server.token = "right"
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "right")
	c.append(t, 1)
	c.drain(t)
	if len(server.stored) != 1 {
		t.Errorf("stored %v", server.stored)
	}
}

func TestRefusedBatchIsGivenUpAndItsNeighboursAreStored(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.ResourceExhausted} {
		t.Run(code.String(), func(t *testing.T) {
			server := newFakeServer()
			server.onBatch = func(seq uint64) error {
				if seq == 3 || seq == 4 {
					return status.Error(code, "poison")
				}
				return nil
			}
			address, _ := serve(t, server, "127.0.0.1:0")
			c := startClient(t, address, "")
			c.append(t, 8)
			c.drain(t)
			if want := []uint64{1, 2, 5, 6, 7, 8}; !slices.Equal(server.stored, want) {
				t.Errorf("stored %v, want %v", server.stored, want)
			}
			if c.refused.Load() != 2 || c.spool.Stats().Dropped != 2 {
				t.Errorf("counted %d refused, %d dropped, want 2 and 2", c.refused.Load(), c.spool.Stats().Dropped)
			}
			if server.received[3] < 2 || server.received[4] < 2 {
				t.Errorf("received %v: a batch was given up without a resend", server.received)
			}
		})
	}
}

func TestPassingRefusalDropsNothing(t *testing.T) {
	server := newFakeServer()
	refusals := 0
	server.onBatch = func(seq uint64) error {
		if refusals < 2 {
			refusals++
			return status.Error(codes.ResourceExhausted, "busy")
		}
		return nil
	}
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 8)
	c.drain(t)
	if !slices.Equal(server.stored, sequence(1, 8)) {
		t.Errorf("stored %v", server.stored)
	}
}

func TestHelloTellsTheTime(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	before := time.Now().UnixMilli()
	c := startClient(t, address, "")
	server.until(t, "a hello", func() bool { return len(server.hellos) > 0 })
	c.kill()
	<-c.finished
	if said := server.hellos[0].GetTimeUnixMillis(); said < before || said > time.Now().UnixMilli() {
		t.Errorf("it said %d, at %d or after", said, before)
	}
}

func TestAgentIsLongInComingBackToAServerWhoseClockIsSlow(t *testing.T) {
	server := newFakeServer()
	server.onBatch = func(uint64) error { return status.Error(codes.OutOfRange, "ahead") }
	address, _ := serve(t, server, "127.0.0.1:0")
	log, logger := newTestLog()
	spool := newTestSpool(t, 1<<20)
	c := newTestClient(address, spool, logger)
	c.slowRetry, c.healthy, c.stopping = 2*time.Hour, 0, make(chan struct{})
	c.backoff.ceiling = time.Minute
	if _, err := spool.Append(&gohubv1.Sample{}); err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(t.Context())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.run(ctx)
	}()
	log.until(t, "retry_in=1h0")
	log.until(t, "this machine's clock is not the server's")
	kill()
	<-finished
	if c.backoff.attempt <= mostDoublings || len(server.hellos) != 1 || spool.Stats().Batches != 1 {
		t.Errorf("after %d hellos it holds %d batches, and has waited %d times", len(server.hellos), spool.Stats().Batches, c.backoff.attempt)
	}
}

func TestForeignCursorSendsNothing(t *testing.T) {
	server := newFakeServer()
	server.stored = []uint64{1000} // of another spool that has the same epoch
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startClient(t, address, "")
	c.append(t, 2)
	server.until(t, "a second attempt", func() bool { return len(server.hellos) >= 2 })
	c.kill()
	<-c.finished
	if len(server.received) != 0 || c.spool.Stats().Batches != 2 {
		t.Errorf("sent %v, held %d: want nothing sent and everything held", server.received, c.spool.Stats().Batches)
	}
}

func TestStopWithoutServerEndsInTime(t *testing.T) {
	c := startClient(t, "127.0.0.1:1", "")
	c.append(t, 1)
	c.stop()
	c.kill() // what the agent does when its patience ends
	select {
	case <-c.finished:
	case <-time.After(patience):
		t.Fatal("the client does not finish")
	}
	if c.spool.Stats().Batches != 1 {
		t.Error("the batch is gone without being stored")
	}
}

// sequence is the numbers from first to last.
func sequence(first, last uint64) []uint64 {
	var s []uint64
	for seq := first; seq <= last; seq++ {
		s = append(s, seq)
	}
	return s
}

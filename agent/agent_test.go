package agent

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// handClock gives a tick each time the test asks for one.
type handClock struct {
	mu    sync.Mutex
	now   time.Time
	ticks chan struct{}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.ticks:
		c.mu.Lock()
		c.now = c.now.Add(d)
		c.mu.Unlock()
		return true
	}
}

func TestAgentStreamsAndDrainsWhenStopped(t *testing.T) {
	server := newFakeServer()
	server.holdAcks = true
	address, stopServer := serve(t, server, "127.0.0.1:0")
	clock := &handClock{now: time.Unix(1_700_000_003, 0), ticks: make(chan struct{})}
	log, logger := newTestLog()
	a, err := New(Options{
		Server: address, AgentID: testAgentID, Interval: 10 * time.Second, BufferBytes: DefaultBufferBytes,
		DrainTimeout: patience, Version: "1.2.3", Logger: logger, clock: clock, Sampling: SamplerOptions{TopProcesses: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	finished := make(chan error, 1)
	go func() { finished <- a.Run(ctx) }()
	for range 3 {
		clock.ticks <- struct{}{}
	}
	server.until(t, "three batches", func() bool { return len(server.received) == 3 })
	server.mu.Lock()
	facts := server.hellos[0].GetFacts()
	server.mu.Unlock()
	if facts.GetOs() != runtime.GOOS || facts.GetHostname() == "" || facts.GetAgentVersion() != "1.2.3" || facts.GetIntervalMillis() != 10_000 || facts.GetMemoryBytes() == 0 {
		t.Errorf("facts %v", facts)
	}
	stop()
	log.until(t, "agent stops")
	stopServer() // nothing was acknowledged: the drain must go to the next server
	second := newFakeServer()
	serve(t, second, address)
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * patience):
		t.Fatal("Run does not return")
	}
	if !slices.Equal(second.stored, []uint64{1, 2, 3}) {
		t.Errorf("stored %v", second.stored)
	}
	if log.count("stored everything that was held") != 1 {
		t.Error("the end is not logged")
	}
}

func TestAgentStopIsBounded(t *testing.T) {
	clock := &handClock{now: time.Unix(1_700_000_003, 0), ticks: make(chan struct{})}
	log, logger := newTestLog()
	a, err := New(Options{
		Server: "127.0.0.1:1", AgentID: testAgentID, Interval: 10 * time.Second, BufferBytes: DefaultBufferBytes,
		DrainTimeout: 10 * time.Millisecond, Logger: logger, clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- a.Run(ctx) }()
	clock.ticks <- struct{}{}
	clock.ticks <- struct{}{} // the first sample is held now
	stop()
	select {
	case err := <-finished:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not return")
	}
	if log.count("before the server had stored everything") != 1 {
		t.Error("the loss is not logged")
	}
}

func TestNewRefusesOptionsThatCannotWork(t *testing.T) {
	good := Options{Server: "x:1", AgentID: testAgentID, Interval: DefaultInterval, BufferBytes: MinBufferBytes}
	for name, change := range map[string]func(*Options){
		"no server":    func(o *Options) { o.Server = "" },
		"no agent id":  func(o *Options) { o.AgentID = "" },
		"too often":    func(o *Options) { o.Interval = time.Millisecond },
		"too seldom":   func(o *Options) { o.Interval = 2 * time.Hour },
		"odd interval": func(o *Options) { o.Interval = time.Second + time.Nanosecond },
		"no room":      func(o *Options) { o.BufferBytes = 0 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

func TestBackoffIsBoundedAndGrows(t *testing.T) {
	b := backoff{base: time.Second, ceiling: 30 * time.Second, floor: 100 * time.Millisecond}
	for attempt := range 100 {
		limit := 30 * time.Second
		if attempt < 5 {
			limit = time.Second << attempt
		}
		if d := b.next(); d < b.floor || d > limit {
			t.Fatalf("attempt %d waits %s, at most %s is allowed", attempt, d, limit)
		}
	}
	b.reset()
	if d := b.next(); d > time.Second {
		t.Errorf("after a reset: %s", d)
	}
}

func TestGuardContainsPanicsAndStartsNothingTwice(t *testing.T) {
	g := newGuard()
	if _, err := within(g, "x", patience, func() (int, error) { panic("surprise") }); err == nil {
		t.Error("a panic is not an error")
	}
	release := make(chan struct{})
	stuck, _ := start(g, "x", func() (int, error) { <-release; return 1, nil })
	if again, since := start(g, "x", func() (int, error) { return 2, nil }); again != nil || since.IsZero() {
		t.Error("a stuck call is started again")
	}
	close(release)
	<-stuck.done
	if v, err := within(g, "x", patience, func() (int, error) { return 3, nil }); v != 3 || err != nil {
		t.Errorf("after it came back: %d, %v", v, err)
	}
}

package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// heavySample is about 4 KiB, of which a part is noise, as in a sample of a machine.
func heavySample(i int) *gohubv1.Sample {
	random := rand.New(rand.NewPCG(uint64(i), 1))
	sample := &gohubv1.Sample{TimeUnixMillis: int64(i)}
	for n := range 64 {
		usage := random.Float32()
		sample.Cores = append(sample.Cores, &gohubv1.CoreMetrics{Core: fmt.Sprintf("cpu%d with a name of some length, to weigh more", n), UsagePercent: &usage})
	}
	return sample
}

// startBacklog starts a client on a spool that holds samples 1 to n.
func startBacklog(t *testing.T, server string, n int) *testClient {
	t.Helper()
	log, logger := newTestLog()
	spool := newTestSpool(t, 64<<20)
	stopping := make(chan struct{})
	c := &testClient{
		client: newTestClient(server, spool, logger), spool: spool, log: log,
		stop: sync.OnceFunc(func() { close(stopping) }), finished: make(chan struct{}),
	}
	c.stopping = stopping
	for i := range n {
		c.sample(t, i+1)
	}
	var ctx context.Context
	ctx, c.kill = context.WithCancel(t.Context())
	go func() {
		defer close(c.finished)
		c.run(ctx)
	}()
	t.Cleanup(func() { c.kill(); <-c.finished })
	return c
}

// sample does what an agent does at each tick.
func (c *testClient) sample(t *testing.T, i int) {
	t.Helper()
	sample := heavySample(i)
	seq, err := c.spool.Append(sample)
	if err != nil {
		t.Fatal(err)
	}
	c.took(seq, sample)
}

func TestBacklogGoesInBundles(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	const n = 1000
	c := startBacklog(t, address, n)
	c.drain(t)
	if !slices.Equal(server.stored, sequence(1, n)) {
		t.Errorf("%d stored, want each batch once and in order", len(server.stored))
	}
	bundled := 0
	for _, bundle := range server.bundles {
		bundled += bundle.batches
		h := bundle.header
		if bundle.bytes > maxBundleBytes || !h.SingleSegment || !h.HasFCS && bundle.bytes >= 256 || h.WindowSize > maxBundleBytes || h.FrameContentSize != uint64(bundle.bytes) {
			t.Errorf("bundle of %d bytes, header %+v", bundle.bytes, h)
		}
	}
	if bundled < n-2*backlogBatches || len(server.bundles) > n/20 {
		t.Errorf("%d batches went in %d bundles", bundled, len(server.bundles))
	}
}

func TestFewUnsentBatchesAreNoBacklog(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startBacklog(t, address, backlogBatches)
	for i := backlogBatches + 1; i < 60; i++ {
		server.until(t, "the batch before", func() bool { return len(server.stored) == i-1 })
		c.sample(t, i)
	}
	c.drain(t)
	if len(server.bundles) != 0 || len(server.stored) != 59 {
		t.Errorf("%d bundles, %d stored", len(server.bundles), len(server.stored))
	}
}

func TestPreviewsPassTheBacklogWhichIsBounded(t *testing.T) {
	server := newFakeServer()
	server.holdAcks = true
	address, stop := serve(t, server, "127.0.0.1:0")
	const n = 600
	c := startBacklog(t, address, n)
	server.until(t, "bundles without an ack", func() bool { return len(server.bundles) == maxBundles && len(server.previews) == 1 })
	for i := n + 1; i <= n+3; i++ { // each is seen before anything is acknowledged
		c.sample(t, i)
		server.until(t, "the preview", func() bool { return slices.Contains(server.previews, int64(i)) })
	}
	server.mu.Lock()
	received, bundles := len(server.received), len(server.bundles)
	if len(server.previews) != 4 || server.previews[0] != n || bundles != maxBundles || received > n/2 {
		t.Errorf("previews %v; %d batches in %d bundles without an ack", server.previews, received, bundles)
	}
	server.mu.Unlock()
	stop()
	second := newFakeServer() // has stored nothing: everything comes again, previewed or not
	serve(t, second, address)
	second.until(t, "everything", func() bool { return len(second.stored) == n+3 })
	c.sample(t, n+4)
	second.until(t, "what was taken after the backlog", func() bool { return len(second.stored) == n+4 })
	c.drain(t)
	if !slices.Equal(second.stored, sequence(1, n+4)) {
		t.Errorf("%d stored, want each batch once and in order", len(second.stored))
	}
}

// TestCaughtUpClientHasNoBundler looks for what a backlog leaves behind.
func TestCaughtUpClientHasNoBundler(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startBacklog(t, address, 100)
	server.until(t, "the backlog", func() bool { return len(server.stored) == 100 })
	server.mu.Lock()
	bundles := len(server.bundles)
	server.mu.Unlock()
	for i := 101; i <= 110; i++ {
		// The server has acknowledged the sample before, and the client may not have heard so: the first one may still go
		// as a part of the backlog.
		c.sample(t, i)
		server.until(t, "the batch", func() bool { return len(server.stored) == i })
		held := func() bool { return c.spool.Stats().Batches == 0 }
		server.until(t, "the ack", func() bool { server.note(); return held() })
	}
	c.drain(t)
	if len(server.bundles) > bundles+1 {
		t.Errorf("%d bundles were sent in all, %d of the backlog", len(server.bundles), bundles)
	}
}

func TestBrokenBacklogGoesOnWhereTheAcksAre(t *testing.T) {
	server := newFakeServer()
	broken := false
	server.onBatch = func(seq uint64) error {
		if seq == 333 && !broken {
			broken = true
			return status.Error(codes.Unavailable, "broken in the middle of a bundle")
		}
		return nil
	}
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startBacklog(t, address, 500)
	c.drain(t)
	if !slices.Equal(server.stored, sequence(1, 500)) {
		t.Errorf("%d stored, want each batch once and in order", len(server.stored))
	}
	for seq, times := range server.received {
		if seq < 333 && times > 1 {
			t.Errorf("batch %d came %d times, it was acknowledged", seq, times)
		}
	}
}

func TestPoisonInABundleIsGivenUpAlone(t *testing.T) {
	server := newFakeServer()
	server.onBatch = func(seq uint64) error {
		if seq == 77 {
			return status.Error(codes.InvalidArgument, "poison")
		}
		return nil
	}
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startBacklog(t, address, 300)
	c.drain(t)
	if want := slices.Concat(sequence(1, 76), sequence(78, 300)); !slices.Equal(server.stored, want) || c.refused.Load() != 1 {
		t.Errorf("%d stored, %d refused", len(server.stored), c.refused.Load())
	}
}

func TestBatchTooLargeForABundleGoesByItself(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	spool := newTestSpool(t, 64<<20)
	for i := range 40 {
		var samples []*gohubv1.Sample
		for range 1 + i%10*12 { // up to 500 KiB
			samples = append(samples, heavySample(i))
		}
		if _, err := spool.Append(samples...); err != nil {
			t.Fatal(err)
		}
	}
	_, logger := newTestLog()
	c := newTestClient(address, spool, logger)
	stopping := make(chan struct{})
	close(stopping)
	c.stopping = stopping
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.run(ctx)
	if !slices.Equal(server.stored, sequence(1, 40)) {
		t.Errorf("stored %v", server.stored)
	}
}

// TestBacklogOfADiskSpool goes through segments and two epochs.
func TestBacklogOfADiskSpool(t *testing.T) {
	server := serveCursor(t)
	o := diskOptions(t.TempDir())
	o.segment = 20_000
	s := openDisk(t, o)
	appendRange(t, s, 0, 700)
	s.mu.Lock()
	s.st.Boot[0] ^= 1 // the system is restarted, so a new epoch begins
	s.writeStateTwice()
	s.mu.Unlock()
	s.crash()
	s = openDisk(t, o)
	appendRange(t, s, 700, 1500)
	server.drainTo(s)
	if got := server.model.stored; !slices.Equal(got.numbers, numbers(0, 1500)) || len(got.gaps) > 0 {
		t.Errorf("%d stored, gaps %v", len(got.numbers), got.gaps)
	}
	if len(server.hellos) != 2 {
		t.Errorf("%d streams, want one an epoch", len(server.hellos))
	}
}

// BenchmarkBundle packs a day's samples of a machine, as a backlog does.
func BenchmarkBundle(b *testing.B) {
	spool, err := NewMemorySpool(MemorySpoolOptions{AgentID: testAgentID, MaxBytes: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	sampler := NewSampler(SamplerOptions{TopProcesses: DefaultTopProcesses})
	defer sampler.Close()
	const n = 200
	for i := range n {
		if _, err := spool.Append(sampler.Sample(time.Unix(1_700_000_000+int64(i)*10, 0))); err != nil {
			b.Fatal(err)
		}
	}
	bundler, err := newBundler()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	plain, packed, batches, bundles := 0, 0, 0, 0
	for b.Loop() {
		for after := uint64(0); ; {
			message, err := bundler.next(spool, after)
			if err != nil {
				b.Fatal(err)
			}
			if message == nil {
				break
			}
			after = bundler.seqs[len(bundler.seqs)-1]
			plain, packed = plain+len(bundler.plain), packed+len(bundler.packed)
			batches, bundles = batches+len(bundler.seqs), bundles+1
		}
	}
	b.ReportMetric(float64(plain)/float64(packed), "ratio")
	b.ReportMetric(float64(plain)/float64(batches), "bytes/batch")
	b.ReportMetric(float64(batches)/float64(bundles), "batches/bundle")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(batches), "µs/batch")
}

// TestNoPreviewWhereTheSampleBeforeIsStored waits for the ack each time, as an agent's interval does.
func TestNoPreviewWhereTheSampleBeforeIsStored(t *testing.T) {
	server := newFakeServer()
	address, _ := serve(t, server, "127.0.0.1:0")
	c := startBacklog(t, address, 0)
	for i := 1; i <= 20; i++ {
		c.sample(t, i)
		server.until(t, "the ack", func() bool { server.note(); return c.spool.Stats().Batches == 0 })
	}
	c.drain(t)
	// The ack may be in the spool a moment before the previewer looks.
	if len(server.previews) > 2 || len(server.stored) != 20 {
		t.Errorf("%d previews, %d stored", len(server.previews), len(server.stored))
	}
}

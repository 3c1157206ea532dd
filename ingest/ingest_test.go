package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a real ingest server on a real socket with a real store.
type harness struct {
	store    *sqlite.Store
	sink     *faultySink
	server   *Server
	registry *prometheus.Registry
	address  string
	// closed makes a test that closes the server by itself not do so again.
	stop func()
}

func start(t *testing.T, change ...func(*Options)) *harness {
	t.Helper()
	store, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	h := &harness{store: store, sink: &faultySink{Sink: store}, registry: prometheus.NewPedanticRegistry()}
	options := Options{
		Sink: h.sink, Observer: ignore{}, Shards: 2, FlushAge: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: h.registry,
	}
	for _, apply := range change {
		apply(&options)
	}
	h.server = NewServer(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.address = listener.Addr().String()
	grpcServer := grpc.NewServer(grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.ForceServerCodecV2(Codec()), grpc.Creds(Credentials(insecure.NewCredentials())))
	h.server.Register(grpcServer)
	served := make(chan error, 1)
	go func() { served <- grpcServer.Serve(listener) }()
	h.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, h.server.Close(ctx))
		grpcServer.GracefulStop()
		require.NoError(t, <-served)
		h.server.Wait()
		require.NoError(t, store.Close())
	})
	t.Cleanup(h.stop)
	return h
}

type ignore struct{}

func (ignore) SetHost(storage.Host)                                 {}
func (ignore) Observe(storage.HostID, *catalogue.Sample, time.Time) {}

// faultySink fails appends as a test wants, and passes everything else on to the real store.
type faultySink struct {
	Sink
	mu      sync.Mutex
	failure func([]*storage.Batch) error
	tries   int
}

func (f *faultySink) Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	f.mu.Lock()
	f.tries++
	failure := f.failure
	f.mu.Unlock()
	if failure != nil {
		if err := failure(batches); err != nil {
			return nil, err
		}
	}
	return f.Sink.Append(ctx, batches)
}

func (f *faultySink) fail(failure func([]*storage.Batch) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = failure
}

func (f *faultySink) tried() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries
}

// peer is a hand-made agent.
type peer struct {
	t          *testing.T
	id         uuid.UUID
	connection *grpc.ClientConn
	stream     grpc.BidiStreamingClient[gohubv1.StreamRequest, gohubv1.StreamResponse]
	close      func()
	hostID     storage.HostID
}

func (h *harness) dial(t *testing.T, id uuid.UUID) *peer {
	t.Helper()
	connection, err := grpc.NewClient(h.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	stream, err := gohubv1.NewIngestServiceClient(connection).Stream(ctx)
	require.NoError(t, err)
	p := &peer{t: t, id: id, connection: connection, stream: stream}
	p.close = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, connection.Close())
	})
	t.Cleanup(p.close)
	return p
}

func hello(id uuid.UUID) *gohubv1.Hello {
	return &gohubv1.Hello{AgentId: id.String(), Epoch: 7, Facts: &gohubv1.HostFacts{Hostname: "web-1", IntervalMillis: 1000}}
}

func (h *harness) connect(t *testing.T, id uuid.UUID) (*peer, *gohubv1.Welcome) {
	t.Helper()
	p := h.dial(t, id)
	p.sendHello(hello(id))
	response, err := p.stream.Recv()
	require.NoError(t, err)
	require.NotNil(t, response.GetWelcome())
	p.hostID = storage.HostID(response.GetWelcome().GetHostId())
	return p, response.GetWelcome()
}

// session waits for the server's side of a stream: there is none yet when the welcome comes.
func (h *harness) session(t *testing.T, p *peer) *session {
	t.Helper()
	var one *session
	require.Eventually(t, func() bool {
		h.server.mu.Lock()
		defer h.server.mu.Unlock()
		one = h.server.sessions[p.id]
		return one != nil
	}, 10*time.Second, time.Millisecond)
	return one
}

func (p *peer) sendHello(hello *gohubv1.Hello) {
	require.NoError(p.t, p.stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello}}))
}

func (p *peer) send(batch *gohubv1.Batch) error {
	return p.stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
}

// base is when the first sample is taken: a whole minute, and recent enough not to be quarantined.
var base = time.Now().Add(-time.Hour).Truncate(time.Minute).UTC()

func (p *peer) batch(seq uint64) *gohubv1.Batch {
	return &gohubv1.Batch{AgentId: p.id.String(), Epoch: 7, Seq: seq, Samples: []*gohubv1.Sample{{
		TimeUnixMillis: base.Add(time.Duration(seq) * time.Second).UnixMilli(),
		Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(float32(seq))},
	}}}
}

// waitAck reads acknowledgements until one covers seq.
func (p *peer) waitAck(seq uint64) {
	p.t.Helper()
	for {
		response, err := p.stream.Recv()
		require.NoError(p.t, err)
		require.NotNil(p.t, response.GetAck())
		if response.GetAck().GetSeq() >= seq {
			require.Equal(p.t, seq, response.GetAck().GetSeq())
			return
		}
	}
}

// waitEnd reads until the stream ends, half-closing it when it is asked to, and returns its status.
func (p *peer) waitEnd() *status.Status {
	for {
		response, err := p.stream.Recv()
		if err != nil {
			return status.Convert(err)
		}
		if response.GetGoodbye() != nil {
			require.NoError(p.t, p.stream.CloseSend())
		}
	}
}

// stored returns the CPU values that are stored for a host, one a second.
func (h *harness) stored(t *testing.T, host storage.HostID) []float64 {
	t.Helper()
	cpu, _ := catalogue.MetricByName("cpu_usage_percent")
	series, err := h.store.Range(t.Context(), storage.RangeQuery{
		Hosts: []storage.HostID{host}, Metrics: []*catalogue.Metric{cpu}, From: base, To: base.Add(2 * time.Hour), Step: time.Second, MaxRows: 100_000,
	})
	require.NoError(t, err)
	if len(series) == 0 {
		return nil
	}
	return series[0].Avg
}

func upTo(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(i + 1)
	}
	return values
}

func TestStreamStoresWhatItAcknowledges(t *testing.T) {
	h := start(t)
	p, welcome := h.connect(t, uuid.New())
	require.Zero(t, welcome.GetCommittedSeq())
	for seq := uint64(1); seq <= 20; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
		p.waitAck(seq)
		require.Equal(t, upTo(int(seq)), h.stored(t, p.hostID))
	}
	require.NoError(t, p.stream.CloseSend())
	_, err := p.stream.Recv()
	require.ErrorIs(t, err, io.EOF)
}

func TestRedeliveryIsStoredOnce(t *testing.T) {
	h := start(t)
	id := uuid.New()
	p, _ := h.connect(t, id)
	for seq := uint64(1); seq <= 3; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	p.waitAck(3)
	p.close()

	p, welcome := h.connect(t, id)
	require.EqualValues(t, 3, welcome.GetCommittedSeq())
	for seq := uint64(1); seq <= 5; seq++ { // an agent that did not heed the welcome
		require.NoError(t, p.send(p.batch(seq)))
	}
	p.waitAck(5)
	require.Equal(t, upTo(5), h.stored(t, p.hostID))
}

func TestSecondStreamOfAnAgentReplacesTheFirst(t *testing.T) {
	h := start(t)
	id := uuid.New()
	first, _ := h.connect(t, id)
	second, _ := h.connect(t, id)
	require.Equal(t, codes.Aborted, first.waitEnd().Code())
	require.NoError(t, second.send(second.batch(1)))
	second.waitAck(1)
}

func TestMalformedMessageEndsItsStreamOnly(t *testing.T) {
	h := start(t)
	neighbour, _ := h.connect(t, uuid.New())
	changed := func(change func(*gohubv1.Hello)) func(*peer) {
		return func(p *peer) {
			message := hello(p.id)
			change(message)
			p.sendHello(message)
		}
	}
	batched := func(change func(*gohubv1.Batch)) func(*peer) {
		return func(p *peer) {
			p.sendHello(hello(p.id))
			message := p.batch(1)
			change(message)
			require.NoError(p.t, p.send(message))
		}
	}
	for name, c := range map[string]struct {
		say  func(*peer)
		code codes.Code
		text string
	}{
		"no hello":      {func(p *peer) { require.NoError(t, p.send(p.batch(1))) }, codes.InvalidArgument, "must be a hello"},
		"empty message": {func(p *peer) { require.NoError(t, p.stream.Send(&gohubv1.StreamRequest{})) }, codes.InvalidArgument, "must be a hello"},
		"agent id":      {changed(func(m *gohubv1.Hello) { m.AgentId = "me" }), codes.InvalidArgument, `"me" is not a UUID`},
		"nil agent id":  {changed(func(m *gohubv1.Hello) { m.AgentId = uuid.Nil.String() }), codes.InvalidArgument, "not a UUID"},
		"no epoch":      {changed(func(m *gohubv1.Hello) { m.Epoch = 0 }), codes.InvalidArgument, "epoch 0"},
		"huge epoch":    {changed(func(m *gohubv1.Hello) { m.Epoch = math.MaxUint64 }), codes.InvalidArgument, "epoch"},
		"no facts":      {changed(func(m *gohubv1.Hello) { m.Facts = nil }), codes.InvalidArgument, "hostname"},
		"NUL":           {changed(func(m *gohubv1.Hello) { m.Facts.CpuModel = "a\x00b" }), codes.InvalidArgument, "facts.cpu_model contains a NUL"},
		"long fact":     {changed(func(m *gohubv1.Hello) { m.Facts.Os = strings.Repeat("x", 2000) }), codes.InvalidArgument, "facts.os is 2000 bytes"},
		"labels":        {changed(func(m *gohubv1.Hello) { m.Facts.Labels = map[string]string{"a b": "c"} }), codes.InvalidArgument, "facts.labels: the label's name"},
		"interval":      {changed(func(m *gohubv1.Hello) { m.Facts.IntervalMillis = 1 }), codes.InvalidArgument, "interval_millis 1"},
		"second hello": {func(p *peer) {
			p.sendHello(hello(p.id))
			p.sendHello(hello(p.id))
		}, codes.InvalidArgument, "every message must be a batch or a backlog"},
		"other agent": {batched(func(m *gohubv1.Batch) { m.AgentId = uuid.NewString() }), codes.InvalidArgument, "on the stream of agent"},
		"other epoch": {batched(func(m *gohubv1.Batch) { m.Epoch = 8 }), codes.InvalidArgument, "epoch 8"},
		"no sequence": {batched(func(m *gohubv1.Batch) { m.Seq = 0 }), codes.InvalidArgument, "sequence number 0"},
		"huge batch":  {batched(func(m *gohubv1.Batch) { m.Samples = make([]*gohubv1.Sample, 1001); fill(m.Samples) }), codes.InvalidArgument, "over 1000 samples"},
		"over 4 MiB":  {batched(func(m *gohubv1.Batch) { m.AgentId = strings.Repeat("x", MaxMessageBytes) }), codes.ResourceExhausted, "the limit is 4194304"},
		"many instances": {batched(func(m *gohubv1.Batch) {
			m.Samples[0].Cores = slices.Repeat([]*gohubv1.CoreMetrics{{}}, catalogue.MaxInstances+1)
		}), codes.InvalidArgument, "over 4096 instances"},
		"many rows": {batched(func(m *gohubv1.Batch) {
			m.Samples[0].Cores = slices.Repeat([]*gohubv1.CoreMetrics{{}}, catalogue.MaxInstances)
			m.Samples = slices.Repeat(m.Samples, 30)
		}), codes.InvalidArgument, "over 100000 rows"},
		"not protobuf": {func(p *peer) { require.NoError(t, p.stream.SendMsg(garbage{})) }, codes.InvalidArgument, "decode the first message"},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.dial(t, uuid.New())
			c.say(p)
			end := p.waitEnd()
			require.Equal(t, c.code, end.Code(), end.Message())
			require.Contains(t, end.Message(), c.text)
		})
	}
	require.NoError(t, neighbour.send(neighbour.batch(1)))
	neighbour.waitAck(1)
}

func fill(samples []*gohubv1.Sample) {
	for i := range samples {
		samples[i] = &gohubv1.Sample{}
	}
}

// garbage encodes to bytes that no decoder of protobuf takes.
type garbage struct{}

func (garbage) Reset()         {}
func (garbage) String() string { return "garbage" }
func (garbage) ProtoMessage()  {}
func (garbage) Marshal() ([]byte, error) {
	return []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil
}

func TestBadSampleGoesToQuarantineAndItsNeighboursAreStored(t *testing.T) {
	cases := map[string]func(*gohubv1.Sample){
		"far future":      func(s *gohubv1.Sample) { s.TimeUnixMillis = time.Now().Add(time.Hour).UnixMilli() },
		"too old":         func(s *gohubv1.Sample) { s.TimeUnixMillis = 0 },
		"end of time":     func(s *gohubv1.Sample) { s.TimeUnixMillis = math.MaxInt64 },
		"no host metrics": func(s *gohubv1.Sample) { s.Host = nil },
		"too many instances": func(s *gohubv1.Sample) {
			for range 4096 { // of each family as many as it may have
				s.Disks, s.Sensors = append(s.Disks, &gohubv1.DiskMetrics{}), append(s.Sensors, &gohubv1.SensorMetrics{})
			}
		},
		"NUL label":  func(s *gohubv1.Sample) { s.Disks = []*gohubv1.DiskMetrics{{Device: "a\x00"}} },
		"long label": func(s *gohubv1.Sample) { s.Disks = []*gohubv1.DiskMetrics{{Device: strings.Repeat("x", 5000)}} },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			p, _ := h.connect(t, uuid.New())
			batch := p.batch(1)
			batch.Samples = append(batch.Samples, p.batch(2).Samples[0], p.batch(3).Samples[0])
			spoil(batch.Samples[1])
			require.NoError(t, p.send(batch))
			p.waitAck(1)
			require.Equal(t, []float64{1, 3}, h.stored(t, p.hostID))
			require.InDelta(t, 1, testutil.ToFloat64(h.server.metrics.quarantined), 0)
		})
	}
}

// TestNumberThatNoDatabaseKeepsIsAMissingReading: a counter that ran backwards costs itself, not the host's sample.
func TestNumberThatNoDatabaseKeepsIsAMissingReading(t *testing.T) {
	for name, spoil := range map[string]func(*gohubv1.Sample){
		"NaN":          func(s *gohubv1.Sample) { s.Host.Load1 = proto.Float32(float32(math.NaN())) },
		"infinite":     func(s *gohubv1.Sample) { s.Host.Load1 = proto.Float32(float32(math.Inf(-1))) },
		"over bigint":  func(s *gohubv1.Sample) { s.Host.MemoryTotalBytes = proto.Uint64(math.MaxUint64) },
		"over integer": func(s *gohubv1.Sample) { s.Host.Processes = proto.Uint32(math.MaxUint32) },
		"of an instance": func(s *gohubv1.Sample) {
			s.Networks = []*gohubv1.NetworkMetrics{{Interface: "eth0", ReceiveBytesTotal: proto.Uint64(math.MaxUint64 - 615)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			p, _ := h.connect(t, uuid.New())
			batch := p.batch(1)
			batch.Samples = append(batch.Samples, p.batch(2).Samples[0], p.batch(3).Samples[0])
			for _, sample := range batch.Samples[1:] { // the last one is decoded, the others become rows straight
				spoil(sample)
			}
			require.NoError(t, p.send(batch))
			p.waitAck(1)
			require.Len(t, h.stored(t, p.hostID), 3)
			require.Zero(t, testutil.ToFloat64(h.server.metrics.quarantined))
			require.InDelta(t, 2, testutil.ToFloat64(h.server.metrics.omitted), 0)
		})
	}
}

func TestNothingIsAcknowledgedWhileTheDatabaseIsAway(t *testing.T) {
	h := start(t, func(o *Options) { o.RingSlots = 4; o.Shards = 1 })
	h.sink.fail(func([]*storage.Batch) error { return storage.ErrUnavailable })
	p, _ := h.connect(t, uuid.New())
	acked := make(chan uint64, 100)
	go func() {
		defer close(acked)
		for {
			response, err := p.stream.Recv()
			if err != nil {
				return
			}
			acked <- response.GetAck().GetSeq()
		}
	}()
	const count = 50
	for seq := uint64(1); seq <= count; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	shard := h.server.shards[0]
	require.Eventually(t, func() bool { return shard.ring.depth() == 4 && shard.space.waiting.Load() && h.sink.tried() > 2 }, 10*time.Second, time.Millisecond,
		"the ring is full and its stream is held back")
	require.Empty(t, acked)
	require.Empty(t, h.stored(t, p.hostID))
	require.ErrorIs(t, h.server.Ready(t.Context()), storage.ErrUnavailable)

	h.sink.fail(nil)
	newest := uint64(0)
	for newest < count {
		newest = <-acked
	}
	require.Equal(t, upTo(count), h.stored(t, p.hostID))
	require.NoError(t, h.server.Ready(t.Context()))
	p.close()
	for range acked { // until the reader has ended
	}
}

func TestPoisonedBatchIsFoundAndItsNeighboursAreStored(t *testing.T) {
	h := start(t, func(o *Options) { o.Shards = 1; o.FlushAge = 50 * time.Millisecond })
	h.sink.fail(func(batches []*storage.Batch) error {
		for _, batch := range batches {
			if batch.Seq == 13 && batch.Rows.Count() > 0 {
				return errors.Join(storage.ErrBadData, errors.New("invalid \x00 byte \xff"))
			}
		}
		return nil
	})
	p, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 30; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	p.waitAck(30)
	want := slices.Delete(upTo(30), 12, 13)
	require.Equal(t, want, h.stored(t, p.hostID))
	require.InDelta(t, 1, testutil.ToFloat64(h.server.metrics.quarantined), 0)
}

func TestFlushThatTimesOutIsTriedInSmallerParts(t *testing.T) {
	h := start(t, func(o *Options) { o.Shards = 1; o.FlushAge = 50 * time.Millisecond })
	const most = 3
	h.sink.fail(func(batches []*storage.Batch) error {
		if len(batches) > most {
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, context.DeadlineExceeded)
		}
		return nil
	})
	p, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 30; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	p.waitAck(30)
	require.Equal(t, upTo(30), h.stored(t, p.hostID))
}

func TestRefusalThatPassesCostsNoSample(t *testing.T) {
	h := start(t)
	refused := false
	h.sink.fail(func([]*storage.Batch) error {
		if refused {
			return nil
		}
		refused = true
		return storage.ErrBadData // another server made the same chunk
	})
	p, _ := h.connect(t, uuid.New())
	require.NoError(t, p.send(p.batch(1)))
	p.waitAck(1)
	require.Equal(t, upTo(1), h.stored(t, p.hostID))
	require.Zero(t, testutil.ToFloat64(h.server.metrics.quarantined))
}

func TestBatchThatTheDatabaseCanNotTakeHoldsUpItsAgentOnly(t *testing.T) {
	h := start(t, func(o *Options) { o.Shards = 1; o.FlushAge = 20 * time.Millisecond })
	id := uuid.New()
	bad, _ := h.connect(t, id)
	host := bad.hostID
	frozen := errors.New("operation not supported on frozen chunk")
	var found, together atomic.Bool
	h.sink.fail(func(batches []*storage.Batch) error {
		for _, batch := range batches {
			if batch.Host == host && batch.Seq == 13 {
				if found.Load() && slices.ContainsFunc(batches, func(other *storage.Batch) bool { return other.Host != host }) {
					together.Store(true)
				}
				found.Store(found.Load() || len(batches) == 1)
				return frozen
			}
		}
		return nil
	})
	good, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 30; seq++ {
		require.NoError(t, good.send(good.batch(seq)))
		_ = bad.send(bad.batch(seq)) // until it is sent away
	}
	good.waitAck(30)
	require.Equal(t, upTo(30), h.stored(t, good.hostID))
	end := bad.waitEnd()
	require.Equal(t, codes.Unavailable, end.Code(), end.Message())

	bad, welcome := h.connect(t, id)
	require.EqualValues(t, 12, welcome.GetCommittedSeq())
	require.NoError(t, bad.send(bad.batch(13)))
	require.NoError(t, good.send(good.batch(31)))
	good.waitAck(31)
	require.Equal(t, codes.Unavailable, bad.waitEnd().Code())
	require.NoError(t, h.server.Ready(t.Context()))
	require.InDelta(t, 1, testutil.ToFloat64(h.server.metrics.isolated), 0)
	require.Zero(t, testutil.ToFloat64(h.server.metrics.quarantined))

	h.sink.fail(nil)
	require.False(t, together.Load(), "once it is found it is tried alone")
	bad, _ = h.connect(t, id)
	for seq := uint64(13); seq <= 30; seq++ {
		require.NoError(t, bad.send(bad.batch(seq)))
	}
	bad.waitAck(30)
	require.Equal(t, upTo(30), h.stored(t, host))
	require.Zero(t, testutil.ToFloat64(h.server.metrics.isolated))
}

func TestDatabaseThatRefusesTheServerHoldsUpAllAgents(t *testing.T) {
	h := start(t)
	h.sink.fail(func([]*storage.Batch) error { return storage.ErrMisconfigured })
	p, _ := h.connect(t, uuid.New())
	require.NoError(t, p.send(p.batch(1)))
	require.Eventually(t, func() bool { return h.sink.tried() > patience+1 }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, h.server.Ready(t.Context()), storage.ErrMisconfigured)
	h.sink.fail(nil)
	p.waitAck(1)
	require.Zero(t, testutil.ToFloat64(h.server.metrics.isolated))
}

func TestUnknownCommitOutcomeIsResolvedByTheCursor(t *testing.T) {
	h := start(t, func(o *Options) { o.Shards = 1 })
	lost := false
	h.sink.fail(func(batches []*storage.Batch) error {
		if lost {
			return nil
		}
		lost = true
		if _, err := h.store.Append(context.Background(), batches); err != nil {
			return err
		}
		return storage.ErrUnavailable // the commit happened, its answer got lost
	})
	p, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 5; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	p.waitAck(5)
	require.Equal(t, upTo(5), h.stored(t, p.hostID))
}

func TestSilentPeerIsSentAway(t *testing.T) {
	h := start(t, func(o *Options) { o.HelloTimeout = 20 * time.Millisecond })
	require.Equal(t, codes.Unavailable, h.dial(t, uuid.New()).waitEnd().Code())
}

func TestSilentPeerDoesNotHoldUpAStop(t *testing.T) {
	h := start(t, func(o *Options) { o.HelloTimeout = time.Hour })
	p := h.dial(t, uuid.New())
	// On one connection streams open in order: when the second has its welcome, the first is open.
	second, err := gohubv1.NewIngestServiceClient(p.connection).Stream(t.Context())
	require.NoError(t, err)
	require.NoError(t, second.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello(uuid.New())}}))
	_, err = second.Recv()
	require.NoError(t, err)
	h.stop()
	require.Equal(t, codes.Unavailable, p.waitEnd().Code())
}

func TestGapsAreStoredAndBadOnesLeftOut(t *testing.T) {
	h := start(t)
	p, _ := h.connect(t, uuid.New())
	batch := p.batch(1)
	good := &gohubv1.Gap{FromUnixMillis: base.UnixMilli(), ToUnixMillis: base.UnixMilli() + 5000, Reason: gohubv1.GapReason_GAP_REASON_SPOOL_FULL, Samples: 5}
	long := proto.CloneOf(good)
	long.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), strings.Repeat("x", maxGapBytes)))
	batch.Gaps = []*gohubv1.Gap{{FromUnixMillis: 2, ToUnixMillis: 1}, good, {FromUnixMillis: -1}, {ToUnixMillis: math.MaxInt64}, {}, long}
	require.NoError(t, p.send(batch))
	p.waitAck(1)
	require.Equal(t, upTo(1), h.stored(t, p.hostID))
	gaps, err := h.store.Gaps(t.Context(), p.hostID, base, base.Add(time.Hour), 10)
	require.NoError(t, err)
	require.Len(t, gaps, 1)
	require.True(t, proto.Equal(good, gaps[0]))
}

func TestEveryPartThatTheDatabaseRefusesIsTakenOut(t *testing.T) {
	h := start(t)
	h.sink.fail(func(batches []*storage.Batch) error {
		for _, batch := range batches {
			if batch.Rows.Count()+len(batch.Gaps)+len(batch.Rejected) > 0 {
				return storage.ErrBadData
			}
		}
		return nil
	})
	p, _ := h.connect(t, uuid.New())
	batch := p.batch(1)
	batch.Gaps = []*gohubv1.Gap{{FromUnixMillis: 1, ToUnixMillis: 2}}
	require.NoError(t, p.send(batch))
	p.waitAck(1)
	require.InDelta(t, 1, testutil.ToFloat64(h.server.metrics.dropped), 0)
}

func TestCloseStoresAndAcknowledgesWhatItHas(t *testing.T) {
	h := start(t, func(o *Options) { o.FlushAge = time.Hour; o.FlushRows = 1000 })
	p, _ := h.connect(t, uuid.New())
	for seq := uint64(1); seq <= 10; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	require.Eventually(t, func() bool {
		return h.server.shards[0].ring.depth()+h.server.shards[1].ring.depth() == 10
	}, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, h.server.Close(ctx))
	p.waitAck(10)
	require.Equal(t, codes.Unavailable, p.waitEnd().Code())
	require.Equal(t, upTo(10), h.stored(t, p.hostID))
}

func TestCloseGivesUpWhenTheDatabaseStaysAway(t *testing.T) {
	h := start(t)
	h.sink.fail(func([]*storage.Batch) error { return storage.ErrUnavailable })
	p, _ := h.connect(t, uuid.New())
	require.NoError(t, p.send(p.batch(1)))
	require.Eventually(t, func() bool { return h.sink.tried() > 0 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.server.Close(ctx), context.DeadlineExceeded)
	require.Equal(t, codes.Unavailable, p.waitEnd().Code())
}

func TestManyAgentsAtOnce(t *testing.T) {
	h := start(t)
	var group sync.WaitGroup
	for range 20 {
		p, _ := h.connect(t, uuid.New())
		group.Go(func() {
			for seq := uint64(1); seq <= 25; seq++ {
				if err := p.send(p.batch(seq)); err != nil {
					t.Errorf("send: %v", err)
				}
			}
			for {
				response, err := p.stream.Recv()
				if err != nil {
					t.Errorf("receive: %v", err)
					return
				}
				if response.GetAck().GetSeq() == 25 {
					return
				}
			}
		})
	}
	group.Wait()
	for id := storage.HostID(1); id <= 20; id++ {
		require.Equal(t, upTo(25), h.stored(t, id))
	}
	problems, err := testutil.GatherAndLint(h.registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

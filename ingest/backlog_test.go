package ingest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func compress(t *testing.T, content []byte, options ...zstd.EOption) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithWindowSize(1 << 20)}, options...)...)
	require.NoError(t, err)
	defer encoder.Close()
	return encoder.EncodeAll(content, nil)
}

// unsized is a frame that does not tell its size, as a stream's writer makes it.
func unsized(t *testing.T, content []byte) []byte {
	t.Helper()
	var frame bytes.Buffer
	encoder, err := zstd.NewWriter(&frame, zstd.WithWindowSize(1<<20))
	require.NoError(t, err)
	_, err = encoder.Write(content)
	require.NoError(t, err)
	require.NoError(t, encoder.Flush())
	require.NoError(t, encoder.Close())
	return frame.Bytes()
}

func (p *peer) sendBacklog(frame []byte) {
	p.t.Helper()
	require.NoError(p.t, p.stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Backlog{Backlog: &gohubv1.Backlog{Zstd: frame}}}))
}

func (p *peer) batches(from, to uint64) []byte {
	message := &gohubv1.Batches{}
	for seq := from; seq <= to; seq++ {
		message.Batches = append(message.Batches, p.batch(seq))
	}
	wire, err := proto.Marshal(message)
	require.NoError(p.t, err)
	return wire
}

func TestBacklogIsStoredAsItsBatchesWouldBe(t *testing.T) {
	h := start(t)
	id := uuid.New()
	p, _ := h.connect(t, id)
	require.NoError(t, p.send(p.batch(1)))
	p.sendBacklog(compress(t, p.batches(2, 300)))
	p.sendBacklog(compress(t, p.batches(250, 400))) // the first of it were sent already
	require.NoError(t, p.send(p.batch(401)))
	p.waitAck(401)
	require.Equal(t, upTo(401), h.stored(t, p.hostID))
}

func TestBadBacklogEndsItsStreamOnly(t *testing.T) {
	h := start(t)
	neighbour, _ := h.connect(t, uuid.New())
	bomb := compress(t, make([]byte, 64<<20))
	require.Less(t, len(bomb), 10_000)
	// A frame that tells a small size, or none, and holds more: the size of a frame of one segment stands behind its descriptor.
	liar := append([]byte{}, compress(t, make([]byte, 1<<20), zstd.WithSingleSegment(true))...)
	copy(liar[5:9], []byte{1, 0, 0, 0})
	for name, c := range map[string]struct {
		frame []byte
		text  string
	}{
		"nothing":           {nil, "header"},
		"not zstd":          {[]byte("this is no frame of zstd"), "header"},
		"bomb":              {bomb, "67108864 bytes, the limit is 4194304"},
		"liar":              {liar, "decompress"},
		"cut":               {compress(t, neighbour.batches(1, 50))[:100], "decompress"},
		"no batches":        {compress(t, []byte(strings.Repeat("\xff", 100))), "malformed"},
		"two frames":        {append(compress(t, neighbour.batches(1, 1)), bomb...), "decompress"},
		"no size":           {unsized(t, neighbour.batches(1, 50)), "decompress"},
		"another's batches": {compress(t, neighbour.batches(1, 3)), "on the stream of agent"},
		"no sequence":       {compress(t, neighbour.batches(0, 0)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := h.connect(t, uuid.New())
			p.sendBacklog(c.frame)
			end := p.waitEnd()
			require.Equal(t, codes.InvalidArgument, end.Code(), end.Message())
			require.Contains(t, end.Message(), c.text)
		})
	}
	require.NoError(t, neighbour.send(neighbour.batch(1)))
	neighbour.waitAck(1)
	require.Empty(t, h.server.backlogs, "every stream has given its token back")
	require.Eventually(t, func() bool { return h.server.budget.used.Load() == 0 }, 10*time.Second, time.Millisecond, "and its bytes")
}

// watcher remembers what it was shown.
type watcher struct {
	mu  sync.Mutex
	cpu []float64
}

func (*watcher) SetHost(storage.Host) {}

func (w *watcher) Observe(_ storage.HostID, sample *catalogue.Sample, _ time.Time) {
	metric, _ := catalogue.MetricByName("cpu_usage_percent")
	value, _ := catalogue.Host().Row(sample, 0).Float(metric)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cpu = append(w.cpu, value)
}

func (w *watcher) shown() []float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]float64{}, w.cpu...)
}

// TestPreviewPassesAStreamThatIsHeldBack shows samples while the ring is full.
func TestPreviewPassesAStreamThatIsHeldBack(t *testing.T) {
	seen := &watcher{}
	h := start(t, func(o *Options) { o.Observer, o.RingSlots, o.Shards = seen, 4, 1 })
	h.sink.fail(func([]*storage.Batch) error { return storage.ErrUnavailable })
	p, _ := h.connect(t, uuid.New())
	const count = 50
	for seq := uint64(1); seq <= count; seq++ {
		require.NoError(t, p.send(p.batch(seq)))
	}
	require.Eventually(t, h.server.shards[0].space.waiting.Load, 10*time.Second, time.Millisecond)
	preview := func(agent string, sample *gohubv1.Sample) codes.Code {
		_, err := gohubv1.NewIngestServiceClient(p.connection).Preview(t.Context(), &gohubv1.PreviewRequest{AgentId: agent, Sample: sample})
		return status.Code(err)
	}
	require.Equal(t, codes.OK, preview(p.id.String(), p.batch(99).Samples[0]))
	require.Contains(t, seen.shown(), 99.0)
	unfit := p.batch(98).Samples[0]
	unfit.TimeUnixMillis = 1
	require.Equal(t, codes.InvalidArgument, preview(p.id.String(), unfit))
	require.Equal(t, codes.InvalidArgument, preview(p.id.String(), nil))
	require.Equal(t, codes.InvalidArgument, preview("me", p.batch(98).Samples[0]))
	require.Equal(t, codes.FailedPrecondition, preview(uuid.NewString(), p.batch(98).Samples[0]))
	require.NotContains(t, seen.shown(), 98.0)

	h.sink.fail(nil)
	for newest := uint64(0); newest < count; {
		response, err := p.stream.Recv()
		require.NoError(t, err)
		newest = response.GetAck().GetSeq()
	}
	require.Equal(t, upTo(count), h.stored(t, p.hostID))
}

func TestAnAgentThatSendsMuchWaitsForItself(t *testing.T) {
	h := start(t, func(o *Options) { o.Shards = 1; o.BufferBytes = 16 << 10 })
	h.sink.fail(func([]*storage.Batch) error { return storage.ErrUnavailable })
	greedy, _ := h.connect(t, uuid.New())
	greedy.sendBacklog(compress(t, greedy.batches(1, 200)))
	require.Eventually(t, h.session(t, greedy).budget.space.waiting.Load, 10*time.Second, time.Millisecond)
	require.LessOrEqual(t, h.server.budget.used.Load(), h.server.options.BufferBytes/16)

	modest, _ := h.connect(t, uuid.New())
	require.NoError(t, modest.send(modest.batch(1)))
	session := h.session(t, modest)
	require.Eventually(t, func() bool { return session.budget.used.Load() > 0 }, 10*time.Second, time.Millisecond)
	h.sink.fail(nil)
	modest.waitAck(1)
	for newest := uint64(0); newest < 200; {
		response, err := greedy.stream.Recv()
		require.NoError(t, err)
		newest = response.GetAck().GetSeq()
	}
	require.Equal(t, upTo(200), h.stored(t, greedy.hostID))
	h.stop()
	require.Zero(t, h.server.budget.used.Load())
}

// FuzzMessage feeds a stream whatever an agent could send after its hello.
func FuzzMessage(f *testing.F) {
	id := uuid.MustParse("6a1e0e8e-7c4a-4e5b-9f51-0f3f3b3a2a11")
	p := &peer{id: id}
	seed := func(request *gohubv1.StreamRequest) {
		wire, err := proto.Marshal(request)
		require.NoError(f, err)
		f.Add(wire)
	}
	batch := p.batch(1)
	batch.Gaps = []*gohubv1.Gap{{FromUnixMillis: 1, ToUnixMillis: 2}}
	seed(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}})
	encoder, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	wire, err := proto.Marshal(&gohubv1.Batches{Batches: []*gohubv1.Batch{batch, p.batch(2)}})
	require.NoError(f, err)
	seed(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Backlog{Backlog: &gohubv1.Backlog{Zstd: encoder.EncodeAll(wire, nil)}}})
	f.Add(protowire.AppendTag(nil, requestBacklog, protowire.BytesType))

	h := startBare(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		s := h.session(id)
		if err := s.take(memory(wire)); err != nil {
			require.Equal(t, codes.InvalidArgument, statusOf(err), err.Error())
		}
		// What was taken must come out of the ring whole.
		for {
			e, ok := s.shard.ring.at(0)
			if !ok {
				break
			}
			require.Equal(t, e.batch.Rows.Count(), e.rows)
			for _, family := range catalogue.Families() {
				require.NoError(t, e.batch.Rows.EachTuple(family, func(storage.Tuple) error { return nil }))
			}
			require.LessOrEqual(t, len(e.batch.Rejected)+e.samples, maxSamplesPerBatch)
			s.shard.free(1)
			h.flusher.release([]*entry{e})
		}
		require.Zero(t, h.server.budget.used.Load())
	})
}

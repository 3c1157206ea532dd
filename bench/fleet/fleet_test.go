package fleet

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMessagesAreTheContract decodes hand-made messages by the generated code, and finds every value where it was made.
func TestMessagesAreTheContract(t *testing.T) {
	for name, shape := range map[string]*Shape{
		"host family": NewShape(0, 0, 0, 0),
		"ten columns": NewShape(10, 0, 0, 0),
		"one column":  NewShape(1, 0, 0, 0),
		"full":        NewShape(0, 16, 4, 3),
	} {
		t.Run(name, func(t *testing.T) {
			host := NewHost(shape, 7, 3, 10_000)
			begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
			twin := NewHost(shape, 7, 3, 10_000)
			for seq := uint64(1); seq <= 200; seq++ {
				times := []int64{begin, begin + 10_000, begin + 20_000}
				begin += 30_000
				request := &gohubv1.StreamRequest{}
				require.NoError(t, proto.Unmarshal(host.AppendBatch(nil, 5, seq, times...), request))
				batch := request.GetBatch()
				require.Equal(t, host.ID().String(), batch.GetAgentId())
				require.EqualValues(t, 5, batch.GetEpoch())
				require.Equal(t, seq, batch.GetSeq())
				require.Len(t, batch.GetSamples(), len(times))
				for i, sample := range batch.GetSamples() {
					require.Equal(t, times[i], sample.GetTimeUnixMillis())
					require.Empty(t, sample.ProtoReflect().GetUnknown())
					twin.Next(times[i])
					requireSample(t, shape, twin, sample)
				}
			}
			require.Equal(t, twin.Sum, host.Sum)
			require.EqualValues(t, 600, host.Sum.Rows)
		})
	}
}

func requireSample(t *testing.T, shape *Shape, host *Host, sample *gohubv1.Sample) {
	t.Helper()
	require.Len(t, sample.GetCores(), shape.cores)
	require.Len(t, sample.GetDisks(), shape.disks)
	require.Len(t, sample.GetNetworks(), shape.networks)
	messages := []protoreflect.Message{sample.GetHost().ProtoReflect()}
	for _, one := range sample.GetCores() {
		messages = append(messages, one.ProtoReflect())
	}
	for _, one := range sample.GetDisks() {
		messages = append(messages, one.ProtoReflect())
	}
	for _, one := range sample.GetNetworks() {
		messages = append(messages, one.ProtoReflect())
	}
	require.Len(t, host.instances, len(messages))
	require.Equal(t, len(messages), shape.RowsPerSample())
	for i, message := range messages {
		one := host.instances[i]
		require.Empty(t, message.GetUnknown())
		fields := message.Descriptor().Fields()
		for j, label := range one.family.Labels {
			require.Equal(t, one.labels[j], message.Get(fields.ByName(protoreflect.Name(label.Name))).String())
		}
		for j, metric := range one.family.Metrics {
			field := fields.ByName(protoreflect.Name(metric.Column))
			require.Equal(t, j < len(one.columns), message.Has(field), metric.Name)
			if !message.Has(field) {
				continue
			}
			value := message.Get(field)
			if metric.Type == catalogue.Float {
				require.Equal(t, math.Float32frombits(uint32(one.bits[j])), float32(value.Float()), metric.Name)
			} else {
				require.Equal(t, one.bits[j], value.Uint(), metric.Name)
			}
		}
	}
}

// TestTupleIsTheSameRow reads a COPY tuple of the same host back.
func TestTupleIsTheSameRow(t *testing.T) {
	shape := NewShape(10, 0, 0, 0)
	host, twin := NewHost(shape, 1, 0, 10_000), NewHost(shape, 1, 0, 10_000)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tuple := host.AppendTuple(nil, 42, at.UnixMilli(), at.UnixMicro()+5)
	twin.Next(at.UnixMilli())
	require.EqualValues(t, len(catalogue.Host().Columns()), binary.BigEndian.Uint16(tuple))
	tuple = tuple[2:]
	field := func() (value uint64, null bool) {
		length := int32(binary.BigEndian.Uint32(tuple))
		tuple = tuple[4:]
		switch length {
		case -1:
			return 0, true
		case 4:
			value = uint64(binary.BigEndian.Uint32(tuple))
		case 8:
			value = binary.BigEndian.Uint64(tuple)
		default:
			t.Fatalf("a field of %d bytes", length)
		}
		tuple = tuple[length:]
		return value, false
	}
	// 2000-01-01, PostgreSQL's epoch, as time.Time knows it.
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	sampled, _ := field()
	require.EqualValues(t, at.Sub(epoch).Microseconds(), sampled)
	id, _ := field()
	require.EqualValues(t, 42, id)
	received, _ := field()
	require.EqualValues(t, at.Sub(epoch).Microseconds()+5, received)
	for i, metric := range catalogue.Host().Metrics {
		value, null := field()
		require.Equal(t, i >= 10, null, metric.Name)
		if !null {
			if metric.Packing != catalogue.Unpacked {
				value = metric.Packing.Unpack(int32(value))
			}
			require.Equal(t, twin.instances[0].bits[i], value, metric.Name)
		}
	}
	require.Empty(t, tuple)
}

// TestValuesAreCredible holds a day of a few hosts against the bounds of the specs.
func TestValuesAreCredible(t *testing.T) {
	shape := NewShape(0, 2, 1, 1)
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for number := range 3 {
		host := NewHost(shape, 1, number, 10_000)
		counters := map[string]uint64{}
		var moved int
		var before float32
		for tick := range 24 * 360 {
			host.Next(begin.Add(time.Duration(tick) * 10 * time.Second).UnixMilli())
			values := map[string]uint64{}
			for i, metric := range catalogue.Host().Metrics {
				values[metric.Column] = host.instances[0].bits[i]
			}
			require.Equal(t, values["memory_total_bytes"], values["memory_used_bytes"]+values["memory_available_bytes"])
			require.Less(t, values["swap_used_bytes"], values["swap_total_bytes"])
			cpu := math.Float32frombits(uint32(values["cpu_usage_percent"]))
			require.True(t, cpu >= 0 && cpu <= 100, cpu)
			if tick > 0 {
				require.InDelta(t, before, cpu, 10, "a walk does not jump")
				if cpu != before {
					moved++
				}
				require.Equal(t, counters["uptime"]+10, values["uptime_seconds"])
			}
			before, counters["uptime"] = cpu, values["uptime_seconds"]
			for _, one := range host.instances[1:] {
				for i, metric := range one.family.Metrics {
					if metric.Kind == gohubv1.Kind_KIND_COUNTER {
						key := metric.Name + one.labels[0]
						require.GreaterOrEqual(t, one.bits[i], counters[key])
						counters[key] = one.bits[i]
					}
				}
			}
		}
		require.Greater(t, moved, 4000, "a walk does not stand still")
	}
}

// fakeServer keeps what it acknowledged, and ends every stream after some batches without acknowledging the last.
type fakeServer struct {
	gohubv1.UnimplementedIngestServiceServer
	mu      sync.Mutex
	cursors map[string]uint64
	rows    map[string]int
	// breakAfter batches a stream is cut, with one that is stored and not acknowledged.
	breakAfter int
	// hold, if set, keeps streams from being read until it is closed.
	hold chan struct{}
	// previews is how many samples were shown before their turn.
	previews int
}

func (s *fakeServer) Preview(context.Context, *gohubv1.PreviewRequest) (*gohubv1.PreviewResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.previews++
	return &gohubv1.PreviewResponse{}, nil
}

func (s *fakeServer) Stream(stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	id := first.GetHello().GetAgentId()
	s.mu.Lock()
	stored := s.cursors[id]
	s.mu.Unlock()
	err = stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Welcome{Welcome: &gohubv1.Welcome{HostId: 9, CommittedSeq: stored}}})
	if err != nil {
		return err
	}
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-stream.Context().Done():
			return nil
		}
	}
	taken := 0
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		batches := []*gohubv1.Batch{request.GetBatch()}
		if request.GetBacklog() != nil {
			if batches, err = decompress(request.GetBacklog()); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
		}
		for _, batch := range batches {
			taken++
			if err := s.take(stream, id, batch, taken == s.breakAfter); err != nil {
				return err
			}
		}
	}
}

// take stores a batch and acknowledges it, or cuts the stream before it does.
func (s *fakeServer) take(stream grpc.BidiStreamingServer[gohubv1.StreamRequest, gohubv1.StreamResponse], id string, batch *gohubv1.Batch, cut bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if batch.GetSeq() != s.cursors[id]+1 {
		return status.Errorf(codes.Aborted, "batch %d after %d", batch.GetSeq(), s.cursors[id])
	}
	s.cursors[id] = batch.GetSeq()
	s.rows[id] += len(batch.GetSamples())
	if cut {
		return status.Error(codes.Unavailable, "cut")
	}
	ack := &gohubv1.Ack{Epoch: batch.GetEpoch(), Seq: batch.GetSeq()}
	return stream.Send(&gohubv1.StreamResponse{Message: &gohubv1.StreamResponse_Ack{Ack: ack}})
}

func serve(t *testing.T, fake *fakeServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	fake.cursors, fake.rows = map[string]uint64{}, map[string]int{}
	server := grpc.NewServer()
	gohubv1.RegisterIngestServiceServer(server, fake)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // nil after Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

// TestFleetSendsAgainFromTheCursor cuts streams all the time; every sample arrives once all the same.
func TestFleetSendsAgainFromTheCursor(t *testing.T) {
	for name, options := range map[string]Options{
		"one connection an agent": {Connections: 0, Ticks: 95, Samples: 10},
		"shared connections":      {Connections: 2, Ticks: 40, Samples: 1},
	} {
		for _, prepare := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				fake := &fakeServer{breakAfter: 4}
				options.Server, options.Agents, options.Window = serve(t, fake), 8, 3
				options.Begin, options.FirstPause, options.LongestPause = time.Now().Add(-time.Hour), time.Millisecond, 5*time.Millisecond
				f := New(options)
				if prepare {
					require.NoError(t, f.Prepare(t.Context()))
				}
				f.Start()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				require.NoError(t, f.Run(ctx))
				require.Len(t, fake.rows, 8)
				for id, rows := range fake.rows {
					require.Equal(t, options.Ticks, rows, id)
					require.EqualValues(t, options.Ticks, f.Sums()[id].Rows)
				}
				stats := f.Stats()
				require.EqualValues(t, 8*options.Ticks, stats.Acked)
				require.Positive(t, stats.Breaks)
				require.Positive(t, stats.Resent)
			})
		}
	}
}

// TestLiveFleetStopsWhenAllIsAcknowledged takes samples by the clock, and tells when the agents stream again.
func TestLiveFleetStopsWhenAllIsAcknowledged(t *testing.T) {
	fake := &fakeServer{}
	f := New(Options{Server: serve(t, fake), Agents: 10, Interval: 50 * time.Millisecond})
	f.Mark()
	finished := make(chan error, 1)
	go func() { finished <- f.Run(t.Context()) }()
	f.Start()
	require.Eventually(t, func() bool { return f.Again() == 10 }, 10*time.Second, time.Millisecond)
	f.Stop()
	require.NoError(t, <-finished)
	stats := f.Stats()
	require.GreaterOrEqual(t, stats.Taken, int64(10))
	require.Equal(t, stats.Taken, stats.Acked)
	for id, sum := range f.Sums() {
		require.EqualValues(t, sum.Rows, fake.rows[id])
	}
	require.Equal(t, uint32(9), f.HostIDs()[0])
}

func BenchmarkAppendBatch(b *testing.B) {
	host := NewHost(NewShape(0, 0, 0, 0), 1, 1, 10_000)
	at := time.Now().UnixMilli()
	var wire []byte
	b.ReportAllocs()
	for b.Loop() {
		at += 10_000
		wire = host.AppendBatch(wire[:0], 1, 1, at)
	}
	b.SetBytes(int64(len(wire)))
}

func BenchmarkAppendTuple(b *testing.B) {
	host := NewHost(NewShape(0, 0, 0, 0), 1, 1, 10_000)
	at := time.Now().UnixMilli()
	var tuple []byte
	b.ReportAllocs()
	for b.Loop() {
		at += 10_000
		tuple = host.AppendTuple(tuple[:0], 1, at, at)
	}
}

package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// These tests run over TCP, with a gRPC server.

// watchRig is a hub behind a gRPC server, and a client of it. The hub runs only where a test starts it.
type watchRig struct {
	t      *testing.T
	state  *State
	hub    *Hub
	client gohubv1.LiveServiceClient
	server *grpc.Server
}

func newWatchRig(t *testing.T, o HubOptions, server ...grpc.ServerOption) *watchRig {
	state := NewState(o.Now)
	for id := range storage.HostID(3) {
		state.SetHost(testHost(id+1, fmt.Sprint("host-", id+1)))
	}
	r := &watchRig{t: t, state: state, hub: NewHub(state, o)}
	r.server = grpc.NewServer(append(server, grpc.ForceServerCodecV2(Codec(encoding.GetCodecV2(grpcproto.Name))))...)
	gohubv1.RegisterLiveServiceServer(r.server, r.hub)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(listener) }()
	// The smallest windows: what is not read backs up soon.
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(1<<20))
	require.NoError(t, err)
	r.client = gohubv1.NewLiveServiceClient(connection)
	t.Cleanup(func() {
		require.NoError(t, connection.Close())
		r.server.Stop()
		require.NoError(t, <-served)
		r.hub.running.Wait()
		require.Empty(t, r.hub.viewers)
		require.Empty(t, r.hub.topics, "topics are forgotten with their last subscriber")
		require.Zero(t, r.hub.places.taken)
	})
	return r
}

// sharedClock is a clock that a test moves while others look at it.
type sharedClock struct{ nanos atomic.Int64 }

func newSharedClock() *sharedClock {
	c := new(sharedClock)
	c.nanos.Store(epoch.UnixNano())
	return c
}

func (c *sharedClock) now() time.Time { return time.Unix(0, c.nanos.Load()) }

func (c *sharedClock) move(by time.Duration) { c.nanos.Add(int64(by)) }

// run runs the hub, and returns what ends it and waits.
func (r *watchRig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.hub.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(r.t, <-ran)
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *watchRig) observe(id storage.HostID, sample *gohubv1.Sample) {
	r.state.Observe(id, flat(sample), r.state.now())
}

// watcher is a caller of Watch.
type watcher struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[gohubv1.LiveMessage]
	leave  context.CancelFunc
}

func (r *watchRig) watch(request *gohubv1.LiveRequest) *watcher {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*patience) // one for all of the test
	r.t.Cleanup(cancel)
	stream, err := r.client.Watch(ctx, request)
	require.NoError(r.t, err)
	return &watcher{r.t, stream, cancel}
}

func (w *watcher) next() *gohubv1.LiveMessage {
	w.t.Helper()
	message, err := w.stream.Recv()
	require.NoError(w.t, err)
	return message
}

// ended reads to the end, and returns its status.
func (w *watcher) ended() *status.Status {
	w.t.Helper()
	for {
		if _, err := w.stream.Recv(); err != nil {
			return status.Convert(err)
		}
	}
}

func fleetTopic(metrics ...string) *gohubv1.LiveRequest {
	return &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{Fleet: &gohubv1.FleetTopic{Metrics: metrics}}}
}

func hostTopic(id uint32) *gohubv1.LiveRequest {
	return &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Host{Host: &gohubv1.HostTopic{HostId: id}}}
}

func setTopic(labels map[string]string, ids ...uint32) *gohubv1.LiveRequest {
	return &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Set{Set: &gohubv1.SetTopic{Labels: labels, HostIds: ids}}}
}

func alertsTopic() *gohubv1.LiveRequest {
	return &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Alerts{Alerts: &gohubv1.AlertsTopic{}}}
}

func requireMessage(t *testing.T, want, got *gohubv1.LiveMessage) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

func snapshotOf(seq uint32, hosts ...*gohubv1.Host) *gohubv1.LiveMessage {
	return &gohubv1.LiveMessage{Seq: seq, Body: &gohubv1.LiveMessage_Snapshot{Snapshot: &gohubv1.LiveHosts{Hosts: hosts}}}
}

func deltaOf(seq uint32, gone []uint32, hosts ...*gohubv1.Host) *gohubv1.LiveMessage {
	return &gohubv1.LiveMessage{Seq: seq, Body: &gohubv1.LiveMessage_Delta{Delta: &gohubv1.LiveHosts{Hosts: hosts, Gone: gone}}}
}

// What Watch sends is, for every topic, what the other faces tell.
func TestWatchSendsSnapshotThenDeltas(t *testing.T) {
	c := newSharedClock()
	r := newWatchRig(t, HubOptions{Now: c.now})
	r.observe(1, fullSample(epoch.Add(-250*time.Millisecond)))
	fleet, one, set := r.watch(fleetTopic()), r.watch(hostTopic(1)), r.watch(setTopic(map[string]string{"hostname": "host-1"}))
	requireMessage(t, snapshotOf(0, r.state.Hosts()...), fleet.next())
	requireMessage(t, snapshotOf(0, mustHost(t, r.state, 1)), one.next())
	requireMessage(t, snapshotOf(0, r.state.Hosts()[0]), set.next())
	require.Len(t, mustHost(t, r.state, 1).GetLatest().GetInstances(), 12)

	r.observe(1, hostSample(epoch, 4))
	r.observe(3, fullSample(epoch))
	r.hub.push()
	requireMessage(t, deltaOf(1, nil, r.state.Hosts()[0], r.state.Hosts()[2]), fleet.next())
	requireMessage(t, deltaOf(1, nil, mustHost(t, r.state, 1)), one.next())
	requireMessage(t, deltaOf(1, nil, r.state.Hosts()[0]), set.next())

	r.state.SetHost(testHost(1, "renamed"))
	r.state.SetHost(testHost(2, "host-1"))
	r.state.SetLabels(2, map[string]string{"site": "ams"})
	r.hub.push()
	requireMessage(t, deltaOf(2, nil, r.state.Hosts()[0], r.state.Hosts()[1]), fleet.next())
	requireMessage(t, deltaOf(2, []uint32{1}, r.state.Hosts()[1]), set.next())

	c.move(31 * time.Second) // nothing was heard for so long
	r.hub.tick()
	requireMessage(t, deltaOf(3, nil, r.state.Hosts()[0], r.state.Hosts()[2]), fleet.next())
	require.Equal(t, down, r.state.Hosts()[0].GetStatus())

	chosen := r.watch(fleetTopic("load1"))
	for _, host := range chosen.next().GetSnapshot().GetHosts() {
		require.NotContains(t, host.GetLatest().GetValues(), "cpu_usage_percent")
	}
}

func TestWatchersOfATopicShareItsMessages(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	a, b := r.watch(fleetTopic()), r.watch(fleetTopic())
	requireMessage(t, a.next(), b.next())
	require.Len(t, r.hub.topics, 1)
	r.observe(1, fullSample(time.Now()))
	r.hub.push()
	requireMessage(t, a.next(), b.next())
}

func TestWatchTellsAlerts(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	r.hub.PublishAlerts(goldenAlerts())
	fleet, only := r.watch(fleetTopic()), r.watch(alertsTopic())
	want := &gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Alerts{Alerts: &gohubv1.ListAlertsResponse{Alerts: goldenAlerts()}}}
	requireMessage(t, want, fleet.next())
	requireMessage(t, want, only.next())
	requireMessage(t, snapshotOf(0, r.state.Hosts()...), fleet.next())
	r.observe(1, hostSample(time.Now(), 1))
	r.hub.push()
	require.NotNil(t, fleet.next().GetDelta())
	r.hub.PublishAlerts(nil)
	none := &gohubv1.LiveMessage{Body: &gohubv1.LiveMessage_Alerts{Alerts: &gohubv1.ListAlertsResponse{}}}
	requireMessage(t, none, fleet.next())
	requireMessage(t, none, only.next())
}

func TestWatchIsAcceptedBeforeTheFirstMessage(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	_, err := r.watch(alertsTopic()).stream.Header()
	require.NoError(t, err)
}

func TestWatchRefusesWhatItCanNotServe(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	for _, test := range []struct {
		request *gohubv1.LiveRequest
		code    codes.Code
		text    string
	}{
		{&gohubv1.LiveRequest{}, codes.InvalidArgument, "the request names no topic"},
		{hostTopic(7), codes.NotFound, "no host with id 7"},
		{fleetTopic("core_usage_percent"), codes.InvalidArgument, `no metric "core_usage_percent" of hosts`},
		{setTopic(map[string]string{"rack": "7"}), codes.InvalidArgument, `hosts have no label "rack"`},
		{setTopic(map[string]string{"os": strings.Repeat("x", maxRequestBytes)}), codes.Internal, "the limit is 4096"},
	} {
		ended := r.watch(test.request).ended()
		require.Equal(t, test.code, ended.Code(), ended.Message())
		require.Contains(t, ended.Message(), test.text)
	}
	for id := range uint32(maxParts) {
		r.watch(setTopic(nil, id)).next()
	}
	ended := r.watch(setTopic(nil, maxParts)).ended()
	require.Equal(t, codes.ResourceExhausted, ended.Code())
	require.Contains(t, ended.Message(), "64 different parts")
}

func TestWatchersAndSocketsHaveOneBound(t *testing.T) {
	r := newWatchRig(t, HubOptions{MaxViewers: 2})
	require.NoError(t, r.hub.reserve(noAddress)) // as a WebSocket does
	only := r.watch(fleetTopic())
	only.next()
	ended := r.watch(fleetTopic()).ended()
	require.Equal(t, codes.ResourceExhausted, ended.Code())
	require.Equal(t, "no place for another viewer", ended.Message())
	r.hub.release(noAddress)
	r.watch(fleetTopic()).next()
}

func TestWatchEndsWhenTheServerStops(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	stop := r.run()
	w := r.watch(fleetTopic())
	w.next()
	stop()
	require.Equal(t, codes.Unavailable, w.ended().Code())
	require.Equal(t, codes.Unavailable, r.watch(fleetTopic()).ended().Code(), "no viewers after the stop")
	require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonGoingAway]))
}

func TestWatchEndsWithItsCaller(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	w := r.watch(fleetTopic())
	w.next()
	w.leave()
	require.Eventually(t, func() bool { return value(r.hub.metrics.closed[reasonClient]) == 1 }, patience, time.Millisecond)
}

// bounded is a stream whose context something bounds.
type bounded struct {
	grpc.ServerStream
	ctx context.Context
}

func (b bounded) Context() context.Context { return b.ctx }

func TestWatchEndsWithWhatLetItIn(t *testing.T) {
	revoked, revoke := context.WithCancelCause(context.Background())
	r := newWatchRig(t, HubOptions{}, grpc.StreamInterceptor(
		func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, cancel := context.WithCancelCause(stream.Context())
			defer cancel(nil)
			defer context.AfterFunc(revoked, func() { cancel(context.Cause(revoked)) })()
			return handler(server, bounded{stream, ctx})
		}))
	w := r.watch(fleetTopic())
	w.next()
	revoke(errors.New("the token was revoked"))
	ended := w.ended()
	require.Equal(t, codes.Unauthenticated, ended.Code())
	require.Equal(t, "the token was revoked", ended.Message())
	require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonSession]))
}

// lag is how many deltas of its topic a viewer has not taken.
func (r *watchRig) lag(v *viewer) uint64 {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.topic.backlog.next - v.out.next
}

func (r *watchRig) viewers() []*viewer {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return slices.Collect(maps.Keys(r.hub.viewers))
}

// only returns the one viewer that there is.
func (r *watchRig) only() *viewer {
	all := r.viewers()
	require.Len(r.t, all, 1)
	return all[0]
}

// stall makes deltas until a watcher that does not read has more of them before it than are kept.
func (r *watchRig) stall(slow *viewer, each func(seq uint32)) (deltas uint32) {
	for r.lag(slow) <= maxPending {
		deltas++
		for id := range storage.HostID(3) {
			r.observe(id+1, fullSample(epoch.Add(time.Duration(deltas)*time.Second)))
		}
		r.hub.push()
		each(deltas)
	}
	return deltas
}

func TestSlowWatcherIsConflatedAndHoldsNoOneUp(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	slow := r.watch(fleetTopic())
	slow.next()
	viewer := r.only()
	quick := r.watch(fleetTopic())
	quick.next()
	deltas := r.stall(viewer, func(seq uint32) {
		require.Equal(t, seq, quick.next().GetSeq())
		require.LessOrEqual(t, len(viewer.topic.backlog.kept), maxPending)
	})
	seen := uint32(0)
	for {
		message := slow.next()
		if message.GetSnapshot() != nil {
			requireMessage(t, snapshotOf(deltas, r.state.Hosts()...), message)
			break
		}
		seen++
		require.Equal(t, seen, message.GetSeq(), "what was on its way comes first, and in order")
	}
	require.Less(t, seen, deltas)
	require.Equal(t, 1.0, value(r.hub.metrics.conflated))
	r.observe(2, hostSample(epoch.Add(time.Hour), 1))
	r.hub.push()
	require.Equal(t, deltas+1, slow.next().GetSeq())
	require.Equal(t, deltas+1, quick.next().GetSeq())
}

func TestWatcherThatNeverReadsIsEnded(t *testing.T) {
	c := newSharedClock()
	r := newWatchRig(t, HubOptions{Now: c.now})
	w := r.watch(fleetTopic())
	w.next()
	viewer := r.only()
	r.stall(viewer, func(uint32) {})
	// It is the clock of the test that tells how long the writer waits.
	due := func() int64 { return viewer.outlet.(*watch).due.Load() }
	require.Eventually(t, func() bool { return due() != 0 }, patience, time.Millisecond)
	c.move(r.hub.options.WriteTimeout - 1)
	r.hub.tick()
	require.Equal(t, 1.0, value(r.hub.metrics.viewers))
	c.move(1)
	r.hub.tick()
	require.Eventually(t, func() bool { return value(r.hub.metrics.closed[reasonWrite]) == 1 }, patience, time.Millisecond)
	ended := w.ended()
	require.Equal(t, codes.ResourceExhausted, ended.Code())
	require.Equal(t, "nothing was read for 10s", ended.Message())
}

// TestManyWatchersThatNeverRead: as for WebSockets, with a status.
func TestManyWatchersThatNeverReadHoldNoOneUp(t *testing.T) {
	const bad, good = 200, 5
	c := newSharedClock()
	r := newWatchRig(t, HubOptions{Now: c.now, MaxViewers: bad + good})
	var unread, read []*watcher
	for range bad {
		w := r.watch(fleetTopic())
		w.next()
		unread = append(unread, w)
	}
	stuck := r.viewers()
	for range good {
		w := r.watch(fleetTopic())
		w.next()
		read = append(read, w)
	}
	require.Equal(t, codes.ResourceExhausted, r.watch(fleetTopic()).ended().Code(), "the bad ones take places")
	fleet := r.hub.topics[topicKey{fleet: true, form: formProto}]
	seen := make([]uint32, good)
	others := func(uint32) {
		for i, w := range read {
			for ; seen[i] != fleet.seq; seen[i]++ {
				require.Equal(t, seen[i]+1, w.next().GetSeq())
			}
		}
		require.LessOrEqual(t, len(fleet.backlog.kept), maxPending)
		require.LessOrEqual(t, fleet.backlog.bytes, maxPendingBytes)
	}
	for _, v := range stuck {
		r.stall(v, others)
	}
	// One whose connection was only slow, as all of them share it, may have got a snapshot and go on.
	for deltas := time.Duration(1); value(r.hub.metrics.closed[reasonWrite]) < bad; deltas++ {
		r.observe(1, fullSample(epoch.Add(time.Hour+deltas*time.Second)))
		r.hub.push()
		others(0)
		require.Eventually(t, func() bool {
			return !slices.ContainsFunc(r.viewers(), func(v *viewer) bool {
				return !slices.Contains(stuck, v) && v.outlet.(*watch).due.Load() != 0
			})
		}, patience, time.Millisecond, "the good ones wait for nothing")
		c.move(r.hub.options.WriteTimeout)
		r.hub.tick()
	}
	for _, w := range unread {
		require.Equal(t, codes.ResourceExhausted, w.ended().Code())
	}
	others(0)
	r.observe(1, hostSample(c.now().Add(time.Hour), 1))
	r.hub.push()
	others(0)
	r.watch(fleetTopic()).next()
}

func TestStopDoesNotWaitForAStuckWatcher(t *testing.T) {
	r := newWatchRig(t, HubOptions{})
	w := r.watch(fleetTopic())
	w.next()
	r.stall(r.only(), func(uint32) {})
	r.run()()
	require.Equal(t, codes.Unavailable, w.ended().Code())
}

// nowhere is a stream to a caller that reads everything at once.
type nowhere struct {
	grpc.ServerStream
	ctx   context.Context
	codec encoding.CodecV2
	sent  atomic.Int64
}

func (n *nowhere) Context() context.Context        { return n.ctx }
func (n *nowhere) SendHeader(metadata.MD) error    { return nil }
func (n *nowhere) Send(*gohubv1.LiveMessage) error { return errors.New("messages go encoded") }

func (n *nowhere) SendMsg(message any) error {
	data, err := n.codec.Marshal(message)
	data.Free()
	n.sent.Add(1)
	return err
}

// TestWatchAllocatesForATopicOnly: a delta is encoded once, however many watch; what gRPC allocates to send it comes on top.
func TestWatchAllocatesForATopicOnly(t *testing.T) {
	const watchers = 20
	state := benchState(10, fullSample(epoch))
	hub := NewHub(state, HubOptions{})
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	streams := make([]*nowhere, watchers)
	for i := range streams {
		streams[i] = &nowhere{ctx: ctx, codec: Codec(encoding.GetCodecV2(grpcproto.Name))}
		group.Go(func() { _ = hub.Watch(fleetTopic(), streams[i]) })
	}
	written := int64(1) // the snapshot
	await := func() {
		for _, stream := range streams {
			for stream.sent.Load() < written {
				runtime.Gosched()
			}
		}
	}
	await()
	next := flat(fullSample(epoch))
	push := func() {
		next.TimeUnixMillis++
		state.Observe(3, next, time.Now())
		hub.push()
		written++
		await()
	}
	for range 2 * maxPending { // the backlog fills
		push()
	}
	// The message, and two for gRPC's form of a buffer. The race detector has pools lose one thing in four.
	require.Less(t, testing.AllocsPerRun(200, push), 8.0, "for %d watchers together", watchers)
	leave()
	group.Wait()
	hub.running.Wait()
}

// BenchmarkWatch is one delta to watchers over TCP: 2 of 2,000 hosts have changed. Both ends run here; the callers do not decode.
func BenchmarkWatch(b *testing.B) {
	const hosts, changes, watchers = 2000, 2, 100
	sample := &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host}
	state := benchState(hosts, sample)
	hub := NewHub(state, HubOptions{})
	server := grpc.NewServer(grpc.ForceServerCodecV2(Codec(encoding.GetCodecV2(grpcproto.Name))))
	gohubv1.RegisterLiveServiceServer(server, hub)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	var read atomic.Int64
	for range watchers {
		connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(b, err)
		defer func() { _ = connection.Close() }()
		stream, err := connection.NewStream(b.Context(), &grpc.StreamDesc{ServerStreams: true}, gohubv1.LiveService_Watch_FullMethodName,
			grpc.ForceCodecV2(counting{&read}), grpc.MaxCallRecvMsgSize(64<<20))
		require.NoError(b, err)
		require.NoError(b, stream.SendMsg(fleetTopic()))
		require.NoError(b, stream.CloseSend())
		go func() {
			for stream.RecvMsg(nil) == nil {
			}
		}()
	}
	await := func(n int64) {
		for read.Load() < n {
			time.Sleep(10 * time.Microsecond)
		}
	}
	await(watchers)
	now, next := time.Now(), flat(sample)
	ticks := 0
	b.ReportAllocs()
	for b.Loop() {
		ticks++
		for i := range changes {
			next.TimeUnixMillis++
			state.Observe(storage.HostID((ticks*changes+i)%hosts+1), next, now)
		}
		hub.push()
		await(int64(watchers * (1 + ticks)))
	}
	b.ReportMetric(float64(watchers*ticks)/b.Elapsed().Seconds(), "messages/s")
}

// counting is a caller's codec that counts what it gets and throws it away.
type counting struct{ read *atomic.Int64 }

func (counting) Name() string { return grpcproto.Name }

func (counting) Marshal(message any) (mem.BufferSlice, error) {
	return encoding.GetCodecV2(grpcproto.Name).Marshal(message)
}

func (c counting) Unmarshal(mem.BufferSlice, any) error {
	c.read.Add(1)
	return nil
}

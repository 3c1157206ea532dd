package live

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func benchState(hosts int, sample *gohubv1.Sample) *State {
	s := NewState(nil)
	for id := range storage.HostID(hosts) {
		s.SetHost(testHost(id+1, fmt.Sprint("host-", id+1)))
		s.Observe(id+1, flat(sample), time.Now())
	}
	return s
}

func BenchmarkObserve(b *testing.B) {
	for name, sample := range map[string]*gohubv1.Sample{
		"host":       {TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host},
		"everything": fullSample(epoch),
	} {
		b.Run(name, func(b *testing.B) {
			s := benchState(1000, sample)
			now, next := time.Now(), flat(sample)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next.TimeUnixMillis++
				s.Observe(storage.HostID(i%1000+1), next, now)
			}
		})
	}
}

// BenchmarkRoster lists 4,000 hosts, of which a number has sent since the last time: a second's worth at an interval of 10 s, or all.
func BenchmarkRoster(b *testing.B) {
	const hosts = 4000
	sample := &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host}
	s, next := benchState(hosts, sample), flat(sample)
	at := 0
	for _, changed := range []int{hosts / 10, hosts} {
		for name, list := range map[string]func(){
			"protobuf": func() { s.AppendHosts(nil, nil) },
			"JSON":     func() { _ = s.WriteHosts(io.Discard, nil) },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, changed), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					for range changed {
						at++
						next.TimeUnixMillis++
						s.Observe(storage.HostID(at%hosts+1), next, time.Now())
					}
					b.StartTimer()
					list()
				}
			})
		}
	}
}

// discard is a connection to a viewer that reads everything at once.
type discard struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
	writes atomic.Int64
}

func newDiscard() *discard { return &discard{closed: make(chan struct{})} }

func (d *discard) Write(p []byte) (int, error) {
	d.writes.Add(1)
	return len(p), nil
}

func (d *discard) Read([]byte) (int, error) {
	<-d.closed
	return 0, net.ErrClosed
}

func (d *discard) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *discard) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (d *discard) SetReadDeadline(time.Time) error  { return nil }
func (d *discard) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkBroadcast is one delta: 2 of 2,000 hosts have changed (an interval of 10 s and a delta every 10 ms), and 1,000
// viewers get it. The time is until the last of them has written.
func BenchmarkBroadcast(b *testing.B) {
	const hosts, changes, viewers = 2000, 2, 1000
	sample := &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host}
	state := benchState(hosts, sample)
	hub := NewHub(state, HubOptions{})
	var group sync.WaitGroup
	conns := make([]*discard, viewers)
	for i := range conns {
		conns[i] = newDiscard()
		require.NoError(b, hub.reserve(noAddress))
		group.Go(func() {
			defer hub.release(noAddress)
			hub.serve(context.Background(), conns[i], conns[i], formJSON)
		})
	}
	messages := func() int { return int(value(hub.metrics.messages)) }
	await := func(n int) {
		for messages() < n {
			time.Sleep(10 * time.Microsecond)
		}
	}
	require.Eventually(b, func() bool {
		hub.mu.Lock()
		defer hub.mu.Unlock()
		return len(hub.viewers) == viewers
	}, patience, time.Millisecond)
	fleet := &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{}}
	for v := range hub.viewers {
		require.NoError(b, hub.subscribe(v, fleet))
	}
	await(viewers)

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
		await(viewers * (1 + ticks))
	}
	b.ReportMetric(float64(viewers*ticks)/b.Elapsed().Seconds(), "frames/s")
	for _, c := range conns {
		_ = c.Close()
	}
	group.Wait()
}

func BenchmarkFleetSnapshot(b *testing.B) {
	state := benchState(2000, &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host})
	for name, in := range map[string]form{"JSON": formJSON, "binary": formBinary, "protobuf": formProto} {
		b.Run(name, func(b *testing.B) {
			t := newTopic(subject{key: topicKey{fleet: true, form: in}}, state, nil, state.moment())
			var scratch []byte
			b.ReportAllocs()
			for b.Loop() {
				t.snapshot = nil
				var f frame
				f, _, scratch = t.whole(state.moment(), scratch)
				b.SetBytes(int64(len(f)))
			}
		})
	}
}

// BenchmarkScrape is a scrape of 5,000 hosts with 20 gauges each (and whether they are up, and their last sample): when nothing
// has changed since the text was made last, when half a second of the fleet's samples has (an interval of 10 s, and the text
// is made anew each second), when all hosts have, and by client_golang.
func BenchmarkScrape(b *testing.B) {
	const hosts = 5000
	message := &gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli(), Host: fullSample(epoch).Host}
	count := 0
	message.Host.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if count++; count > 20 {
			message.Host.ProtoReflect().Clear(field)
		}
		return true
	})
	state := benchState(hosts, message)
	random := rand.New(rand.NewPCG(1, 2))
	var samples []*catalogue.Sample
	for range 97 {
		next := proto.CloneOf(message)
		next.Host.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			switch field.Kind() {
			case protoreflect.FloatKind:
				next.Host.ProtoReflect().Set(field, protoreflect.ValueOfFloat32(random.Float32()*100))
			case protoreflect.Uint64Kind:
				next.Host.ProtoReflect().Set(field, protoreflect.ValueOfUint64(random.Uint64N(1<<36)))
			}
			return true
		})
		samples = append(samples, flat(next))
	}
	at := 0
	change := func(n int) {
		for range n {
			at++
			sample := samples[at%len(samples)]
			sample.TimeUnixMillis = epoch.UnixMilli() + int64(at)
			state.Observe(storage.HostID(at%hosts+1), sample, time.Now())
		}
	}
	change(hosts)
	e := NewExposition(state, ExpositionOptions{})
	require.NoError(b, e.write(io.Discard, false, nil))
	for _, bench := range []struct {
		name    string
		changed int
	}{{"unchanged", 0}, {"half-second", hosts / 20}, {"all-changed", hosts}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var size countingWriter
			for b.Loop() {
				b.StopTimer()
				change(bench.changed)
				size = 0
				b.StartTimer()
				require.NoError(b, e.write(&size, false, nil))
			}
			b.SetBytes(int64(size))
		})
	}
	for _, encoding := range []string{"gzip", "zstd"} {
		b.Run("unchanged-"+encoding, func(b *testing.B) {
			handler := e.MetricsHandler(nil, slog.New(slog.DiscardHandler))
			request := httptest.NewRequest(http.MethodGet, "/metrics/hosts", nil)
			request.Header.Set("Accept-Encoding", encoding)
			b.ReportAllocs()
			for b.Loop() {
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, request)
				b.ReportMetric(float64(recorder.Body.Len()), "body-bytes")
			}
		})
	}
	b.Run("client_golang", func(b *testing.B) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(newCollector(state))
		b.ReportAllocs()
		for b.Loop() {
			gathered, err := registry.Gather()
			require.NoError(b, err)
			encoder := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
			for _, family := range gathered {
				require.NoError(b, encoder.Encode(family))
			}
		}
	})
}

// BenchmarkMemoryOfHosts is what 5,000 hosts with all families take (two cores and filesystems, a disk, an interface, a sensor and
// a process each), and what their text takes while a scraper comes.
func BenchmarkMemoryOfHosts(b *testing.B) {
	const hosts = 5000
	heap := func() float64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc)
	}
	for b.Loop() {
		empty := heap()
		state := benchState(hosts, fullSample(epoch))
		known := heap()
		b.ReportMetric((known-empty)/hosts, "B/host")
		e := NewExposition(state, ExpositionOptions{})
		require.NoError(b, e.write(io.Discard, false, nil))
		b.ReportMetric((heap()-known)/hosts, "text-B/host")
		runtime.KeepAlive(state)
		runtime.KeepAlive(e)
	}
}

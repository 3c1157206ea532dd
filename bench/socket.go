package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/ingest"
	"github.com/gohub-io/gohub/live"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/timescale"
)

// runSocket measures what a row costs the server from its message to the database's socket: decoding, checks, the live
// state, the ring, the flush and its transaction, the acknowledgement. It is the server's own code and a real database;
// gRPC is left out, for it is in the CPU of the whole process, which ingest measures. All that this process does between
// the first message and the last acknowledgement counts, the garbage collector too.
func runSocket(ctx context.Context, o *Options, report *measure.Report) error {
	if o.DatabaseURL == "sqlite" {
		return errors.New("there is no socket to SQLite; give a database URL")
	}
	w := workload{
		name: "batched", hosts: o.Hosts, ticks: o.Ticks, samples: o.Samples, shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
	}
	if w.rows() > mostRows {
		return fmt.Errorf("%d rows a run are over the limit of %d; lower hosts or ticks", w.rows(), mostRows)
	}
	var costs, rates []float64
	for i := range o.Pairs {
		w.seed = uint64(i) + 1
		w.setTimes(o)
		cpu, took, err := o.feedServer(ctx, w)
		if err != nil {
			return err
		}
		costs = append(costs, cpu.Seconds()*1e6/float64(w.rows()))
		rates = append(rates, float64(w.rows())/took.Seconds())
		o.say("decode to socket, %d of %d: %s µs/row", i+1, o.Pairs, measure.Number(costs[i]))
	}
	report.Tables = append(report.Tables, measure.Table{
		Title: "Decode to socket: medians (lowest to highest)", Columns: []string{"µs/row", "rows/s"},
		Rows: [][]string{{measure.Summarise(costs).String(), measure.Summarise(rates).String()}},
		Notes: []string{
			fmt.Sprintf("%d hosts, %d samples each, %d a message, %d values a sample; the server's code in this process, without gRPC, into a real database",
				w.hosts, w.ticks, w.samples, w.shape.Columns()),
			"rows, distinct times and two column sums of every host were right after every run",
		},
	})
	report.Target("server_cpu_per_row_decode_to_socket_us", measure.Median(costs), "<=", 1)
	report.Target("server_cpu_per_row_decode_to_socket_us_moonshot", measure.Median(costs), "<=", 0.1)
	return nil
}

// feedServer runs the workload once.
func (o *Options) feedServer(ctx context.Context, w workload) (cpu, took time.Duration, err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	store, err := timescale.Open(ctx, db.url, storage.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	agents := fleet.New(fleet.Options{
		Agents: w.hosts, Shape: w.shape, Seed: w.seed, Interval: w.interval, Samples: w.samples, Ticks: w.ticks, Begin: w.begin,
	})
	if err := agents.Prepare(ctx); err != nil {
		return 0, 0, err
	}
	server := ingest.NewServer(ingest.Options{Sink: store, Observer: live.NewState(nil), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	var (
		started  = make(chan struct{})
		welcomed sync.WaitGroup
		streams  sync.WaitGroup
		mu       sync.Mutex
		failure  error
	)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	welcomed.Add(w.hosts)
	for i := range w.hosts {
		one := newFeed(running, agents.Hello(i), agents.Prepared(i), o.Window, started, welcomed.Done)
		streams.Go(func() {
			defer one.once.Do(welcomed.Done)
			err := server.Stream(&grpc.GenericServerStream[gohubv1.StreamRequest, gohubv1.StreamResponse]{ServerStream: one})
			if err != nil {
				mu.Lock()
				failure = errors.Join(failure, err)
				mu.Unlock()
				cancel()
			}
		})
	}
	welcomed.Wait()
	before, begin := measure.OwnCPU(), time.Now()
	close(started)
	streams.Wait()
	cpu, took = measure.OwnCPU()-before, time.Since(begin)
	err = errors.Join(failure, server.Close(context.WithoutCancel(ctx)))
	server.Wait()
	if err != nil {
		return 0, 0, err
	}
	have, err := db.sums(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	return cpu, took, compare(agents.Sums(), have)
}

// feed is the server's end of a stream without a network: its messages are in memory, encoded. The server reads them from
// the feed's transport, as it reads gRPC's.
type feed struct {
	ctx     context.Context
	window  int
	started <-chan struct{}
	once    sync.Once
	welcome func()

	// messages begin with Hello. next and slice, which Read returns, are the receiver's.
	messages []mem.Buffer
	next     int
	slice    [1]mem.Buffer

	acked atomic.Uint64
	// more holds a token when something was acknowledged.
	more chan struct{}
}

var _ grpc.ServerStream = (*feed)(nil)

func newFeed(ctx context.Context, hello []byte, messages [][]byte, window int, started <-chan struct{}, welcome func()) *feed {
	f := &feed{window: window, started: started, welcome: welcome, messages: []mem.Buffer{mem.SliceBuffer(hello)}, more: make(chan struct{}, 1)}
	for _, message := range messages {
		f.messages = append(f.messages, mem.SliceBuffer(message))
	}
	f.ctx = grpc.NewContextWithServerTransportStream(ctx, feedTransport{f})
	return f
}

func (f *feed) SetHeader(metadata.MD) error  { return nil }
func (f *feed) SendHeader(metadata.MD) error { return nil }
func (f *feed) SetTrailer(metadata.MD)       {}
func (f *feed) Context() context.Context     { return f.ctx }

// RecvMsg would come with gRPC's layers, which are not measured.
func (f *feed) RecvMsg(any) error {
	return errors.New("the server does not read from the transport any more, so what it costs without gRPC can not be told")
}

// SendMsg takes the welcome and the acknowledgements.
func (f *feed) SendMsg(message any) error {
	response, ours := message.(*gohubv1.StreamResponse)
	if !ours {
		return fmt.Errorf("the server sent a %T", message)
	}
	if response.GetWelcome() != nil {
		f.once.Do(f.welcome)
		return nil
	}
	f.acked.Store(response.GetAck().GetSeq()) // they never go back
	select {
	case f.more <- struct{}{}:
	default:
	}
	return nil
}

// feedTransport is what the server finds in place of gRPC's transport.
type feedTransport struct{ feed *feed }

var _ grpc.ServerTransportStream = feedTransport{}

func (feedTransport) Method() string               { return gohubv1.IngestService_Stream_FullMethodName }
func (feedTransport) SetHeader(metadata.MD) error  { return nil }
func (feedTransport) SendHeader(metadata.MD) error { return nil }
func (feedTransport) SetTrailer(metadata.MD) error { return nil }

// ReadMessageHeader waits for the next message: there are as many ahead of the acknowledgements as the window allows.
func (t feedTransport) ReadMessageHeader(header []byte) error {
	f := t.feed
	if f.next == 1 {
		select {
		case <-f.started:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	for {
		acked := int(f.acked.Load())
		switch {
		case acked == len(f.messages)-1:
			return io.EOF
		case f.next < len(f.messages) && f.next <= acked+f.window:
			header[0] = 0 // not compressed
			binary.BigEndian.PutUint32(header[1:], uint32(f.messages[f.next].Len()))
			return nil
		}
		select {
		case <-f.more:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// Read returns the message of that header.
func (t feedTransport) Read(int) (mem.BufferSlice, error) {
	f := t.feed
	f.slice[0] = f.messages[f.next]
	f.next++
	return f.slice[:], nil
}

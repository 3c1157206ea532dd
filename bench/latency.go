package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// latencies collects milliseconds; bounded, since a run may be long.
type latencies struct {
	mu     sync.Mutex
	values []float64
}

const mostLatencies = 1_000_000

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.values) < mostLatencies {
		l.values = append(l.values, float64(d.Microseconds())/1000)
	}
}

func (l *latencies) take() []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values
}

// empty returns what was collected, and begins anew.
func (l *latencies) empty() []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := l.values
	l.values = nil
	return values
}

// latencyRun is how long samples took, in milliseconds.
type latencyRun struct {
	What  string  `json:"what"`
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func runLatency(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer s.kill()
	var durable, visible latencies
	var measuring atomic.Bool
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Interval: o.Interval, Window: o.Window, Seed: 1, Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
		OnAck: func(_ int, taken time.Time) {
			if measuring.Load() {
				durable.add(time.Since(taken))
			}
		},
	})
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- agents.Run(running) }()
	watched := make(chan error, 1)
	go func() { watched <- watch(running, s.HTTP, &measuring, &visible) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-watched)
		<-finished
	}()
	if err := waitConnected(ctx, agents, o.Hosts); err != nil {
		return err
	}
	stopShow := o.progress(func() string {
		stats := agents.Stats()
		return fmt.Sprintf("latency: %d samples taken, %d stored, %d seen", stats.Taken, stats.Acked, len(visible.take()))
	})
	defer stopShow()
	agents.Start()
	// The first samples of all hosts make the snapshot and the chunk.
	if !sleep(ctx, 2*o.Interval) {
		return ctx.Err()
	}
	measuring.Store(true)
	if !sleep(ctx, o.Duration) {
		return ctx.Err()
	}
	measuring.Store(false)
	table := measure.Table{
		Title:   "Latency of a sample in milliseconds",
		Columns: []string{"from taken to", "samples", "p50", "p99", "highest"},
		Notes:   []string{fmt.Sprintf("%d agents, a sample every %s each, evenly spread; one viewer of the fleet", o.Hosts, o.Interval)},
	}
	for _, one := range []struct {
		what   string
		values []float64
	}{{"durable and acknowledged", durable.take()}, {"on a viewer's WebSocket", visible.take()}} {
		r := latencyRun{one.what, len(one.values), measure.Median(one.values), measure.Quantile(one.values, 0.99), measure.Quantile(one.values, 1)}
		if r.Count == 0 {
			return fmt.Errorf("no sample came to be %s; the last error: %w", one.what, agents.LastError())
		}
		report.Runs = append(report.Runs, r)
		table.Rows = append(table.Rows, []string{r.What, fmt.Sprint(r.Count), measure.Number(r.P50), measure.Number(r.P99), measure.Number(r.Max)})
	}
	report.Tables = append(report.Tables, table)
	return nil
}

// watch views the fleet and notes how old each sample is when its frame has come.
func watch(ctx context.Context, address string, measuring *atomic.Bool, seen *latencies) error {
	connection, buffered, _, err := ws.Dialer{Timeout: 10 * time.Second}.Dial(ctx, "ws://"+address+"/api/v1/live")
	if err != nil {
		return fmt.Errorf("connect a viewer: %w", err)
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	if err := wsutil.WriteClientText(connection, []byte(`{"fleet":{}}`)); err != nil {
		return fmt.Errorf("subscribe a viewer: %w", err)
	}
	var source io.Reader = connection
	if buffered != nil { // a frame came with the handshake's answer
		source = io.MultiReader(buffered, connection)
	}
	err = readFrames(connection, source, measuring, seen)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// mostFrameBytes bounds a frame of the fleet.
const mostFrameBytes = 64 << 20

func readFrames(connection net.Conn, source io.Reader, measuring *atomic.Bool, seen *latencies) error {
	reader := wsutil.Reader{
		Source: source, State: ws.StateClientSide, CheckUTF8: false,
		OnIntermediate: wsutil.ControlFrameHandler(connection, ws.StateClientSide),
	}
	newest := map[uint32]int64{}
	for {
		header, err := reader.NextFrame()
		if err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		if header.OpCode.IsControl() {
			if err := wsutil.ControlFrameHandler(connection, ws.StateClientSide)(header, &reader); err != nil {
				return fmt.Errorf("answer a control frame: %w", err)
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(&reader, mostFrameBytes))
		if err != nil {
			return fmt.Errorf("read a frame: %w", err)
		}
		now := time.Now()
		var message gohubv1.LiveMessage
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &message); err != nil {
			return fmt.Errorf("decode a frame: %w", err)
		}
		if message.GetError() != "" {
			return fmt.Errorf("the server refuses the viewer: %s", message.GetError())
		}
		for _, host := range message.GetDelta().GetHosts() {
			taken := host.GetLatest().GetTime().AsTime()
			if newest[host.GetHostId()] >= taken.UnixMilli() {
				continue
			}
			newest[host.GetHostId()] = taken.UnixMilli()
			if measuring.Load() {
				seen.add(now.Sub(taken))
			}
		}
	}
}

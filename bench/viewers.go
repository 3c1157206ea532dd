package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/gohub-io/gohub/bench/measure"
)

// The subprotocols of the live WebSocket.
const (
	protocolBinary = "gohub.v1.binary"
	protocolJSON   = "gohub.v1.json"
)

// audience is a number of viewers of one topic. They read as cheaply as they can, for they share the machine with the server,
// which viewers elsewhere do not: of each delta they look at the number and at the first host's sample, which is the one that
// has waited longest; and but for some, who tell how late deltas are read, they fetch what has come ten times a second.
type audience struct {
	// url is that of the WebSocket, protocol the form, request the topic.
	url, protocol, request string

	measuring atomic.Bool
	// What came while it was measured. Snapshots are those that a viewer got in place of deltas.
	messages, bytes, snapshots, gaps atomic.Int64
	// lag is from a sample's time until its delta has been read by a viewer that reads at once.
	lag measure.Histogram

	watching atomic.Int64
	viewers  sync.WaitGroup
	cancel   context.CancelFunc
	mu       sync.Mutex
	failure  error
}

const (
	// joinAtOnce bounds the handshakes under way.
	joinAtOnce = 32
	// viewerBuffer holds a delta of most fleets, so that reading one is one system call.
	viewerBuffer = 16 << 10
	// One viewer in promptEvery reads at once, the others every fetchEvery.
	promptEvery = 20
	fetchEvery  = 100 * time.Millisecond
	// deltaHead is how much of a delta is looked at: the first host is in it, its facts included.
	deltaHead = 2 << 10
)

// join connects viewers and waits until each has its snapshot. leave in any case.
func (a *audience) join(ctx context.Context, count int) error {
	running, cancel := context.WithCancel(ctx)
	a.cancel = cancel
	places := make(chan struct{}, joinAtOnce)
	for i := range count {
		a.viewers.Go(func() {
			if err := a.view(running, places, i%promptEvery == 0); err != nil && running.Err() == nil {
				a.mu.Lock()
				a.failure = errors.Join(a.failure, err)
				a.mu.Unlock()
				cancel() // a measurement with fewer viewers is another one
			}
		})
	}
	for a.watching.Load() < int64(count) {
		if !sleep(running, 20*time.Millisecond) {
			return errors.Join(fmt.Errorf("%d of %d viewers have come: %w", a.watching.Load(), count, running.Err()), a.err())
		}
	}
	return nil
}

// leave disconnects the viewers, and returns why the first of them ended before.
func (a *audience) leave() error {
	if a.cancel != nil {
		a.cancel()
	}
	a.viewers.Wait()
	return a.err()
}

func (a *audience) err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

// reset begins a measurement.
func (a *audience) reset() {
	for _, count := range []*atomic.Int64{&a.messages, &a.bytes, &a.snapshots, &a.gaps} {
		count.Store(0)
	}
	a.lag.Reset()
	a.measuring.Store(true)
}

// view is one viewer, until ctx ends or something is wrong. A place is taken until it has its snapshot.
func (a *audience) view(ctx context.Context, places chan struct{}, prompt bool) error {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	arrive := sync.OnceFunc(func() { <-places })
	defer arrive()
	connection, source, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()
	reader := deltaReader{audience: a, connection: connection, source: bufio.NewReaderSize(source, viewerBuffer), prompt: prompt}
	for joined := false; ; {
		if joined && !prompt && reader.source.Buffered() == 0 && !sleep(ctx, fetchEvery) {
			return ctx.Err()
		}
		if err := reader.next(); err != nil {
			return fmt.Errorf("read a message: %w", err)
		}
		if !joined && reader.synced {
			joined = true
			a.watching.Add(1)
			arrive()
		}
	}
}

// neverRead has viewers that subscribe and never read, and come again when they have been cut off, until leave.
func (a *audience) neverRead(ctx context.Context, count int) {
	running, cancel := context.WithCancel(ctx)
	a.cancel = cancel
	for range count {
		a.viewers.Go(func() {
			for running.Err() == nil {
				if a.stare(running) != nil {
					sleep(running, time.Second) // the server may be full
				}
			}
		})
	}
}

// stare is a viewer that never reads, until the server has cut it off.
func (a *audience) stare(ctx context.Context) error {
	connection, _, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	// What the system takes on the viewer's behalf is little, so that the server soon has nowhere to write to.
	if small, ok := connection.(*net.TCPConn); ok {
		if err := small.SetReadBuffer(4 << 10); err != nil {
			return err
		}
	}
	a.watching.Add(1)
	for sleep(ctx, time.Second) {
		// A pong that nobody asked for is allowed, and tells whether the connection is there still.
		if err := ws.WriteFrame(connection, ws.MaskFrame(ws.NewPongFrame(nil))); err != nil {
			return nil
		}
	}
	return nil
}

func (a *audience) dial(ctx context.Context) (net.Conn, io.Reader, error) {
	dialer := ws.Dialer{Timeout: 30 * time.Second, Protocols: []string{a.protocol}}
	connection, buffered, handshake, err := dialer.Dial(ctx, a.url)
	if err != nil {
		return nil, nil, fmt.Errorf("connect a viewer: %w", err)
	}
	if handshake.Protocol != a.protocol {
		connection.Close()
		return nil, nil, fmt.Errorf("the server does not speak %s", a.protocol)
	}
	if err := wsutil.WriteClientText(connection, []byte(a.request)); err != nil {
		connection.Close()
		return nil, nil, fmt.Errorf("subscribe a viewer: %w", err)
	}
	if buffered != nil { // a frame came with the handshake's answer
		return connection, io.MultiReader(buffered, connection), nil
	}
	return connection, connection, nil
}

// deltaReader is a viewer's reading.
type deltaReader struct {
	audience   *audience
	connection net.Conn
	source     *bufio.Reader
	// prompt viewers read at once.
	prompt bool
	// synced says that a snapshot has come, and seq is the number of the newest message.
	synced bool
	seq    uint32
}

// next reads a frame.
func (r *deltaReader) next() error {
	header, err := ws.ReadHeader(r.source)
	if err != nil {
		return err
	}
	if header.OpCode.IsControl() {
		return r.control(header)
	}
	if header.Length > mostFrameBytes {
		return fmt.Errorf("a frame has %d bytes", header.Length)
	}
	// The clock is read where the first part of the frame is here: the rest is not waited for.
	head, err := r.source.Peek(int(min(header.Length, deltaHead)))
	if err != nil {
		return err
	}
	now := time.Now()
	one := parseHead(head, header.OpCode == ws.OpBinary)
	measuring := r.audience.measuring.Load()
	if measuring {
		r.audience.messages.Add(1)
		r.audience.bytes.Add(header.Length + int64(ws.HeaderSize(header)))
	}
	switch one.kind {
	case kindError:
		return fmt.Errorf("the server refuses: %s", head)
	case kindSnapshot:
		if measuring && r.synced {
			r.audience.snapshots.Add(1)
		}
		r.synced, r.seq = true, one.seq
	case kindDelta:
		if measuring && one.seq != r.seq+1 {
			r.audience.gaps.Add(1)
		}
		r.seq = one.seq
		if measuring && r.prompt && one.sampled != 0 {
			r.audience.lag.Add(now.Sub(time.UnixMilli(one.sampled)))
		}
	}
	_, err = r.source.Discard(int(header.Length))
	return err
}

func (r *deltaReader) control(header ws.Header) error {
	if header.Length > ws.MaxControlFramePayloadSize {
		return ws.ErrProtocolControlPayloadOverflow
	}
	payload := make([]byte, header.Length)
	if _, err := io.ReadFull(r.source, payload); err != nil {
		return err
	}
	switch header.OpCode {
	case ws.OpPing:
		return ws.WriteFrame(r.connection, ws.MaskFrame(ws.NewPongFrame(payload)))
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		return fmt.Errorf("the server closes with %d: %s", code, reason)
	}
	return nil
}

// messageKind is what a message of the live WebSocket is; its numbers are those of the binary form.
type messageKind byte

const (
	kindSnapshot messageKind = 1
	kindDelta    messageKind = 2
	kindAlerts   messageKind = 3
	kindError    messageKind = 4
)

// messageHead is what the beginning of a message tells.
type messageHead struct {
	kind messageKind
	seq  uint32
	// sampled is when the first host of a delta took its sample, Unix milliseconds, 0 if it has none.
	sampled int64
}

// parseHead reads the beginning of a message.
func parseHead(head []byte, binary bool) messageHead {
	if binary {
		return parseBinaryHead(head)
	}
	return parseJSONHead(head)
}

func parseJSONHead(head []byte) (one messageHead) {
	rest, _ := bytes.CutPrefix(head, []byte(`{"seq":`))
	for len(rest) > 0 && '0' <= rest[0] && rest[0] <= '9' {
		one.seq = 10*one.seq + uint32(rest[0]-'0')
		rest = rest[1:]
	}
	switch {
	case bytes.HasPrefix(rest, []byte(`,"delta"`)):
		one.kind = kindDelta
	case bytes.HasPrefix(rest, []byte(`,"snapshot"`)):
		one.kind = kindSnapshot
	case bytes.HasPrefix(rest, []byte(`,"alerts"`)):
		one.kind = kindAlerts
	case bytes.HasPrefix(rest, []byte(`,"error"`)):
		one.kind = kindError
	}
	if one.kind != kindDelta {
		return one
	}
	_, after, found := bytes.Cut(rest, []byte(`"latest":{"time":"`))
	text, _, whole := bytes.Cut(after, []byte(`"`))
	if found && whole {
		if sampled, err := time.Parse(time.RFC3339, string(text)); err == nil {
			one.sampled = sampled.UnixMilli()
		}
	}
	return one
}

// parseBinaryHead reads the binary form of docs/live.md up to the time of the first host's sample.
func parseBinaryHead(head []byte) (one messageHead) {
	in := binaryInput{rest: head}
	one.kind = messageKind(in.byte())
	one.seq = uint32(in.count())
	if one.kind != kindDelta {
		return one
	}
	const entryHost, entryNewFacts, hasSince, hasSample = 1, 2, 16, 32
	entry := in.byte()
	if entry != entryHost && entry != entryNewFacts {
		return one
	}
	in.count() // the host's id
	if entry == entryNewFacts {
		in.skip(in.count())
	}
	flags := in.byte()
	if flags&hasSince != 0 {
		in.signed()
	}
	in.signed() // the clock's skew
	in.count()  // the lag
	if flags&hasSample != 0 {
		one.sampled = in.signed()
	}
	if in.short {
		one.sampled = 0
	}
	return one
}

// binaryInput reads numbers, and zeros where there is nothing left.
type binaryInput struct {
	rest  []byte
	short bool
}

func (in *binaryInput) skip(n uint64) {
	if n > uint64(len(in.rest)) {
		in.rest, in.short = nil, true
		return
	}
	in.rest = in.rest[n:]
}

func (in *binaryInput) byte() byte {
	if len(in.rest) == 0 {
		in.short = true
		return 0
	}
	b := in.rest[0]
	in.rest = in.rest[1:]
	return b
}

func (in *binaryInput) count() uint64 {
	value, n := binary.Uvarint(in.rest)
	if n <= 0 {
		in.rest, in.short = nil, true
		return 0
	}
	in.rest = in.rest[n:]
	return value
}

func (in *binaryInput) signed() int64 {
	value := in.count()
	return int64(value>>1) ^ -int64(value&1)
}

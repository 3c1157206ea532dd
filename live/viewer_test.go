package live

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

func TestSlowViewerIsConflatedAndHoldsNoOneUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{WriteTimeout: time.Hour})
		defer r.close()
		slow, quick := r.connect(), r.connect()
		for _, c := range r.clients {
			c.send(`{"fleet":{}}`)
			c.snapshot(0, 1, 2, 3)
		}
		const ticks = maxPending + 2
		for seq := 1; seq <= ticks; seq++ {
			r.observe(1, float32(seq))
			r.tick()
			require.Equal(t, float64(seq), cpu(quick.delta(seq, 1)[0]))
			require.LessOrEqual(t, len(r.topics()[topicKey{fleet: true}].backlog.kept), maxPending)
		}
		require.Zero(t, value(r.hub.metrics.conflated))

		slow.delta(1, 1) // the one that its writer had begun
		require.Equal(t, 1.0, value(r.hub.metrics.conflated))
		hosts := slow.snapshot(ticks, 1, 2, 3)
		require.Equal(t, float64(ticks), cpu(hosts[0]))
		r.observe(2, 7)
		r.tick()
		slow.delta(ticks+1, 2)
		quick.delta(ticks+1, 2)
	})
}

func TestShortHiccupCostsNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		c.send(`{"fleet":{}}`)
		c.snapshot(0, 1, 2, 3)
		for seq := 1; seq <= maxPending+1; seq++ { // the first is with the writer
			r.observe(1, float32(seq))
			r.tick()
		}
		for seq := 1; seq <= maxPending+1; seq++ {
			c.delta(seq, 1)
		}
		c.idle()
	})
}

func TestViewerThatNeverReadsIsDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{WriteTimeout: 10 * time.Second})
		defer r.close()
		c := r.connect()
		c.send(`{"fleet":{}}`)
		time.Sleep(10*time.Second - time.Nanosecond)
		synctest.Wait()
		require.Len(t, r.viewers(), 1)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Empty(t, r.viewers())
		require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonWrite]))
		require.Zero(t, value(r.hub.metrics.viewers))
	})
}

// TestManyViewersThatNeverRead: the others go on getting what is new, no more waits for the bad ones than for one, and they are cut off.
func TestManyViewersThatNeverReadHoldNoOneUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bad, good = 200, 20
		r := newRig(t, HubOptions{WriteTimeout: 10 * time.Second, PingInterval: time.Hour, SweepInterval: time.Hour, MaxViewers: bad + good})
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.hub.Run(ctx) }()
		r.state.Observe(2, flat(fullSample(time.Now())), time.Now())
		var readers []*client
		for i := range bad + good {
			c := r.connect()
			c.send(`{"fleet":{}}`)
			switch i % 11 {
			case 0:
				readers = append(readers, c)
				c.snapshot(0, 1, 2, 3)
			case 1: // stops in the middle of the snapshot
				_, err := io.CopyN(io.Discard, c.conn, 100)
				require.NoError(t, err)
			case 2: // stops after it
				c.snapshot(0, 1, 2, 3)
			}
		}
		require.Len(t, readers, good)
		require.Error(t, r.hub.reserve(noAddress), "the bad ones take places")
		synctest.Wait()
		begun, most := time.Now(), 0
		seq := 0
		for time.Since(begun) < 9*time.Second {
			seq++
			sent := time.Now()
			r.state.Observe(2, flat(fullSample(sent)), sent)
			for _, c := range readers {
				c.delta(seq, 2)
			}
			require.LessOrEqual(t, time.Since(sent), maxConflation)
			synctest.Wait()
			most = max(most, r.queued())
		}
		require.Greater(t, seq, maxPending/2)
		one := len(r.topics()[topicKey{fleet: true}].backlog.kept[0].buf)
		require.Less(t, most, (maxPending+maxBatch)*(one+100)+10*one, "what one slow viewer would cost, and no more")
		require.Equal(t, float64(bad+good), value(r.hub.metrics.viewers))

		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, r.viewers(), good)
		require.Equal(t, float64(bad), value(r.hub.metrics.closed[reasonWrite]))
		require.NoError(t, r.hub.reserve(noAddress), "their places are free")
		r.hub.release(noAddress)
		for range 2 {
			seq++
			sent := time.Now()
			r.state.Observe(2, flat(fullSample(sent)), sent)
			for _, c := range readers {
				c.delta(seq, 2)
			}
			require.LessOrEqual(t, time.Since(sent), r.hub.options.PushInterval, "no one is waited for any more")
		}
		stop()
		for _, c := range readers {
			require.Equal(t, ws.StatusGoingAway, c.closed())
		}
		require.NoError(t, <-ran)
	})
}

// A slow line that takes some bytes now and then is no dead one, though the whole frame takes far longer.
func TestLongFrameHasADeadlineForEachPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{WriteTimeout: 10 * time.Second})
		defer r.close()
		for id := range storage.HostID(1000) {
			r.state.SetHost(testHost(id+1, "host"))
		}
		c := r.connect()
		c.send(`{"fleet":{}}`)
		header, err := ws.ReadHeader(c.conn)
		require.NoError(t, err)
		require.Greater(t, header.Length, int64(5*writePiece))
		for left := header.Length; left > 0; left -= min(left, writePiece) {
			time.Sleep(9 * time.Second)
			_, err := io.CopyN(io.Discard, c.conn, min(left, writePiece))
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Len(t, r.viewers(), 1)
	})
}

func TestSlowViewerGetsNewestAlertsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		for n := range 5 {
			r.hub.PublishAlerts([]*gohubv1.Alert{{Id: fmt.Sprint(n)}})
			synctest.Wait()
		}
		require.Equal(t, "0", c.message().GetAlerts().Alerts[0].Id)
		require.Equal(t, "4", c.message().GetAlerts().Alerts[0].Id)
		c.idle()
	})
}

func TestPingsAreAnsweredOrTheViewerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{PingInterval: 30 * time.Second})
		defer r.close()
		c := r.connect()
		ping := func() {
			t.Helper()
			r.tick()
			op, _ := c.frame()
			require.Equal(t, ws.OpPing, op)
		}
		time.Sleep(30*time.Second - 1)
		r.tick()
		c.idle()
		ping()
		time.Sleep(29 * time.Second)
		_, err := c.conn.Write(masked(ws.NewPongFrame(nil)))
		require.NoError(t, err)
		time.Sleep(time.Second)
		ping()
		time.Sleep(30 * time.Second)
		r.tick()
		require.Equal(t, ws.StatusPolicyViolation, c.closed())
		synctest.Wait()
		require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonPingTimeout]))
	})
}

func TestClientPingIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		_, err := c.conn.Write(masked(ws.NewPingFrame([]byte("hello"))))
		require.NoError(t, err)
		op, payload := c.frame()
		require.Equal(t, ws.OpPong, op)
		require.Equal(t, "hello", string(payload))
	})
}

func TestFloodOfPingsIsNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		for n := range 1000 {
			_, err := c.conn.Write(masked(ws.NewPingFrame(fmt.Append(nil, n))))
			require.NoError(t, err)
			synctest.Wait()
		}
		_, payload := c.frame()
		require.Equal(t, "0", string(payload))
		_, payload = c.frame()
		require.Equal(t, "999", string(payload))
		c.idle()
	})
}

func TestConnectionEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		ctx, logout := context.WithCancel(t.Context())
		c := r.connectContext(ctx)
		logout()
		require.Equal(t, ws.StatusPolicyViolation, c.closed())
		synctest.Wait()
		require.Equal(t, 1.0, value(r.hub.metrics.closed[reasonSession]))
	})
}

func TestStopDoesNotWaitForTheUnwilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{WriteTimeout: time.Hour})
		defer r.close()
		ctx, stop := context.WithCancel(t.Context())
		stuck, mute := r.connect(), r.connect()
		stuck.send(`{"fleet":{}}`) // and never reads the snapshot
		synctest.Wait()
		stop()
		begin := time.Now()
		go func() {
			op, _ := mute.frame() // reads the close frame, but never answers it
			require.Equal(t, ws.OpClose, op)
		}()
		require.NoError(t, r.hub.Run(ctx))
		require.Equal(t, 2*closeGrace, time.Since(begin))
		require.Error(t, r.hub.Run(ctx), "a second run")
		require.Error(t, r.hub.reserve(noAddress), "no viewers after the stop")
	})
}

// What a viewer had under way when it was refused is read, or the reset of the connection could cost the close frame.
func TestRestOfRefusedFrameIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c := r.connect()
		r.group.Go(func() { require.Equal(t, ws.StatusMessageTooBig, c.closed()) })
		_, err := c.conn.Write(text(strings.Repeat("x", 100_000))) // returns when all is read
		require.NoError(t, err)
	})
}

// halves is a pipe whose server's side can be closed for writing alone, as a TCP connection's.
type halves struct {
	net.Conn
	closed chan struct{}
}

func (h *halves) CloseWrite() error {
	close(h.closed)
	return nil
}

func TestViewerLearnsAtOnceThatNothingMoreComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		near, far := net.Pipe()
		conn := &halves{far, make(chan struct{})}
		require.NoError(t, r.hub.reserve(noAddress))
		r.group.Go(func() {
			defer r.hub.release(noAddress)
			r.hub.serve(t.Context(), conn, conn, formJSON)
		})
		start := time.Now()
		_, err := near.Write(masked(ws.NewBinaryFrame(nil)))
		require.NoError(t, err)
		header, err := ws.ReadHeader(near)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, near, header.Length)
		require.NoError(t, err)
		<-conn.closed
		require.NoError(t, near.Close())
		r.close()
		require.Zero(t, time.Since(start))
	})
}

func TestViewerThatAlternatesSubscriptionsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		c, begin := r.connect(), time.Now()
		for i := range subscriptionBurst + 3 {
			host := uint32(1 + i%2)
			c.send(fmt.Sprintf(`{"host":{"hostId":%d}}`, host))
			c.snapshot(0, host)
			require.Equal(t, time.Duration(max(0, i+1-subscriptionBurst))*subscriptionEvery, time.Since(begin))
		}
	})
}

func TestViewerThatWaitsToSubscribeIsEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, HubOptions{})
		defer r.close()
		ctx, cancel := context.WithCancel(t.Context())
		c, begin := r.connectContext(ctx), time.Now()
		for range subscriptionBurst {
			c.send(`{"fleet":{}}`)
			c.snapshot(0, 1, 2, 3)
		}
		c.send(`{"host":{"hostId":1}}`)
		cancel()
		require.Equal(t, ws.StatusPolicyViolation, c.closed())
		require.Zero(t, time.Since(begin))
	})
}

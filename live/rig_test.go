package live

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Tests with a rig run in synctest bubbles over net.Pipe, which has no buffer: a write returns when the other side has read.
// Times are the bubble's, so sleeping costs nothing, and synctest.Wait returns when every goroutine waits.

// noAddress is that of viewers that have none.
var noAddress netip.Prefix

// rig is a hub with the viewers of a test.
type rig struct {
	t       *testing.T
	state   *State
	hub     *Hub
	clients []*client
	group   sync.WaitGroup
}

func newRig(t *testing.T, o HubOptions) *rig {
	state := NewState(nil)
	r := &rig{t: t, state: state, hub: NewHub(state, o)}
	for id := range storage.HostID(3) {
		state.SetHost(testHost(id+1, fmt.Sprint("host-", id+1)))
	}
	return r
}

// close ends all viewers from their side and waits for their handlers.
func (r *rig) close() {
	for _, c := range r.clients {
		_ = c.conn.Close()
	}
	r.group.Wait()
	require.Empty(r.t, r.viewers())
	require.Empty(r.t, r.topics(), "topics are forgotten with their last subscriber")
}

func (r *rig) observe(id storage.HostID, cpu float32) {
	r.state.Observe(id, flat(hostSample(time.Now(), cpu)), time.Now())
}

// tick waits until every writer waits, as if the tick had come then.
func (r *rig) tick() {
	synctest.Wait()
	r.hub.tick()
	synctest.Wait()
}

func (r *rig) viewers() map[*viewer]struct{} {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return maps.Clone(r.hub.viewers)
}

func (r *rig) topics() map[topicKey]*topic {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return maps.Clone(r.hub.topics)
}

// queued is how many bytes wait to be written to all viewers together, what they share counted once. All must be waiting.
func (r *rig) queued() (bytes int) {
	seen := map[*message]bool{}
	count := func(messages []*message) {
		for _, m := range messages {
			if m != nil && !seen[m] {
				seen[m] = true
				bytes += len(m.buf)
			}
		}
	}
	for _, topic := range r.topics() {
		count(topic.backlog.kept)
		bytes += len(topic.snapshot)
	}
	for v := range r.viewers() {
		count(v.batch)
		bytes += len(v.out.close) + len(v.out.pong) + len(v.out.reply) + len(v.out.alerts)
	}
	return bytes
}

type client struct {
	t    *testing.T
	conn net.Conn
	// viewer is the server's side.
	viewer *viewer
}

func (r *rig) connect() *client { return r.connectContext(r.t.Context()) }

func (r *rig) connectContext(ctx context.Context) *client {
	near, far := net.Pipe()
	before := r.viewers()
	require.NoError(r.t, r.hub.reserve(noAddress))
	r.group.Go(func() {
		defer r.hub.release(noAddress)
		r.hub.serve(ctx, far, far, formJSON)
	})
	synctest.Wait()
	c := &client{t: r.t, conn: near}
	for v := range r.viewers() {
		if _, old := before[v]; !old {
			c.viewer = v
		}
	}
	r.clients = append(r.clients, c)
	return c
}

func (c *client) send(request string) {
	_, err := c.conn.Write(text(request))
	require.NoError(c.t, err)
}

func (c *client) frame() (ws.OpCode, []byte) {
	c.t.Helper()
	header, err := ws.ReadHeader(c.conn)
	require.NoError(c.t, err)
	payload := make([]byte, header.Length)
	_, err = io.ReadFull(c.conn, payload)
	require.NoError(c.t, err)
	return header.OpCode, payload
}

func (c *client) raw() []byte {
	c.t.Helper()
	op, payload := c.frame()
	require.Equal(c.t, ws.OpText, op)
	return payload
}

func (c *client) message() *gohubv1.LiveMessage {
	c.t.Helper()
	message := new(gohubv1.LiveMessage)
	require.NoError(c.t, protojson.Unmarshal(c.raw(), message))
	return message
}

// snapshot reads one, and checks its seq and the hosts in it.
func (c *client) snapshot(seq int, hosts ...uint32) []*gohubv1.Host {
	c.t.Helper()
	m := c.message()
	require.NotNil(c.t, m.GetSnapshot(), "%v", m)
	require.EqualValues(c.t, seq, m.Seq)
	require.Equal(c.t, hosts, ids(m.GetSnapshot()))
	return m.GetSnapshot().Hosts
}

func (c *client) delta(seq int, hosts ...uint32) []*gohubv1.Host {
	c.t.Helper()
	m := c.message()
	require.NotNil(c.t, m.GetDelta(), "%v", m)
	require.EqualValues(c.t, seq, m.Seq)
	require.Equal(c.t, hosts, ids(m.GetDelta()))
	return m.GetDelta().Hosts
}

func ids(hosts *gohubv1.LiveHosts) []uint32 {
	var all []uint32
	for _, h := range hosts.Hosts {
		all = append(all, h.HostId)
	}
	return all
}

// idle checks that there is nothing to read.
func (c *client) idle() {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	n, err := c.conn.Read(make([]byte, 1))
	require.Zero(c.t, n)
	require.ErrorIs(c.t, err, os.ErrDeadlineExceeded)
	require.NoError(c.t, c.conn.SetReadDeadline(time.Time{}))
}

// closed reads a close frame and its code, answers it, and waits for the end.
func (c *client) closed() ws.StatusCode {
	c.t.Helper()
	op, payload := c.frame()
	require.Equal(c.t, ws.OpClose, op)
	code, _ := ws.ParseCloseFrameData(payload)
	_, _ = c.conn.Write(masked(ws.NewCloseFrame(payload[:2])))
	_, err := c.conn.Read(make([]byte, 1))
	require.Error(c.t, err)
	return code
}

func value(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

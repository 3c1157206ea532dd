package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// What the hub is held against: broadcasters as one writes them in an afternoon.

// take serves one viewer of a broadcaster that is not the hub: an empty snapshot, and then what send writes.
func (b *broadcaster) take(w http.ResponseWriter, r *http.Request) {
	upgrader := ws.HTTPUpgrader{Protocol: func(name string) bool { return name == protocolJSON || name == protocolBinary }}
	connection, _, handshake, err := upgrader.Upgrade(r, w)
	if err != nil {
		return // it has answered
	}
	snapshot := ws.NewTextFrame([]byte(`{"seq":0,"snapshot":{"hosts":[]}}`))
	if handshake.Protocol == protocolBinary {
		snapshot = ws.NewBinaryFrame([]byte{byte(kindSnapshot), 0, 0, 0})
	}
	if ws.WriteFrame(connection, snapshot) != nil {
		connection.Close()
		return
	}
	b.mu.Lock()
	b.sockets = append(b.sockets, connection)
	b.mu.Unlock()
	_, _ = io.Copy(io.Discard, connection) // until either side closes it
	connection.Close()
}

func (b *broadcaster) viewers() []net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sockets
}

// closeAll ends the viewers, and what waits for them.
func (b *broadcaster) closeAll() {
	for _, connection := range b.viewers() {
		connection.Close()
	}
}

// plainMessage is a delta as the hub's JSON has it.
type plainMessage struct {
	Seq   uint32     `json:"seq"`
	Delta plainDelta `json:"delta"`
}

type plainDelta struct {
	Hosts []plainHost `json:"hosts"`
}

type plainHost struct {
	HostID           uint32             `json:"hostId"`
	AgentID          string             `json:"agentId"`
	Facts            *gohubv1.HostFacts `json:"facts"`
	FirstSeen        time.Time          `json:"firstSeen"`
	Status           string             `json:"status"`
	StatusSince      time.Time          `json:"statusSince"`
	ClockSkewSeconds float64            `json:"clockSkewSeconds"`
	IngestLagSeconds float64            `json:"ingestLagSeconds"`
	Latest           plainReading       `json:"latest"`
}

type plainReading struct {
	Time   time.Time          `json:"time"`
	Values map[string]float64 `json:"values"`
}

// sendPlain writes the delta of a host to one viewer after the other. A viewer that fails is passed over.
func (b *broadcaster) sendPlain(host int, seq uint32) {
	h, _ := b.state.Host(storage.HostID(host + 1))
	message := plainMessage{Seq: seq, Delta: plainDelta{Hosts: []plainHost{{
		HostID: h.GetHostId(), AgentID: h.GetAgentId(), Facts: h.GetFacts(), FirstSeen: h.GetFirstSeen().AsTime(), Status: h.GetStatus().String(),
		StatusSince: h.GetStatusSince().AsTime(), ClockSkewSeconds: h.GetClockSkewSeconds(), IngestLagSeconds: h.GetIngestLagSeconds(),
		Latest: plainReading{Time: h.GetLatest().GetTime().AsTime(), Values: h.GetLatest().GetValues()},
	}}}}
	var text []byte
	for _, connection := range b.viewers() {
		if text == nil || b.options.Way == wayPlainEach {
			var err error
			if text, err = json.Marshal(message); err != nil {
				panic(err) // the values are finite
			}
		}
		_ = wsutil.WriteServerText(connection, text)
	}
}

// loop writes finished frames to all viewers, in as many loops as there are processors, until ctx ends.
func (b *broadcaster) loop(ctx context.Context) {
	all := b.viewers()
	loops := min(runtime.GOMAXPROCS(0), len(all))
	var group sync.WaitGroup
	for i := range loops {
		mine := all[i*len(all)/loops : (i+1)*len(all)/loops]
		group.Go(func() {
			for seq := uint32(1); ctx.Err() == nil; seq++ {
				frame := bareFrame(b.options.FrameBytes, seq, time.Now().UnixMilli())
				for _, connection := range mine {
					_, _ = connection.Write(frame)
				}
			}
		})
	}
	group.Wait()
}

// bareFrame is a frame of a length with what a viewer looks at: a delta of a host with a sample.
func bareFrame(length int, seq uint32, sampled int64) []byte {
	payload := binary.AppendUvarint([]byte{byte(kindDelta)}, uint64(seq))
	payload = append(payload, 1, 1, 32, 0, 0) // a host, its id, its flags, its clock
	payload = binary.AppendVarint(payload, sampled)
	rest := max(length-2-len(payload), 0)
	if length > 2+125 {
		rest = max(length-4-len(payload), 0)
	}
	return ws.MustCompileFrame(ws.NewBinaryFrame(append(payload, make([]byte, rest)...)))
}

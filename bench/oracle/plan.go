// Package oracle decides whether a database holds what agents took: every sample once, whole, and nothing else. It knows
// no process and no database: a plan says what each sample is, a ledger what each agent took, and rows come from a reader.
package oracle

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Plan makes samples. Everything in a sample follows from the plan, the agent's number and the tick, so that a sample
// that was stored names itself, and any value that was swapped or damaged shows.
type Plan struct {
	// Seed tells plans apart: with another one, agents have other ids and other values.
	Seed uint64
	// Base is the time of tick 0, in Unix milliseconds, Step how far a tick is from the next.
	Base, Step int64
	// Clock, if it is not empty, sets the agents' clocks: each of its offsets, in milliseconds, holds for ClockTicks ticks.
	Clock      []int64
	ClockTicks int
	// PoisonEvery makes each so manieth tick a sample that must not be stored, in turns for each reason; 0 for none.
	PoisonEvery int
}

// AgentID is the UUID of an agent.
func (p *Plan) AgentID(agent int) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], p.hash(agent, 0, -1))
	binary.BigEndian.PutUint64(id[8:], p.hash(agent, 0, -2))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4 of RFC 9562
	return id.String()
}

// Time is that of a tick's sample, in Unix milliseconds.
func (p *Plan) Time(tick int) int64 {
	at := p.Base + int64(tick)*p.Step
	if len(p.Clock) > 0 {
		at += p.Clock[tick/p.ClockTicks%len(p.Clock)]
	}
	return at
}

// poisons are the ways in which a sample can be unfit to be stored.
var poisons = []func(*gohubv1.Sample){
	func(s *gohubv1.Sample) { s.Host.Load5 = proto.Float32(float32(math.NaN())) },
	func(s *gohubv1.Sample) { s.Filesystems[0].Mountpoint = "/data\x00" },
	func(s *gohubv1.Sample) { s.TimeUnixMillis += (20 * 365 * 24 * time.Hour).Milliseconds() },
	func(s *gohubv1.Sample) { s.Host.Load5 = proto.Float32(float32(math.Inf(-1))) },
}

// Poisoned says that a tick's sample belongs into quarantine.
func (p *Plan) Poisoned(tick int) bool {
	return p.PoisonEvery > 0 && tick%p.PoisonEvery == p.PoisonEvery-1
}

// Sample makes the sample of a tick.
func (p *Plan) Sample(agent, tick int) *gohubv1.Sample {
	host, filesystem := p.Values(Host, agent, tick), p.Values(Filesystem, agent, tick)
	sample := &gohubv1.Sample{
		TimeUnixMillis: p.Time(tick),
		Host: &gohubv1.HostMetrics{
			UptimeSeconds:        proto.Uint64(uint64(tick)),
			MemoryTotalBytes:     proto.Uint64(uint64(host[0])),
			MemoryUsedBytes:      proto.Uint64(uint64(host[1])),
			MemoryAvailableBytes: proto.Uint64(uint64(host[2])),
			SwapUsedBytes:        proto.Uint64(uint64(host[3])),
			Processes:            proto.Uint32(uint32(host[4])),
			Load1:                proto.Float32(float32(host[5])),
			Load15:               proto.Float32(float32(host[6])),
		},
		Filesystems: []*gohubv1.FilesystemMetrics{{
			Mountpoint: "/data", Device: "/dev/data", Fstype: "ext4",
			SizeBytes:      proto.Uint64(uint64(tick)),
			UsedBytes:      proto.Uint64(uint64(filesystem[0])),
			AvailableBytes: proto.Uint64(uint64(filesystem[1])),
			Inodes:         proto.Uint64(uint64(filesystem[2])),
		}},
	}
	if p.Poisoned(tick) {
		poisons[tick/p.PoisonEvery%len(poisons)](sample)
	}
	return sample
}

// Part is where a piece of a sample is stored.
type Part int

// The parts. A sample that is fit is in the first two, one that is not is in quarantine alone.
const (
	Host Part = iota
	Filesystem
	Quarantine
	parts
)

// String implements fmt.Stringer.
func (p Part) String() string {
	if p < 0 || p >= parts {
		return fmt.Sprintf("part %d", int(p))
	}
	return [...]string{"host", "filesystem", "quarantine"}[p]
}

// bits is how much of a hash each value of a part has: what its column holds without loss.
var bits = [parts][]int{
	Host:       {62, 62, 62, 62, 31, 24, 24},
	Filesystem: {62, 62, 62},
}

// Values are what a part's columns hold, in the order of Columns, without the tick.
func (p *Plan) Values(part Part, agent, tick int) []int64 {
	values := make([]int64, len(bits[part]))
	for i, n := range bits[part] {
		values[i] = int64(p.hash(agent, tick, int(part)<<8|i) >> (64 - n))
	}
	return values
}

// Columns are those of a part, by the names that they have in the database. The first is the tick.
func Columns(part Part) []string {
	return [parts][]string{
		Host: {
			"uptime_seconds", "memory_total_bytes", "memory_used_bytes", "memory_available_bytes", "swap_used_bytes",
			"processes", "load1", "load15",
		},
		Filesystem: {"size_bytes", "used_bytes", "available_bytes", "inodes"},
	}[part]
}

func (p *Plan) hash(agent, tick, index int) uint64 {
	h := fnv.New64a()
	var key [32]byte
	for i, n := range [...]uint64{p.Seed, uint64(agent), uint64(tick), uint64(index)} {
		binary.LittleEndian.PutUint64(key[8*i:], n)
	}
	h.Write(key[:])
	// FNV's upper bits hardly depend on the last bytes: mix as MurmurHash3 does at its end.
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// RowsOf are the rows that a sample becomes where it is stored.
func RowsOf(agentID string, sample *gohubv1.Sample) []Row {
	h := sample.GetHost()
	rows := []Row{{AgentID: agentID, Part: Host, Time: sample.GetTimeUnixMillis(), Values: []int64{
		int64(h.GetUptimeSeconds()), int64(h.GetMemoryTotalBytes()), int64(h.GetMemoryUsedBytes()), int64(h.GetMemoryAvailableBytes()),
		int64(h.GetSwapUsedBytes()), int64(h.GetProcesses()), int64(h.GetLoad1()), int64(h.GetLoad15()),
	}}}
	for _, f := range sample.GetFilesystems() {
		rows = append(rows, Row{AgentID: agentID, Part: Filesystem, Time: sample.GetTimeUnixMillis(), Values: []int64{
			int64(f.GetSizeBytes()), int64(f.GetUsedBytes()), int64(f.GetAvailableBytes()), int64(f.GetInodes()),
		}})
	}
	return rows
}

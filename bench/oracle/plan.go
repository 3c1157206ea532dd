// Package oracle decides whether a database holds what agents took: every sample once, whole, and nothing else. It knows
// no process and no database: a plan says what each sample is, a ledger what each agent took, and rows come from a reader.
package oracle

import (
	"encoding/binary"
	"hash/fnv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/reflect/protoreflect"

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
	func(s *gohubv1.Sample) {
		s.Filesystems = append(s.Filesystems, &gohubv1.FilesystemMetrics{Mountpoint: "/data\x00"})
	},
	func(s *gohubv1.Sample) { s.TimeUnixMillis += (20 * 365 * 24 * time.Hour).Milliseconds() },
	func(s *gohubv1.Sample) {
		s.Filesystems = append(s.Filesystems, &gohubv1.FilesystemMetrics{Mountpoint: strings.Repeat("/data", 1000)})
	},
	func(s *gohubv1.Sample) { s.TimeUnixMillis = 0 },
}

// Poisoned says that a tick's sample belongs into quarantine.
func (p *Plan) Poisoned(tick int) bool {
	return p.PoisonEvery > 0 && tick%p.PoisonEvery == p.PoisonEvery-1
}

// Sample makes the sample of a tick.
func (p *Plan) Sample(agent, tick int) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: p.Time(tick)}
	reflected := sample.ProtoReflect()
	for part, one := range families {
		for instance := range p.instances(Part(part), agent, tick) {
			if one.field.IsList() {
				message := reflected.Mutable(one.field).List().AppendMutable().Message()
				one.fill(message, instance, p.Values(Part(part), agent, tick, instance))
			} else {
				one.fill(reflected.Mutable(one.field).Message(), instance, p.Values(Part(part), agent, tick, instance))
			}
		}
	}
	if p.Poisoned(tick) {
		poisons[tick/p.PoisonEvery%len(poisons)](sample)
	}
	return sample
}

// instances is how many rows a sample has of a family: the machine's own always, of the others any number, none too.
func (p *Plan) instances(part Part, agent, tick int) int {
	if families[part].most == 1 {
		return 1
	}
	return int(p.hash(agent, tick, -3-int(part)) % uint64(families[part].most+1))
}

// Values are what the row of an instance holds, in the order of the family's columns. The first names the tick.
func (p *Plan) Values(part Part, agent, tick, instance int) []Value {
	columns := families[part].metrics
	values := make([]Value, len(columns))
	for i, column := range columns {
		hash := p.hash(agent, tick, int(part)<<16|instance<<8|i)
		switch {
		case i == 0 && isFloat(column):
			values[i] = Value{Known: true, Float: float64(tick) + float64(hash>>60)/sixteen}
		case i == 0:
			values[i] = Value{Known: true, Whole: int64(tick)}
		case hash%absent == 0: // a reading that the machine does not have
		case isFloat(column):
			values[i] = Value{Known: true, Float: float64(hash>>40) / fraction}
		case column.Kind() == protoreflect.Uint32Kind:
			values[i] = Value{Known: true, Whole: int64(hash >> 33)}
		default:
			values[i] = Value{Known: true, Whole: int64(hash >> 1)}
		}
	}
	return values
}

// One of absent values is none, and fraction is a power of two: of a float of 24 bits nothing is lost on the way.
const (
	absent   = 8
	fraction = 64
	// sixteen makes a number of four bits a fraction: beside a tick of up to a million, a float has room for it. In a family
	// of one column it is all that tells agents apart.
	sixteen = 16
)

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

// Package fleet simulates many agents. It makes realistic values (bounded random walks with the shape of a day, counters
// that grow), encodes them by hand so that the generator costs little, and streams them through the real contract. The
// same rows can be had as tuples of a binary COPY, for a comparison of equals.
package fleet

import (
	"math"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// kind says how a value comes about.
type kind int

const (
	walk      kind = iota // a level between low and high that drifts, and follows the day by its daily share
	count                 // a walk in whole numbers
	counter               // a sum that grows by a walk each tick
	fixed                 // a number of the host that stays: a power of two between low and high
	shareOf               // whole pages, a walk as a part of the metric of
	rest                  // the metric of less the metric by
	percentOf             // the metric by in percent of the metric of
	uptime                // seconds since the host booted
)

// spec describes one metric's values.
type spec struct {
	kind      kind
	low, high float64
	// step is how far the level moves in a tick at most, daily how much of the level is the hour's doing; both are
	// parts of the whole from low to high.
	step, daily float64
	// quantum is what a reading is a multiple of, 0 for any.
	quantum float64
	// of and by name columns that come before this one in the family.
	of, by string
}

const gib = 1 << 30

// specs are the values of the metrics that are known by name; specFor makes those of others.
var specs = map[string]spec{
	"cpu_usage_percent":                  {kind: walk, low: 1, high: 95, step: 0.08, daily: 0.5, quantum: 0.125},
	"cpu_user_percent":                   {kind: walk, low: 1, high: 70, step: 0.08, daily: 0.5, quantum: 0.125},
	"cpu_system_percent":                 {kind: walk, low: 0, high: 25, step: 0.06, daily: 0.4, quantum: 0.125},
	"cpu_iowait_percent":                 {kind: walk, low: 0, high: 8, step: 0.1, daily: 0.2, quantum: 0.125},
	"cpu_steal_percent":                  {kind: walk, low: 0, high: 1, step: 0.05, quantum: 0.125},
	"load1":                              {kind: walk, low: 0, high: 16, step: 0.05, daily: 0.5, quantum: 1. / 128},
	"load5":                              {kind: walk, low: 0, high: 12, step: 0.02, daily: 0.6, quantum: 1. / 128},
	"load15":                             {kind: walk, low: 0, high: 10, step: 0.01, daily: 0.7, quantum: 1. / 128},
	"memory_total_bytes":                 {kind: fixed, low: 4 * gib, high: 256 * gib},
	"memory_used_bytes":                  {kind: shareOf, low: 0.2, high: 0.9, step: 0.004, daily: 0.3, of: "memory_total_bytes"},
	"memory_available_bytes":             {kind: rest, of: "memory_total_bytes", by: "memory_used_bytes"},
	"memory_cached_bytes":                {kind: shareOf, low: 0.02, high: 0.5, step: 0.002, of: "memory_available_bytes"},
	"memory_buffers_bytes":               {kind: shareOf, low: 0.001, high: 0.02, step: 0.001, of: "memory_available_bytes"},
	"memory_used_percent":                {kind: percentOf, of: "memory_total_bytes", by: "memory_used_bytes"},
	"swap_total_bytes":                   {kind: fixed, low: gib, high: 8 * gib},
	"swap_used_bytes":                    {kind: shareOf, low: 0, high: 0.3, step: 0.0005, of: "swap_total_bytes"},
	"swap_used_percent":                  {kind: percentOf, of: "swap_total_bytes", by: "swap_used_bytes"},
	"filesystem_fullest_percent":         {kind: walk, low: 20, high: 95, step: 0.0003, quantum: 1. / 16},
	"disks_read_bytes_per_second":        {kind: walk, low: 0, high: 80e6, step: 0.1, daily: 0.3, quantum: 409.6},
	"disks_written_bytes_per_second":     {kind: walk, low: 0, high: 40e6, step: 0.1, daily: 0.3, quantum: 409.6},
	"networks_receive_bytes_per_second":  {kind: walk, low: 2e3, high: 60e6, step: 0.1, daily: 0.6, quantum: 0.125},
	"networks_transmit_bytes_per_second": {kind: walk, low: 2e3, high: 90e6, step: 0.1, daily: 0.6, quantum: 0.125},
	"tcp_connections":                    {kind: count, low: 20, high: 1200, step: 0.02, daily: 0.5},
	"tcp_established_connections":        {kind: count, low: 10, high: 900, step: 0.02, daily: 0.5},
	"tcp_listening_sockets":              {kind: count, low: 8, high: 40, step: 0.002},
	"udp_sockets":                        {kind: count, low: 4, high: 30, step: 0.005},
	"processes":                          {kind: count, low: 90, high: 600, step: 0.005, daily: 0.2},
	"uptime_seconds":                     {kind: uptime},
	"temperature_highest_celsius":        {kind: walk, low: 35, high: 85, step: 0.02, daily: 0.3, quantum: 0.5},
}

// specFor returns how a metric's values come about; for one that has no entry of its own, by its unit and kind.
func specFor(metric *catalogue.Metric) spec {
	if s, known := specs[metric.Column]; known && metric.Family.Name == "host" {
		return s
	}
	s := spec{kind: walk, high: 1000, step: 0.05, daily: 0.4, quantum: 0.125}
	switch metric.Unit {
	case gohubv1.Unit_UNIT_PERCENT:
		s.high = 100
	case gohubv1.Unit_UNIT_CELSIUS:
		s.low, s.high, s.quantum = 30, 80, 0.5
	case gohubv1.Unit_UNIT_BYTES, gohubv1.Unit_UNIT_BYTES_PER_SECOND:
		s.high = 1e8
	}
	switch {
	case metric.Kind == gohubv1.Kind_KIND_COUNTER:
		s.kind = counter
	case metric.Type != catalogue.Float:
		s.kind = count
	}
	return s
}

// day holds the shape of a day in minutes, from 0 at night to 1 in the afternoon.
var day = func() (shape [24 * 60]float32) {
	for minute := range shape {
		shape[minute] = float32(0.5 - 0.5*math.Cos(2*math.Pi*(float64(minute)-180)/float64(len(shape))))
	}
	return shape
}()

// random is Marsaglia's xorshift64*: one multiplication a number, and good enough for walks.
type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = random(x)
	return x * 0x2545F4914F6CDD1D
}

// signed returns a number from -1 to 1.
func (r *random) signed() float32 { return float32(int32(r.next()>>32)) * (1. / (1 << 31)) }

// newRandom spreads small seeds over all bits (the finaliser of splitmix64), and is never 0.
func newRandom(seed uint64) random {
	seed += 0x9e3779b97f4a7c15
	seed = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
	seed = (seed ^ seed>>27) * 0x94d049bb133111eb
	return random(seed ^ seed>>31 | 1)
}

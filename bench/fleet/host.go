package fleet

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Host makes the rows of one simulated machine, the same for the same seed. It is not safe for concurrent use.
type Host struct {
	// Sum is of the rows made so far.
	Sum Sum

	id        uuid.UUID
	name      string
	interval  uint32
	random    random
	instances []*instance
	// checkMemory and checkCPU are the places of the columns that Sum adds, -1 where the rows lack them.
	checkMemory, checkCPU int
	time                  int64
	scratch               []byte
}

// Sum is what a stored set of host rows is held against.
type Sum struct {
	Rows int64
	// Times is the number of distinct times.
	Times int64
	// Memory adds memory_used_bytes, CPU the eighths of cpu_usage_percent. Both are exact.
	Memory, CPU int64
}

// NewHost makes the host with a number, from 0. Fleets of another seed are other machines with other ids.
func NewHost(shape *Shape, seed uint64, number int, intervalMillis uint32) *Host {
	h := &Host{name: fmt.Sprintf("bench-%05d", number), interval: intervalMillis, random: newRandom(seed<<32 + uint64(number))}
	binary.BigEndian.PutUint64(h.id[:8], seed)
	binary.BigEndian.PutUint64(h.id[8:], uint64(number)+1)
	h.id[6] = h.id[6]&0x0f | 0x80 // version 8: made by our own rule
	h.id[8] = h.id[8]&0x3f | 0x80
	h.instances = shape.instances(&h.random)
	column := func(name string) int {
		place := slices.IndexFunc(catalogue.Host().Metrics, func(m *catalogue.Metric) bool { return m.Column == name })
		if place >= shape.Columns() {
			return -1
		}
		return place
	}
	h.checkMemory, h.checkCPU = column("memory_used_bytes"), column("cpu_usage_percent")
	return h
}

// ID is the agent's UUID.
func (h *Host) ID() uuid.UUID { return h.id }

// Next makes the values of a tick. Times must grow.
func (h *Host) Next(timeMillis int64) {
	minute := int(timeMillis / 60_000 % (24 * 60))
	seconds := uint64(h.interval) / 1000
	if h.time != 0 {
		seconds = uint64(timeMillis-h.time) / 1000
	}
	h.time = timeMillis
	for _, one := range h.instances {
		one.next(&h.random, day[minute], seconds)
	}
	h.Sum.Rows++
	h.Sum.Times++
	if bits := h.instances[0].bits; h.checkMemory >= 0 {
		h.Sum.Memory += int64(bits[h.checkMemory])
	}
	if bits := h.instances[0].bits; h.checkCPU >= 0 {
		h.Sum.CPU += int64(math.Float32frombits(uint32(bits[h.checkCPU])) * 8)
	}
}

// Hello is the encoded first message of the host's streams.
func (h *Host) Hello(epoch uint64) []byte {
	hello := &gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: &gohubv1.Hello{
		AgentId: h.id.String(), Epoch: epoch, Facts: &gohubv1.HostFacts{
			Hostname: h.name, Os: "linux", Platform: "debian", PlatformVersion: "13.1", KernelVersion: "6.12.48+deb13-amd64", Arch: "amd64",
			CpuModel: "simulated", CpuCores: 8, MemoryBytes: 32 * gib, BootTimeUnixSeconds: 1_700_000_000, AgentVersion: "bench", IntervalMillis: h.interval,
		},
	}}}
	wire, err := proto.Marshal(hello)
	if err != nil {
		panic(err) // it is the same for every host
	}
	return wire
}

// The numbers of the contract's fields.
const (
	requestBatch                                    = 2
	batchAgentID, batchEpoch, batchSeq, batchSample = 1, 2, 3, 4
	sampleTime                                      = 1
)

// AppendBatch appends an encoded StreamRequest with one batch of the host's next ticks, one at each of the times.
func (h *Host) AppendBatch(dst []byte, epoch, seq uint64, timesMillis ...int64) []byte {
	body := h.scratch[:0]
	body = protowire.AppendTag(body, batchAgentID, protowire.BytesType)
	body = protowire.AppendString(body, h.id.String())
	body = protowire.AppendTag(body, batchEpoch, protowire.VarintType)
	body = protowire.AppendVarint(body, epoch)
	body = protowire.AppendTag(body, batchSeq, protowire.VarintType)
	body = protowire.AppendVarint(body, seq)
	for _, at := range timesMillis {
		h.Next(at)
		body = protowire.AppendTag(body, batchSample, protowire.BytesType)
		start := len(body)
		body = append(body, 0, 0) // room for the length
		body = protowire.AppendTag(body, sampleTime, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(at))
		for _, one := range h.instances {
			body = one.appendMessage(body)
		}
		body = setLength(body, start)
	}
	h.scratch = body
	dst = protowire.AppendTag(dst, requestBatch, protowire.BytesType)
	return protowire.AppendBytes(dst, body)
}

// setLength writes the length of what follows the two bytes of room at start. Most messages need just two.
func setLength(message []byte, start int) []byte {
	length := len(message) - start - 2
	switch need := protowire.SizeVarint(uint64(length)); need {
	case 1:
		message[start] = byte(length)
		return slices.Delete(message, start+1, start+2)
	case 2:
		message[start], message[start+1] = byte(length)|0x80, byte(length>>7)
		return message
	default:
		message = slices.Insert(message, start, make([]byte, need-2)...)
		protowire.AppendVarint(message[start:start], uint64(length))
		return message
	}
}

// appendMessage appends the instance as a field of Sample.
func (n *instance) appendMessage(dst []byte) []byte {
	dst = append(dst, n.tag...)
	start := len(dst)
	dst = append(dst, 0, 0)
	for i, label := range n.labels {
		dst = append(dst, n.labelTags[i]...)
		dst = protowire.AppendString(dst, label)
	}
	for i := range n.columns {
		c := &n.columns[i]
		dst = append(dst, c.tag...)
		if c.typ == catalogue.Float {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n.bits[i]))
		} else {
			dst = protowire.AppendVarint(dst, n.bits[i])
		}
	}
	return setLength(dst, start)
}

// AppendTuple makes the host's next tick and appends its host row as a tuple of PostgreSQL's binary COPY format, with the columns of
// Family.PackedColumns: all values are whole numbers as they are packed.
func (h *Host) AppendTuple(dst []byte, hostID int32, timeMillis, receivedMicros int64) []byte {
	h.Next(timeMillis)
	one := h.instances[0]
	dst = binary.BigEndian.AppendUint16(dst, one.tupleFields)
	dst = binary.BigEndian.AppendUint32(dst, 8)
	dst = binary.BigEndian.AppendUint64(dst, uint64(timeMillis*1000-storage.PostgresEpochMicros))
	dst = binary.BigEndian.AppendUint32(dst, 4)
	dst = binary.BigEndian.AppendUint32(dst, uint32(hostID))
	dst = binary.BigEndian.AppendUint32(dst, 8)
	dst = binary.BigEndian.AppendUint64(dst, uint64(receivedMicros-storage.PostgresEpochMicros))
	for i, metric := range one.family.Metrics {
		switch {
		case i >= len(one.columns):
			dst = binary.BigEndian.AppendUint32(dst, math.MaxUint32) // NULL
		case metric.Packing != catalogue.Unpacked:
			whole, ok := metric.Packing.Pack(one.bits[i])
			if !ok {
				panic(metric.Name + " is no whole number")
			}
			dst = binary.BigEndian.AppendUint32(dst, 4)
			dst = binary.BigEndian.AppendUint32(dst, uint32(whole))
		case metric.Type == catalogue.Uint64:
			dst = binary.BigEndian.AppendUint32(dst, 8)
			dst = binary.BigEndian.AppendUint64(dst, one.bits[i])
		default:
			dst = binary.BigEndian.AppendUint32(dst, 4)
			dst = binary.BigEndian.AppendUint32(dst, uint32(one.bits[i]))
		}
	}
	return dst
}

// AppendLine makes the host's next tick and appends its host row in InfluxDB's line protocol.
func (h *Host) AppendLine(dst []byte, timeMillis int64) []byte {
	h.Next(timeMillis)
	one := h.instances[0]
	dst = append(dst, "host,hostname="...)
	dst = append(dst, h.name...)
	for i, metric := range one.family.Metrics[:len(one.columns)] {
		separator := byte(',')
		if i == 0 {
			separator = ' '
		}
		dst = append(dst, separator)
		dst = append(dst, metric.Column...)
		dst = append(dst, '=')
		dst = appendNumber(dst, metric, one.bits[i])
	}
	return fmt.Appendf(dst, " %d000000\n", timeMillis)
}

func appendNumber(dst []byte, metric *catalogue.Metric, bits uint64) []byte {
	if metric.Type == catalogue.Float {
		return strconv.AppendFloat(dst, float64(math.Float32frombits(uint32(bits))), 'g', -1, 32)
	}
	return strconv.AppendUint(dst, bits, 10)
}

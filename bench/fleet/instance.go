package fleet

import (
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// plan is what all instances of a family have in common: how values come about, and how they are encoded.
type plan struct {
	family *catalogue.Family
	// tag is the family's tag in Sample; labelTags and the columns' tags are those in the family's message.
	tag       []byte
	labelTags [][]byte
	columns   []column
	// tupleFields is the number of the table's columns.
	tupleFields uint16
}

// column is one metric of a plan, ready for use: places instead of names, float32 instead of float64.
type column struct {
	kind                        kind
	typ                         catalogue.Type
	tag                         []byte
	low, span, step, own, daily float32
	quantum, perQuantum         float32
	of, by                      int
	lowestPower, powers         uint64
}

// newPlan prepares a family. The first metrics of it are filled, the others stay without a reading.
func newPlan(family *catalogue.Family, metrics int) *plan {
	sample := (*gohubv1.Sample)(nil).ProtoReflect().Descriptor().Fields()
	var message protoreflect.FieldDescriptor
	// The catalogue lists families in the order of Sample's message fields.
	place := slices.Index(catalogue.Families(), family)
	for i := range sample.Len() {
		if sample.Get(i).Message() == nil {
			continue
		}
		if place == 0 {
			message = sample.Get(i)
		}
		place--
	}
	fields := message.Message().Fields()
	p := &plan{family: family, tag: protowire.AppendTag(nil, message.Number(), protowire.BytesType), tupleFields: uint16(len(family.Columns()))}
	for _, label := range family.Labels {
		number := fields.ByName(protoreflect.Name(label.Name)).Number()
		p.labelTags = append(p.labelTags, protowire.AppendTag(nil, number, protowire.BytesType))
	}
	places := map[string]int{}
	for i, metric := range family.Metrics[:min(metrics, len(family.Metrics))] {
		places[metric.Column] = i
		s := specFor(metric)
		wireType := protowire.VarintType
		if metric.Type == catalogue.Float {
			wireType = protowire.Fixed32Type
		}
		c := column{
			kind: s.kind, typ: metric.Type, tag: protowire.AppendTag(nil, fields.ByName(protoreflect.Name(metric.Column)).Number(), wireType),
			low: float32(s.low), span: float32(s.high - s.low), step: float32(s.step), own: float32(1 - s.daily), daily: float32(s.daily),
			quantum: float32(s.quantum), of: places[s.of], by: places[s.by],
		}
		if s.quantum > 0 {
			c.perQuantum = float32(1 / s.quantum)
		}
		if s.kind == fixed {
			c.lowestPower = uint64(math.Log2(s.low))
			c.powers = uint64(math.Log2(s.high)) - c.lowestPower + 1
		}
		p.columns = append(p.columns, c)
	}
	return p
}

// instance is one row a tick: the host itself, a disk, an interface.
type instance struct {
	*plan
	labels []string
	// levels and bits have an element a column: where its walk is, between 0 and 1, and its value as it is stored.
	levels []float32
	bits   []uint64
}

func newInstance(p *plan, r *random, labels ...string) *instance {
	n := &instance{plan: p, labels: labels, levels: make([]float32, len(p.columns)), bits: make([]uint64, len(p.columns))}
	for i := range n.levels {
		n.levels[i] = (r.signed() + 1) / 2
		switch c := &p.columns[i]; c.kind {
		case fixed:
			n.bits[i] = 1 << (c.lowestPower + r.next()%c.powers)
		case uptime:
			n.bits[i] = r.next() % (200 * 24 * 3600)
		}
	}
	return n
}

// next makes the values of the next tick, hour being the day's shape at it and seconds the time since the last.
func (n *instance) next(r *random, hour float32, seconds uint64) {
	for i := range n.columns {
		c := &n.columns[i]
		switch c.kind {
		case fixed:
			continue
		case rest:
			n.bits[i] = n.bits[c.of] - n.bits[c.by]
			continue
		case percentOf:
			n.bits[i] = uint64(math.Float32bits(float32(int32(1600*float32(n.bits[c.by])/float32(n.bits[c.of]))) / 16)) // as agents tell shares
			continue
		case uptime:
			n.bits[i] += seconds
			continue
		}
		level := n.levels[i] + c.step*r.signed()
		if level < 0 {
			level = -level
		} else if level > 1 {
			level = 2 - level
		}
		n.levels[i] = level
		value := c.low + c.span*(c.own*level+c.daily*hour)
		switch c.kind {
		case count:
			n.bits[i] = uint64(value)
		case counter:
			n.bits[i] += uint64(value) * seconds
		case shareOf:
			n.bits[i] = uint64(float32(n.bits[c.of])*value) &^ (1<<20 - 1) // as agents tell sizes
		default:
			if c.quantum > 0 {
				value = float32(int32(value*c.perQuantum)) * c.quantum
			}
			n.bits[i] = uint64(math.Float32bits(value))
		}
	}
}

// instances makes the rows of one host's sample: the host's own first.
func (s *Shape) instances(r *random) []*instance {
	all := []*instance{newInstance(s.host, r)}
	for i := range s.cores {
		all = append(all, newInstance(s.core, r, fmt.Sprint(i)))
	}
	for i := range s.disks {
		all = append(all, newInstance(s.disk, r, "nvme"+fmt.Sprint(i)+"n1"))
	}
	for i := range s.networks {
		all = append(all, newInstance(s.network, r, "eth"+fmt.Sprint(i)))
	}
	return all
}

// Shape says what a sample holds. It is shared by all hosts of a fleet.
type Shape struct {
	host, core, disk, network *plan
	cores, disks, networks    int
}

// NewShape makes samples whose host row has the first columns metrics of the catalogue (0: all), and that have so many
// cores, disks and network interfaces.
func NewShape(columns, cores, disks, networks int) *Shape {
	if columns <= 0 {
		columns = len(catalogue.Host().Metrics)
	}
	find := func(name string) *plan {
		for _, family := range catalogue.Families() {
			if family.Name == name {
				return newPlan(family, len(family.Metrics))
			}
		}
		panic("the catalogue has no family " + name) // it is compiled in
	}
	return &Shape{
		host: newPlan(catalogue.Host(), columns), core: find("core"), disk: find("disk"), network: find("network"),
		cores: cores, disks: disks, networks: networks,
	}
}

// Columns is how many values a host row has.
func (s *Shape) Columns() int { return len(s.host.columns) }

// RowsPerSample is how many rows one sample stores in all tables.
func (s *Shape) RowsPerSample() int { return 1 + s.cores + s.disks + s.networks }

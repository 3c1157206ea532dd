// Package catalogue is the list of everything that GoHub measures, read from the field options of the contract
// (proto/gohub/v1/metrics.proto). Column lists, COPY encoders, query whitelists, Prometheus names and the
// documentation are derived from it, so that a metric is described in one place only.
package catalogue

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/gohub-io/gohub/proto/custom"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Type is the machine type of a metric's value; storage picks the column's type by it.
type Type int

// The types that a metric field may have.
const (
	Float  Type = iota // IEEE 754 single: seven digits are enough for a rate or a share
	Uint32             // a small count
	Uint64             // bytes and other large counts
	Double             // IEEE 754 double: what programs tell, of which nothing is known
)

// Metric is one field of a family.
type Metric struct {
	// Name is the metric's name in the API: the family's prefix and the column's name.
	Name string
	// Column is the name of the field, and of the column in the family's table.
	Column string
	Family *Family
	Type   Type
	Unit   gohubv1.Unit
	Kind   gohubv1.Kind
	// Packing is how a database that compresses keeps the values.
	Packing Packing
	// Help is one sentence for people.
	Help string
	// PrometheusName follows Prometheus' conventions (base units, ratios for percents). Empty for ephemeral families, and for custom
	// metrics, which have names of their own.
	PrometheusName string
	// PrometheusScale turns a stored value into the exported one.
	PrometheusScale float64

	// Index is the metric's place in Family.Metrics.
	Index int
	// Number is that of the field in the family's message.
	Number protowire.Number
}

// Label is one of the fields that tell a family's instances on one host apart.
type Label struct {
	Name string
	Help string
	// Number is that of the field in the family's message.
	Number protowire.Number
	// Check reports why a text is no such label; nil takes any. It does not see whether the text is UTF-8 or too long.
	Check func(text string) error
}

// checks are what the contract's forms of labels stand for.
var checks = map[gohubv1.LabelForm]func(string) error{
	gohubv1.LabelForm_LABEL_FORM_CUSTOM_NAME:   custom.CheckName,
	gohubv1.LabelForm_LABEL_FORM_CUSTOM_LABELS: custom.CheckLabels,
}

// Family is one message type of the contract and one table: a row a tick and instance.
type Family struct {
	// Name is the family's name in the API, as "filesystem".
	Name string
	// Table holds the raw samples.
	Table string
	Help  string
	// Ephemeral families have instances that come and go; they are not exported to Prometheus.
	Ephemeral bool
	Labels    []Label
	Metrics   []*Metric
	// Number is that of the field in Sample.
	Number protowire.Number

	// index is the family's place in Families.
	index int
	// single families are one message of a sample, the others a list.
	single bool
	// checked tells that some label has a Check, packs that some metric has a Packing.
	checked, packs bool
	// byNumber says what the family's message has under a field number.
	byNumber []field
}

var (
	families []*Family
	byFamily = map[string]*Family{}
	byMetric = map[string]*Metric{}
	// familyByNumber finds a family by the number of its field in Sample.
	familyByNumber []*Family
	// sampleTime is the number of the field with the sample's time.
	sampleTime protowire.Number
)

// The contract is compiled in, so a mistake in it is a programming error: it panics at start, and in every test.
func init() {
	fields := (*gohubv1.Sample)(nil).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil {
			sampleTime = field.Number()
			continue
		}
		family, err := newFamily(field)
		if err != nil {
			panic(fmt.Sprintf("metric catalogue: %v", err))
		}
		family.index = len(families)
		familyByNumber = put(familyByNumber, field.Number(), family)
		families = append(families, family)
		byFamily[family.Name] = family
		for _, metric := range family.Metrics {
			if other, taken := byMetric[metric.Name]; taken {
				panic(fmt.Sprintf("metric catalogue: %s is in the families %s and %s", metric.Name, other.Family.Name, family.Name))
			}
			byMetric[metric.Name] = metric
		}
	}
}

func newFamily(sample protoreflect.FieldDescriptor) (*Family, error) {
	message := sample.Message()
	options, ok := proto.GetExtension(message.Options().(*descriptorpb.MessageOptions), gohubv1.E_Family).(*gohubv1.FamilyOptions)
	if !ok || options.GetName() == "" || options.GetTable() == "" {
		return nil, fmt.Errorf("message %s has no (family) option with a name and a table", message.Name())
	}
	family := &Family{
		Name:      options.GetName(),
		Table:     options.GetTable(),
		Help:      options.GetHelp(),
		Ephemeral: options.GetEphemeral(),
		Number:    sample.Number(),
		single:    !sample.IsList(),
	}
	for i := range message.Fields().Len() {
		descriptor := message.Fields().Get(i)
		fieldOptions := descriptor.Options().(*descriptorpb.FieldOptions)
		switch {
		case proto.HasExtension(fieldOptions, gohubv1.E_Label):
			label := proto.GetExtension(fieldOptions, gohubv1.E_Label).(*gohubv1.LabelOptions)
			if descriptor.Kind() != protoreflect.StringKind {
				return nil, fmt.Errorf("label %s is not a string", descriptor.FullName())
			}
			family.byNumber = put(family.byNumber, descriptor.Number(), field{known: true, wireType: protowire.BytesType, label: true, index: len(family.Labels), check: checks[label.GetForm()]})
			family.Labels = append(family.Labels, Label{Name: string(descriptor.Name()), Help: label.GetHelp(), Number: descriptor.Number(), Check: checks[label.GetForm()]})
			family.checked = family.checked || checks[label.GetForm()] != nil
		case proto.HasExtension(fieldOptions, gohubv1.E_Metric):
			metric, err := newMetric(family, descriptor, proto.GetExtension(fieldOptions, gohubv1.E_Metric).(*gohubv1.MetricOptions))
			if err != nil {
				return nil, err
			}
			metric.Index = len(family.Metrics)
			place := field{known: true, wireType: protowire.VarintType, index: metric.Index, mask: math.MaxUint64, unfit: 1 << 63}
			switch metric.Type {
			case Float:
				place.wireType, place.unfit = protowire.Fixed32Type, 0x7f800000 // the exponent
			case Double:
				place.wireType, place.unfit = protowire.Fixed64Type, 0x7ff0000000000000 // the exponent
			case Uint32:
				place.mask, place.unfit = math.MaxUint32, 1<<31
			}
			family.byNumber = put(family.byNumber, descriptor.Number(), place)
			family.Metrics = append(family.Metrics, metric)
			family.packs = family.packs || metric.Packing != Unpacked
		default:
			return nil, fmt.Errorf("field %s is neither a (metric) nor a (label)", descriptor.FullName())
		}
	}
	return family, nil
}

func newMetric(family *Family, field protoreflect.FieldDescriptor, options *gohubv1.MetricOptions) (*Metric, error) {
	metric := &Metric{
		Name:            string(field.Name()),
		Column:          string(field.Name()),
		Family:          family,
		Unit:            options.GetUnit(),
		Kind:            options.GetKind(),
		Help:            options.GetHelp(),
		PrometheusScale: 1,
		Number:          field.Number(),
	}
	switch field.Kind() {
	case protoreflect.FloatKind:
		metric.Type = Float
	case protoreflect.DoubleKind:
		metric.Type = Double
	case protoreflect.Uint32Kind:
		metric.Type = Uint32
	case protoreflect.Uint64Kind:
		metric.Type = Uint64
	default:
		return nil, fmt.Errorf("metric %s has type %s; allowed are float, double, uint32 and uint64", field.FullName(), field.Kind())
	}
	var err error
	if metric.Packing, err = newPacking(options.GetPacking(), metric.Type); err != nil {
		return nil, fmt.Errorf("metric %s: %w", field.FullName(), err)
	}
	if !field.HasPresence() {
		return nil, fmt.Errorf("metric %s is not optional, so a missing reading could not be told from 0", field.FullName())
	}
	if metric.Unit == gohubv1.Unit_UNIT_UNSPECIFIED || metric.Kind == gohubv1.Kind_KIND_UNSPECIFIED || metric.Help == "" {
		return nil, fmt.Errorf("metric %s lacks its unit, kind or help", field.FullName())
	}
	if len(family.Labels) > 0 {
		metric.Name = family.Name + "_" + metric.Column
	}
	if !family.Ephemeral && !family.checked {
		metric.PrometheusName = "gohub_" + metric.Name
		if metric.Unit == gohubv1.Unit_UNIT_PERCENT {
			metric.PrometheusName = strings.TrimSuffix(metric.PrometheusName, "_percent") + "_ratio"
			metric.PrometheusScale = 0.01
		}
	}
	return metric, nil
}

// put sets the value at a field number, making room for it.
func put[T any](values []T, number protowire.Number, value T) []T {
	for len(values) <= int(number) {
		var none T
		values = append(values, none)
	}
	values[number] = value
	return values
}

// Single reports whether a sample has one row of the family, not a list.
func (f *Family) Single() bool { return f.single }

// Families returns all families in the order of the contract, the host family first. The caller must not change it.
func Families() []*Family { return families }

// FamilyByName finds a family.
func FamilyByName(name string) (*Family, bool) {
	family, ok := byFamily[name]
	return family, ok
}

// MetricByName finds a metric by its name in the API.
func MetricByName(name string) (*Metric, bool) {
	metric, ok := byMetric[name]
	return metric, ok
}

// SampleTime is the number of the field of Sample that has its time.
func SampleTime() protowire.Number { return sampleTime }

// Place is the family's place in Families.
func (f *Family) Place() int { return f.index }

// Host is the family of the machine as a whole.
func Host() *Family { return families[0] }

// Custom is the family of what programs tell the agent. Its first label is the metric's name, its second the series' labels as
// package custom writes them.
func Custom() *Family { return byFamily["custom"] }

// Columns returns the columns of the family's table as rows are written to it: the time, the host, for the host family
// when the server received the sample, the labels, and the metrics.
func (f *Family) Columns() []string {
	columns := []string{"time", "host_id"}
	if len(f.Labels) == 0 {
		columns = append(columns, "received_at")
	}
	for _, label := range f.Labels {
		columns = append(columns, label.Name)
	}
	for _, metric := range f.Metrics {
		columns = append(columns, metric.Column)
	}
	return columns
}

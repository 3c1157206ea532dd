// Package catalogue is the list of everything that GoHub measures, read from the field options of the contract
// (proto/gohub/v1/metrics.proto). Column lists, COPY encoders, query whitelists, Prometheus names and the
// documentation are derived from it, so that a metric is described in one place only.
package catalogue

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Type is the machine type of a metric's value; storage picks the column's type by it.
type Type int

// The types that a metric field may have.
const (
	Float  Type = iota // IEEE 754 single: seven digits are enough for a rate or a share
	Uint32             // a small count
	Uint64             // bytes and other large counts
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
	// Help is one sentence for people.
	Help string
	// PrometheusName follows Prometheus' conventions (base units, ratios for percents). Empty for ephemeral families.
	PrometheusName string
	// PrometheusScale turns a stored value into the exported one.
	PrometheusScale float64

	// Index is the metric's place in Family.Metrics.
	Index int
	field protoreflect.FieldDescriptor
}

// Label is one of the fields that tell a family's instances on one host apart.
type Label struct {
	Name  string
	Help  string
	field protoreflect.FieldDescriptor
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

	// sample is the field of Sample that holds the family's messages.
	sample protoreflect.FieldDescriptor
}

var (
	families []*Family
	byFamily = map[string]*Family{}
	byMetric = map[string]*Metric{}
)

// The contract is compiled in, so a mistake in it is a programming error: it panics at start, and in every test.
func init() {
	fields := (*gohubv1.Sample)(nil).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil {
			continue
		}
		family, err := newFamily(field)
		if err != nil {
			panic(fmt.Sprintf("metric catalogue: %v", err))
		}
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
		sample:    sample,
	}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		fieldOptions := field.Options().(*descriptorpb.FieldOptions)
		switch {
		case proto.HasExtension(fieldOptions, gohubv1.E_Label):
			label := proto.GetExtension(fieldOptions, gohubv1.E_Label).(*gohubv1.LabelOptions)
			if field.Kind() != protoreflect.StringKind {
				return nil, fmt.Errorf("label %s is not a string", field.FullName())
			}
			family.Labels = append(family.Labels, Label{Name: string(field.Name()), Help: label.GetHelp(), field: field})
		case proto.HasExtension(fieldOptions, gohubv1.E_Metric):
			metric, err := newMetric(family, field, proto.GetExtension(fieldOptions, gohubv1.E_Metric).(*gohubv1.MetricOptions))
			if err != nil {
				return nil, err
			}
			metric.Index = len(family.Metrics)
			family.Metrics = append(family.Metrics, metric)
		default:
			return nil, fmt.Errorf("field %s is neither a (metric) nor a (label)", field.FullName())
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
		field:           field,
	}
	switch field.Kind() {
	case protoreflect.FloatKind:
		metric.Type = Float
	case protoreflect.Uint32Kind:
		metric.Type = Uint32
	case protoreflect.Uint64Kind:
		metric.Type = Uint64
	default:
		return nil, fmt.Errorf("metric %s has type %s; allowed are float, uint32 and uint64", field.FullName(), field.Kind())
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
	if !family.Ephemeral {
		metric.PrometheusName = "gohub_" + metric.Name
		if metric.Unit == gohubv1.Unit_UNIT_PERCENT {
			metric.PrometheusName = strings.TrimSuffix(metric.PrometheusName, "_percent") + "_ratio"
			metric.PrometheusScale = 0.01
		}
	}
	return metric, nil
}

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

// Host is the family of the machine as a whole.
func Host() *Family { return families[0] }

// Row is one message of a family: one instance at one tick.
type Row struct {
	family  *Family
	message protoreflect.Message
}

// Rows calls yield for every instance of the family in the sample, until yield returns false.
func (f *Family) Rows(sample *gohubv1.Sample, yield func(Row) bool) {
	message := sample.ProtoReflect()
	if !message.Has(f.sample) {
		return
	}
	if !f.sample.IsList() {
		yield(Row{f, message.Get(f.sample).Message()})
		return
	}
	list := message.Get(f.sample).List()
	for i := range list.Len() {
		if !yield(Row{f, list.Get(i).Message()}) {
			return
		}
	}
}

// Count returns how many instances of the family the sample has.
func (f *Family) Count(sample *gohubv1.Sample) int {
	message := sample.ProtoReflect()
	switch {
	case !message.Has(f.sample):
		return 0
	case f.sample.IsList():
		return message.Get(f.sample).List().Len()
	default:
		return 1
	}
}

// Label returns the text of the family's i-th label.
func (r Row) Label(i int) string { return r.message.Get(r.family.Labels[i].field).String() }

// Float returns the value of a metric as a float64 and whether there was a reading.
func (r Row) Float(m *Metric) (float64, bool) {
	if !r.message.Has(m.field) {
		return 0, false
	}
	value := r.message.Get(m.field)
	if m.Type == Float {
		return value.Float(), true
	}
	return float64(value.Uint()), true
}

// Uint returns the value of a metric of type Uint32 or Uint64 and whether there was a reading.
func (r Row) Uint(m *Metric) (uint64, bool) {
	if !r.message.Has(m.field) {
		return 0, false
	}
	return r.message.Get(m.field).Uint(), true
}

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

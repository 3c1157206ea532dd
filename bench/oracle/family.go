package oracle

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Part is where a piece of a sample is stored: the table of a metric family, by the family's place in the contract, or
// Quarantine.
type Part int

// Quarantine is where a sample that is unfit to be stored ends, whole. One that is fit is in its families' tables alone.
const Quarantine Part = -1

// String implements fmt.Stringer.
func (p Part) String() string {
	if p < 0 || int(p) >= len(families) {
		return "quarantine"
	}
	return families[p].name
}

// Family is what a part's table holds, besides the host and the time of each row.
type Family struct {
	Table string
	// Labels and Columns are the names of columns: of text, and of numbers.
	Labels  []string
	Columns []Column
}

// Column is a metric's. The numbers of one that is not Float are whole.
type Column struct {
	Name  string
	Float bool
}

// Value is what a column of a row holds: a number, of which Whole is set or Float as the column has it, or none.
type Value struct {
	Known bool
	Whole int64
	Float float64
}

// family is a Family with its fields in the contract.
type family struct {
	Family
	name   string
	field  protoreflect.FieldDescriptor // of the sample
	labels []protoreflect.FieldDescriptor
	// metrics are in the order of Columns. The first names the tick, and is always known.
	metrics []protoreflect.FieldDescriptor
	// first is the bit of the family's first instance among those of a sample, most how many instances it has at most.
	first, most int
}

// The most instances that a sample has of a family: enough that they could be taken for each other.
const mostInstances = 3

// families are those of the contract, so that what is new in it is checked too.
var families = func() (all []*family) {
	bit := 0
	fields := (&gohubv1.Sample{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil || !proto.HasExtension(field.Message().Options(), gohubv1.E_Family) {
			continue
		}
		options := proto.GetExtension(field.Message().Options(), gohubv1.E_Family).(*gohubv1.FamilyOptions)
		one := &family{name: options.GetName(), field: field, first: bit, most: 1}
		if field.IsList() {
			one.most = mostInstances
		}
		one.Table = options.GetTable()
		one.addFields(field.Message().Fields())
		bit += one.most
		all = append(all, one)
	}
	return all
}()

func (f *family) addFields(fields protoreflect.FieldDescriptors) {
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case proto.HasExtension(field.Options(), gohubv1.E_Label):
			f.labels = append(f.labels, field)
			f.Labels = append(f.Labels, string(field.Name()))
		case proto.HasExtension(field.Options(), gohubv1.E_Metric):
			f.metrics = append(f.metrics, field)
		}
	}
	// A whole number holds any tick, a float up to a million of them: hours of chaos.
	if whole := slices.IndexFunc(f.metrics, func(m protoreflect.FieldDescriptor) bool { return m.Kind() == protoreflect.Uint64Kind }); whole > 0 {
		f.metrics[0], f.metrics[whole] = f.metrics[whole], f.metrics[0]
	}
	for _, metric := range f.metrics {
		f.Columns = append(f.Columns, Column{Name: string(metric.Name()), Float: isFloat(metric)})
	}
}

// Families are the parts that are tables, in the order of their numbers.
func Families() []Family {
	var all []Family
	for _, one := range families {
		all = append(all, one.Family)
	}
	return all
}

func isFloat(metric protoreflect.FieldDescriptor) bool {
	return metric.Kind() == protoreflect.FloatKind || metric.Kind() == protoreflect.DoubleKind
}

// label is what tells an instance of a family apart, by the number of its label. It has the form that the contract wants.
func (f *family) label(label, instance int) string {
	switch proto.GetExtension(f.labels[label].Options(), gohubv1.E_Label).(*gohubv1.LabelOptions).GetForm() {
	case gohubv1.LabelForm_LABEL_FORM_CUSTOM_NAME:
		return fmt.Sprintf("%s_%d", f.Labels[label], instance)
	case gohubv1.LabelForm_LABEL_FORM_CUSTOM_LABELS:
		return fmt.Sprintf(`{instance="%d"}`, instance)
	}
	return fmt.Sprintf("%s %d", f.Labels[label], instance)
}

// instance is the number of the one that has these labels, -1 if there is none.
func (f *family) instance(labels []string) int {
	return slices.IndexFunc(instances[:f.most], func(instance int) bool {
		if len(labels) != len(f.Labels) {
			return false
		}
		for i := range labels {
			if labels[i] != f.label(i, instance) {
				return false
			}
		}
		return true
	})
}

var instances = [mostInstances]int{0, 1, 2}

// fill sets a message of the family to what an instance's row holds.
func (f *family) fill(message protoreflect.Message, instance int, values []Value) {
	for i, label := range f.labels {
		message.Set(label, protoreflect.ValueOfString(f.label(i, instance)))
	}
	for i, metric := range f.metrics {
		switch value := values[i]; {
		case !value.Known:
		case metric.Kind() == protoreflect.FloatKind:
			message.Set(metric, protoreflect.ValueOfFloat32(float32(value.Float)))
		case metric.Kind() == protoreflect.DoubleKind:
			message.Set(metric, protoreflect.ValueOfFloat64(value.Float))
		case metric.Kind() == protoreflect.Uint32Kind:
			message.Set(metric, protoreflect.ValueOfUint32(uint32(value.Whole)))
		default:
			message.Set(metric, protoreflect.ValueOfUint64(uint64(value.Whole)))
		}
	}
}

// row reads a message of the family.
func (f *family) row(message protoreflect.Message) (labels []string, values []Value) {
	for _, label := range f.labels {
		labels = append(labels, message.Get(label).String())
	}
	for _, metric := range f.metrics {
		var value Value
		if value.Known = message.Has(metric); value.Known && isFloat(metric) {
			value.Float = message.Get(metric).Float()
		} else if value.Known {
			value.Whole = int64(message.Get(metric).Uint())
		}
		values = append(values, value)
	}
	return labels, values
}

// RowsOf are the rows that a sample becomes where it is stored.
func RowsOf(agentID string, sample *gohubv1.Sample) []Row {
	var rows []Row
	for part, one := range families {
		add := func(message protoreflect.Message) {
			labels, values := one.row(message)
			rows = append(rows, Row{AgentID: agentID, Part: Part(part), Time: sample.GetTimeUnixMillis(), Labels: labels, Values: values})
		}
		reflected := sample.ProtoReflect()
		switch {
		case !reflected.Has(one.field):
		case one.field.IsList():
			for i := range reflected.Get(one.field).List().Len() {
				add(reflected.Get(one.field).List().Get(i).Message())
			}
		default:
			add(reflected.Get(one.field).Message())
		}
	}
	return rows
}

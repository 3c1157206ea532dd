package storagetest

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Fill gives the sample one instance of every family with a value of its own for every metric, and returns the values
// by the metrics' names. Labels are those of LabelText.
func Fill(sample *gohubv1.Sample) map[string]float64 {
	values := map[string]float64{}
	message := sample.ProtoReflect()
	fields := message.Descriptor().Fields()
	var next, families int
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil {
			continue
		}
		var instance protoreflect.Message
		if field.IsList() {
			instance = message.Mutable(field).List().AppendMutable().Message()
		} else {
			instance = message.Mutable(field).Message()
		}
		// The catalogue's families are in the order of the sample's fields.
		family := catalogue.Families()[families]
		families++
		for _, label := range family.Labels {
			instance.Set(instance.Descriptor().Fields().ByName(protoreflect.Name(label.Name)), protoreflect.ValueOfString(LabelText(label)))
		}
		for _, metric := range family.Metrics {
			next++
			var value protoreflect.Value
			switch metric.Type {
			case catalogue.Float:
				value = protoreflect.ValueOfFloat32(float32(next) + 0.5)
				values[metric.Name] = float64(next) + 0.5
			case catalogue.Uint32:
				value = protoreflect.ValueOfUint32(uint32(next))
				values[metric.Name] = float64(next)
			case catalogue.Uint64:
				value = protoreflect.ValueOfUint64(uint64(next) << 40)
				values[metric.Name] = float64(uint64(next) << 40)
			case catalogue.Double:
				value = protoreflect.ValueOfFloat64(-1.1 * float64(next))
				values[metric.Name] = -1.1 * float64(next)
			}
			instance.Set(instance.Descriptor().Fields().ByName(protoreflect.Name(metric.Column)), value)
		}
	}
	return values
}

// LabelText is "label of " and the label's name, or the like where its text must have a form.
func LabelText(label catalogue.Label) string {
	for _, text := range []string{"label of " + label.Name, "label_of_" + label.Name, `{label="of ` + label.Name + `"}`} {
		if label.Check == nil || label.Check(text) == nil {
			return text
		}
	}
	panic("no text is a label " + label.Name)
}

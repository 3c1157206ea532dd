package storagetest

import (
	"math"
	"math/rand/v2"

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

// Mixed is a random sample: of each value it has none, a whole number as it is packed, another one, or one that does not fit.
func Mixed(random *rand.Rand) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: 1779019200000 + random.Int64N(1_000_000)}
	Fill(sample)
	exact := random.IntN(2) == 0
	message, families := sample.ProtoReflect(), catalogue.Families()
	for i := range message.Descriptor().Fields().Len() {
		field := message.Descriptor().Fields().Get(i)
		if field.Message() == nil {
			continue
		}
		family := families[0]
		families = families[1:]
		var instance protoreflect.Message
		if field.IsList() {
			instance = message.Mutable(field).List().Get(0).Message()
		} else {
			instance = message.Mutable(field).Message()
		}
		for _, metric := range family.Metrics {
			to := instance.Descriptor().Fields().ByName(protoreflect.Name(metric.Column))
			kind := random.IntN(4)
			if exact {
				kind = random.IntN(2)
			}
			switch {
			case kind == 0:
				instance.Clear(to)
			case metric.Type == catalogue.Float:
				value := []float32{0, float32(random.IntN(1<<20)-1<<19) / 16, random.Float32() * 100, (random.Float32() - 0.5) * math.MaxFloat32}[kind]
				instance.Set(to, protoreflect.ValueOfFloat32(value))
			case metric.Type == catalogue.Uint64:
				value := []uint64{0, uint64(random.IntN(1<<20)) << []int{10, 20}[random.IntN(2)], random.Uint64N(1 << 40), random.Uint64N(math.MaxInt64)}[kind]
				instance.Set(to, protoreflect.ValueOfUint64(value))
			}
		}
	}
	return sample
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

package agent

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// omitUnfit leaves out what databases can not keep, whose integers have a sign and whose averages need finite numbers: a counter that
// ran below 0 in a driver, the size of a filesystem that has none. It is a missing reading then, and the rest of the sample is
// stored.
func omitUnfit(message protoreflect.Message) {
	fields := message.Descriptor().Fields()
	for i := range fields.Len() { // Range would take a closure a message
		field := fields.Get(i)
		if field.Kind() == protoreflect.StringKind || !message.Has(field) {
			continue
		}
		switch value := message.Get(field); {
		case field.IsList():
			list := value.List()
			for j := range list.Len() {
				omitUnfit(list.Get(j).Message())
			}
		case field.Kind() == protoreflect.MessageKind:
			omitUnfit(value.Message())
		case !fits(field.Kind(), value):
			message.Clear(field)
		}
	}
}

func fits(kind protoreflect.Kind, value protoreflect.Value) bool {
	switch kind {
	case protoreflect.Uint64Kind:
		return value.Uint() <= math.MaxInt64
	case protoreflect.Uint32Kind:
		return value.Uint() <= math.MaxInt32
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return !math.IsNaN(value.Float()) && !math.IsInf(value.Float(), 0)
	default:
		return true
	}
}

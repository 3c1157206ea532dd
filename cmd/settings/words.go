package settings

import (
	"errors"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// InWords returns the message of a YAML decoder's error without the names of Go's types, which mean nothing to whoever
// wrote the file. unknownKey ends what is said of a key that is none.
func InWords(err error, unknownKey string) string {
	var several *yaml.TypeError
	if !errors.As(err, &several) {
		return err.Error()
	}
	messages := make([]string, len(several.Errors))
	for i, message := range several.Errors {
		message = unknownField.ReplaceAllString(message, "field $1 "+strings.ReplaceAll(unknownKey, "$", "$$"))
		messages[i] = wrongType.ReplaceAllStringFunc(message, func(found string) string {
			part := wrongType.FindStringSubmatch(found)
			return whatIs(part[1], part[2]) + " is no " + nameOf(part[3])
		})
	}
	return strings.Join(messages, "; ")
}

var (
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
	// The tag, the value in backquotes where it is one line's, and Go's type.
	wrongType = regexp.MustCompile("cannot unmarshal (!!?\\w*)(?: `(.*)`)? into (\\S+)$")
)

// whatIs tells of a value, or of its kind where it is not on one line.
func whatIs(tag, value string) string {
	switch tag {
	case "!!map":
		return "what has keys of its own"
	case "!!seq":
		return "a list"
	default:
		return `"` + value + `"`
	}
}

// TypeName names a setting's type to a person.
func TypeName(t reflect.Type) string { return nameOf(t.String()) }

func nameOf(goType string) string {
	goType = strings.TrimPrefix(goType, "*")
	switch {
	case goType == "time.Duration":
		return `duration such as "10s"`
	case goType == "bool":
		return "truth value: true or false"
	case strings.HasPrefix(goType, "int") || strings.HasPrefix(goType, "uint"):
		return "whole number"
	case strings.HasPrefix(goType, "float"):
		return "number"
	case goType == "string":
		return "text"
	case strings.HasPrefix(goType, "[]"):
		return "list"
	case strings.HasPrefix(goType, "map[") || strings.HasSuffix(goType, "onfig"):
		return "group of keys"
	default:
		return "value that is allowed here"
	}
}

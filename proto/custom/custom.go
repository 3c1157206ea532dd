// Package custom holds what the names and labels of custom metrics may be, and the one text that each set of labels has. The
// agent writes it, ingest holds what comes against it, and queries and the exposition read it.
package custom

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a series: above what programs tell of themselves, and far below what would fill a server.
const (
	MaxNameBytes      = 200
	MaxLabels         = 32
	MaxLabelNameBytes = 64
	// MaxLabelsBytes bounds the text of all labels. It is what the contract allows of any label.
	MaxLabelsBytes = 1024
)

// Label is one of a series' labels.
type Label struct{ Name, Value string }

// CheckName reports what is wrong with the name of a metric.
func CheckName(name string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("the name %q is %d bytes long, the limit is %d", clip(name), len(name), MaxNameBytes)
	}
	if !isName(name, true) {
		return fmt.Errorf("the name %q is not made of letters, digits, _ and :, with no digit first", clip(name))
	}
	return nil
}

// CheckLabelName reports what is wrong with the name of a label.
func CheckLabelName(name string) error {
	if len(name) > MaxLabelNameBytes {
		return fmt.Errorf("the label's name %q is %d bytes long, the limit is %d", clip(name), len(name), MaxLabelNameBytes)
	}
	if !isName(name, false) {
		return fmt.Errorf("the label's name %q is not made of letters, digits and _, with no digit first", clip(name))
	}
	if strings.HasPrefix(name, "__") {
		return fmt.Errorf("the label's name %q begins with __, which Prometheus keeps for itself", clip(name))
	}
	return nil
}

func isName(name string, colons bool) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':' && colons, '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}

// Format makes the text of labels, which it sorts. A label with an empty value is the same as none, and left out.
func Format(labels []Label) (string, error) {
	slices.SortFunc(labels, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
	var text []byte
	count := 0
	for i, label := range labels {
		switch err := CheckLabelName(label.Name); {
		case err != nil:
			return "", err
		case i > 0 && labels[i-1].Name == label.Name:
			return "", fmt.Errorf("the label %s is given twice", label.Name)
		case !utf8.ValidString(label.Value):
			return "", fmt.Errorf("the label %s is not UTF-8", label.Name)
		case strings.IndexByte(label.Value, 0) >= 0:
			return "", fmt.Errorf("the label %s contains a NUL byte", label.Name)
		case label.Value == "":
			continue
		}
		if count++; count > MaxLabels {
			return "", fmt.Errorf("there are over %d labels, the limit", MaxLabels)
		}
		separator := byte(',')
		if count == 1 {
			separator = '{'
		}
		text = append(append(append(text, separator), label.Name...), `="`...)
		for i := range len(label.Value) {
			switch c := label.Value[i]; c {
			case '\\', '"':
				text = append(text, '\\', c)
			case '\n':
				text = append(text, '\\', 'n')
			default:
				text = append(text, c)
			}
		}
		text = append(text, '"')
	}
	if count > 0 {
		text = append(text, '}')
	}
	if len(text) > MaxLabelsBytes {
		return "", fmt.Errorf("the labels have %d bytes, the limit is %d", len(text), MaxLabelsBytes)
	}
	return string(text), nil
}

var (
	errForm  = errors.New(`the labels are not written as {name="value",other="value"}`)
	errOrder = errors.New("the labels are not in the order of their names, each once")
	errEmpty = errors.New("a label is empty, and should have been left out")
	errMany  = fmt.Errorf("there are over %d labels, the limit", MaxLabels)
	errLong  = fmt.Errorf("the labels have over %d bytes, the limit", MaxLabelsBytes)
)

// CheckLabels reports why a text is none that Format makes.
func CheckLabels(text string) error { return each(text, func(_, _ string) {}) }

// Parse reads a text that Format has made.
func Parse(text string) ([]Label, error) {
	var labels []Label
	err := each(text, func(name, value string) { labels = append(labels, Label{name, unescape(value)}) })
	if err != nil {
		return nil, err
	}
	return labels, nil
}

// each calls with the labels of a text, the values as they are written.
func each(text string, see func(name, value string)) error {
	if text == "" {
		return nil
	}
	if len(text) > MaxLabelsBytes {
		return errLong
	}
	if text[0] != '{' || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return errForm
	}
	rest, last := text[1:], ""
	for count := 1; ; count++ {
		name, after, found := strings.Cut(rest, `="`)
		if !found {
			return errForm
		}
		if err := CheckLabelName(name); err != nil {
			return err
		}
		end := 0
		for ; end < len(after) && after[end] != '"'; end++ {
			switch after[end] {
			case '\n':
				return errForm
			case '\\':
				if end++; end == len(after) || strings.IndexByte(`"\n`, after[end]) < 0 {
					return errForm
				}
			}
		}
		switch {
		case end+1 >= len(after): // no quote, or nothing behind it
			return errForm
		case end == 0:
			return errEmpty
		case name <= last:
			return errOrder
		case count > MaxLabels:
			return errMany
		}
		see(name, after[:end])
		last = name
		switch rest = after[end+1:]; {
		case rest == "}":
			return nil
		case rest[0] != ',':
			return errForm
		}
		rest = rest[1:]
	}
}

func unescape(value string) string {
	if strings.IndexByte(value, '\\') < 0 {
		return value
	}
	var plain strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\\' {
			i++
			if c = value[i]; c == 'n' {
				c = '\n'
			}
		}
		plain.WriteByte(c)
	}
	return plain.String()
}

// clip shortens a text from outside for an error message.
func clip(text string) string {
	if len(text) > 64 {
		return text[:64] + "…"
	}
	return text
}

// ownPrefixes begin the names of what the agent tells of custom metrics itself. Programs may not use names that begin with
// Reserved, among which they are.
var ownPrefixes = []string{"gohub_textfile_", "gohub_custom_"}

// Reserved begins names that no program may use.
const Reserved = "gohub_"

// Own tells whether a name is one that the agent itself uses.
func Own(name string) bool {
	for _, prefix := range ownPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

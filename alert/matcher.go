package alert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Matcher picks texts: those equal to one, those that a regular expression matches whole, or all but those. In YAML:
//
//	mountpoint: /                        # equal
//	mountpoint: {not: /boot}             # anything else
//	fstype: {regexp: ext[34]|xfs}        # RE2, matching the whole text
//	fstype: {not_regexp: squashfs|iso.*}
//
// The zero Matcher picks the empty text only.
type Matcher struct {
	// Pattern is the text or the regular expression.
	Pattern string
	Regexp  bool
	Not     bool
}

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 1000

// UnmarshalYAML reads one of the four forms.
func (m *Matcher) UnmarshalYAML(node *yaml.Node) error {
	pattern := node
	switch {
	case node.Kind == yaml.ScalarNode:
		*m = Matcher{}
	case node.Kind == yaml.MappingNode && len(node.Content) == 2:
		pattern = node.Content[1]
		switch key := node.Content[0].Value; key {
		case "not":
			*m = Matcher{Not: true}
		case "regexp":
			*m = Matcher{Regexp: true}
		case "not_regexp":
			*m = Matcher{Regexp: true, Not: true}
		default:
			return fmt.Errorf("line %d: unknown key %q; it is not, regexp or not_regexp", node.Line, key)
		}
	default:
		return fmt.Errorf("line %d: give a text, or one of not, regexp and not_regexp", node.Line)
	}
	if pattern.Kind != yaml.ScalarNode || pattern.ShortTag() == "!!null" {
		return fmt.Errorf("line %d: a text to match is missing", pattern.Line)
	}
	m.Pattern = pattern.Value
	return nil
}

// MarshalYAML writes the form that UnmarshalYAML reads.
func (m Matcher) MarshalYAML() (any, error) {
	switch {
	case m.Regexp && m.Not:
		return map[string]string{"not_regexp": m.Pattern}, nil
	case m.Regexp:
		return map[string]string{"regexp": m.Pattern}, nil
	case m.Not:
		return map[string]string{"not": m.Pattern}, nil
	default:
		return m.Pattern, nil
	}
}

// compile returns the function that picks.
func (m Matcher) compile() (func(string) bool, error) {
	if !m.Regexp {
		return func(text string) bool { return (text == m.Pattern) != m.Not }, nil
	}
	if len(m.Pattern) > maxPattern {
		return nil, fmt.Errorf("regular expression is longer than %d bytes", maxPattern)
	}
	re, err := regexp.Compile(`^(?:` + m.Pattern + `)$`)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %s", m.Pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if !strings.ContainsAny(m.Pattern, `\.+*?()[]{}^$`) {
		// Plain words, as most are: every instance of the fleet is held against them.
		words := strings.Split(m.Pattern, "|")
		return func(text string) bool { return slices.Contains(words, text) != m.Not }, nil
	}
	return func(text string) bool { return re.MatchString(text) != m.Not }, nil
}

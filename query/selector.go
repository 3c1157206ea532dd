package query

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits of a selector.
const (
	maxSelectorBytes = 4096
	maxMatchers      = 32
)

// selector picks hosts: all its matchers must hold. The empty one picks all.
type selector []matcher

// matcher holds one attribute of a host against a value or a pattern.
type matcher struct {
	name string
	// equal is what an operator without ! wants.
	equal   bool
	value   string
	pattern *regexp.Regexp // nil for = and !=
}

// attributes tells the value of a host's fact or label, empty if it has none.
type attributes func(name string) string

func (s selector) matches(of attributes) bool {
	for _, m := range s {
		if m.matches(of(m.name)) != m.equal {
			return false
		}
	}
	return true
}

func (m matcher) matches(value string) bool {
	if m.pattern != nil {
		return m.pattern.MatchString(value)
	}
	return m.value == value
}

// parseSelector reads a list of matchers, as
//
//	site="ams", os!="windows", hostname=~"web-.*", role!~"test|stage"
//
// Values are in double quotes, where \" \\ and \n stand for a quote, a backslash and a line break; those of letters, digits
// and _ . : / - only need no quotes. The list may be in braces. * and the empty text are the selector of all hosts.
func parseSelector(text string) (selector, error) {
	if len(text) > maxSelectorBytes {
		return nil, fmt.Errorf("the selector has %d bytes, the limit is %d", len(text), maxSelectorBytes)
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("the selector is not UTF-8")
	}
	inner := strings.TrimSpace(text)
	if inner == "*" {
		return nil, nil
	}
	if rest, found := strings.CutPrefix(inner, "{"); found {
		if inner, found = strings.CutSuffix(rest, "}"); !found {
			return nil, errors.New(`the selector has a { without its }`)
		}
	}
	p := &selectorParser{text: inner}
	var all selector
	for p.skipBlanks(); p.rest() != ""; {
		if len(all) == maxMatchers {
			return nil, fmt.Errorf("the selector has over %d matchers, the limit", maxMatchers)
		}
		begin := p.rest()
		one, err := p.matcher()
		if err != nil {
			return nil, fmt.Errorf("the selector is wrong at %#q: %w", clip(begin), err)
		}
		all = append(all, one)
		if p.skipBlanks(); p.rest() == "" {
			break
		}
		if !p.take(",") {
			return nil, fmt.Errorf("the selector is wrong at %#q: matchers are separated by commas", clip(p.rest()))
		}
		p.skipBlanks()
	}
	return all, nil
}

// selectorParser reads a text from the left.
type selectorParser struct {
	text string
	at   int
	// instructions of the patterns so far.
	instructions int
}

func (p *selectorParser) rest() string { return p.text[p.at:] }

func (p *selectorParser) skipBlanks() {
	p.at = len(p.text) - len(strings.TrimLeft(p.rest(), " \t\r\n"))
}

func (p *selectorParser) take(word string) bool {
	if !strings.HasPrefix(p.rest(), word) {
		return false
	}
	p.at += len(word)
	return true
}

// takeWhile returns the bytes up to the first that is not wanted.
func (p *selectorParser) takeWhile(want func(byte) bool) string {
	begin := p.at
	for p.at < len(p.text) && want(p.text[p.at]) {
		p.at++
	}
	return p.text[begin:p.at]
}

func (p *selectorParser) matcher() (matcher, error) {
	name := p.takeWhile(isNameByte)
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return matcher{}, errors.New(`a matcher begins with the name of a fact or a label, as in site="ams"`)
	}
	p.skipBlanks()
	one := matcher{name: name}
	isPattern := false
	switch { // the longer first
	case p.take("=~"):
		one.equal, isPattern = true, true
	case p.take("!~"):
		isPattern = true
	case p.take("!="):
	case p.take("="):
		one.equal = true
	default:
		return matcher{}, errors.New("after a name comes one of = != =~ !~")
	}
	p.skipBlanks()
	var err error
	if one.value, err = p.value(); err != nil {
		return matcher{}, err
	}
	if !isPattern {
		return one, nil
	}
	pattern, size, err := compilePattern(one.value, maxSelectorInstructions-p.instructions)
	if err != nil {
		return matcher{}, fmt.Errorf("the pattern of %s %w", name, err)
	}
	one.pattern = pattern
	p.instructions += size
	return one, nil
}

func (p *selectorParser) value() (string, error) {
	if !p.take(`"`) {
		bare := p.takeWhile(func(b byte) bool { return isNameByte(b) || strings.IndexByte(".:/-", b) >= 0 })
		if bare == "" {
			return "", errors.New(`the value is missing; write it in double quotes`)
		}
		return bare, nil
	}
	var value strings.Builder
	for p.at < len(p.text) {
		switch b := p.text[p.at]; b {
		case '"':
			p.at++
			return value.String(), nil
		case '\\':
			escaped := map[byte]byte{'"': '"', '\\': '\\', 'n': '\n'}
			if p.at+1 >= len(p.text) || escaped[p.text[p.at+1]] == 0 {
				return "", errors.New(`after a backslash comes one of " \ n; a backslash of a pattern is written twice`)
			}
			value.WriteByte(escaped[p.text[p.at+1]])
			p.at += 2
		default:
			value.WriteByte(b)
			p.at++
		}
	}
	return "", errors.New("a quote is not closed")
}

func isNameByte(b byte) bool {
	return b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

package query

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Limits of patterns. RE2 takes time in proportion to the value and to the program that a pattern becomes, in which x{1000} is
// written out; each pattern is held against every host.
const (
	maxPatternBytes = 256
	// maxInstructions is four times what a pattern of 256 bytes makes that repeats nothing by number.
	maxInstructions = 2000
	// maxSelectorInstructions is that of all patterns of a selector together.
	maxSelectorInstructions = 2 * maxInstructions
)

// compilePattern returns what matches a whole value, and about how many instructions it has. A pattern that has more than there is
// room for is refused before it is compiled.
func compilePattern(text string, room int) (*regexp.Regexp, int, error) {
	if len(text) > maxPatternBytes {
		return nil, 0, fmt.Errorf("has %d bytes, the limit is %d", len(text), maxPatternBytes)
	}
	// By itself first: between parentheses, a)(b would be one.
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, 0, fmt.Errorf("is no regular expression: %w", err)
	}
	size := instructions(parsed)
	if size > maxInstructions {
		return nil, 0, fmt.Errorf("makes %d instructions, the limit is %d; repeat less in it", size, maxInstructions)
	}
	if size > room {
		return nil, 0, fmt.Errorf("makes %d instructions, and all those of a selector more than the limit of %d; repeat less in them", size, maxSelectorInstructions)
	}
	pattern, err := regexp.Compile("^(?s:" + text + ")$")
	if err != nil {
		return nil, 0, fmt.Errorf("is no regular expression: %w", err)
	}
	return pattern, size, nil
}

// instructions is how many an expression is compiled to, or few more. Parse has seen to it that nested repetitions are at most 1,000,
// so the number is small enough for an int.
func instructions(re *syntax.Regexp) int {
	parts := 0
	for _, part := range re.Sub {
		parts += instructions(part)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return max(len(re.Rune), 1)
	case syntax.OpConcat:
		return max(parts, 1)
	case syntax.OpAlternate:
		return parts + len(re.Sub) - 1
	case syntax.OpCapture, syntax.OpStar:
		return parts + 2
	case syntax.OpPlus, syntax.OpQuest:
		return parts + 1
	case syntax.OpRepeat:
		if re.Max < 0 { // x{3,} is xxx+
			return max(re.Min, 1)*parts + 2
		}
		return max(re.Max*parts+re.Max-re.Min, 1) // x{3,5} is xxx(x(x)?)?
	default:
		return 1
	}
}

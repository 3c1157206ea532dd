package agent

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/proto/custom"
)

// customSeries is one line of the text format: a series and its value. A NaN or an infinity is no reading, and NaN here.
type customSeries struct {
	name string
	// labels is as custom.Format writes them.
	labels string
	// key is both, of which name and labels are parts: it tells series apart, for no name has the brace that labels begin with.
	key   string
	value float64
}

// parseSeries reads Prometheus' text format 0.0.4 and calls with each series, until the text ends or is wrong. A histogram or a summary
// is its series: NAME_bucket, NAME_sum and so on.
//
// This is a parser of our own because the usual one makes an object of some hundred bytes of every line before anything can be
// counted, which a text of a few letters a line turns into many times the agent's memory. What it takes is held against the usual
// one by a fuzz test.
//
// The format: https://prometheus.io/docs/instrumenting/exposition_formats.
func parseSeries(text []byte, take func(customSeries) error) error {
	for number := 1; len(text) > 0; number++ {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		if !ended {
			return fmt.Errorf("line %d has no line break at its end: is the text complete?", number)
		}
		text = rest
		line = bytes.Trim(line, " \t")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		series, err := parseLine(string(line))
		if err == nil {
			err = take(series)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}

func parseLine(line string) (customSeries, error) {
	var series customSeries
	var labels string
	if !utf8.ValidString(line) {
		return series, errors.New("it is not UTF-8")
	}
	end := strings.IndexAny(line, "{ \t")
	if end < 0 {
		return series, errors.New("it has no value")
	}
	name := line[:end]
	if err := custom.CheckName(name); err != nil {
		return series, err
	}
	if strings.HasPrefix(name, custom.Reserved) {
		return series, fmt.Errorf("names that begin with %s are the agent's own", custom.Reserved)
	}
	rest := trimBlanks(line[end:])
	if strings.HasPrefix(rest, "{") {
		list, after, err := parseLabels(rest[1:])
		if err != nil {
			return series, err
		}
		if labels, err = custom.Format(list); err != nil {
			return series, err
		}
		rest = trimBlanks(after)
	}
	if rest == "" {
		return series, errors.New("it has no value")
	}
	if strings.ContainsAny(rest, " \t") {
		return series, errors.New("something follows the value; a timestamp is not taken, for the agent dates the values itself")
	}
	// Not a part of the line, which is forgotten.
	series.key = string(append([]byte(name), labels...))
	series.name, series.labels = series.key[:len(name)], series.key[len(name):]
	var err error
	series.value, err = parseValue(rest)
	return series, err
}

func trimBlanks(text string) string { return strings.TrimLeft(text, " \t") }

// parseLabels reads what follows the opening brace.
func parseLabels(text string) (labels []custom.Label, rest string, err error) {
	for {
		text = trimBlanks(text)
		if rest, closed := strings.CutPrefix(text, "}"); closed {
			return labels, rest, nil
		}
		name, after, found := strings.Cut(text, "=")
		if !found {
			return nil, "", errors.New("its labels are not closed by }")
		}
		after, found = strings.CutPrefix(trimBlanks(after), `"`)
		if !found {
			return nil, "", fmt.Errorf("the value of the label %.70q is not in double quotes", name)
		}
		value, after, err := parseQuoted(after)
		if err != nil {
			return nil, "", err
		}
		if len(labels) == custom.MaxLabels {
			return nil, "", fmt.Errorf("there are over %d labels, the limit", custom.MaxLabels)
		}
		labels = append(labels, custom.Label{Name: strings.TrimRight(name, " \t"), Value: value})
		text = trimBlanks(after)
		if after, more := strings.CutPrefix(text, ","); more {
			text = after
		} else if !strings.HasPrefix(text, "}") {
			return nil, "", errors.New("after a label comes , or }")
		}
	}
}

// parseQuoted reads what follows an opening quote.
func parseQuoted(text string) (value, rest string, err error) {
	var plain []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			return string(plain), text[i+1:], nil
		case '\\':
			if i++; i == len(text) {
				return "", "", errors.New("a quote is not closed")
			}
			switch text[i] {
			case '\\', '"':
				plain = append(plain, text[i])
			case 'n':
				plain = append(plain, '\n')
			default:
				return "", "", fmt.Errorf(`after a backslash comes one of \ " n, not %q`, text[i])
			}
		default:
			plain = append(plain, c)
		}
	}
	return "", "", errors.New("a quote is not closed")
}

// parseValue takes what can be stored. A number too small for that is 0, as nothing that is measured is.
func parseValue(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(text, "pPxX_") {
		return 0, fmt.Errorf("the value %.70q is no number", text)
	}
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0) && err == nil:
		return math.NaN(), nil
	case catalogue.DoubleFits(math.Float64bits(value)):
		return value, nil
	case math.Abs(value) < 1:
		return 0, nil
	default:
		return 0, fmt.Errorf("the value %.70s is over the limit of 1e+140", text)
	}
}

package custom

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesFollowPrometheusGrammar(t *testing.T) {
	for _, name := range []string{"up", "node_disk:rate5m", "_x", "A9", strings.Repeat("a", MaxNameBytes)} {
		require.NoError(t, CheckName(name), name)
	}
	for _, name := range []string{"", "9x", "a-b", "a b", "é", "a\x00", `a"`, strings.Repeat("a", MaxNameBytes+1)} {
		require.Error(t, CheckName(name), name)
	}
}

func TestLabelsHaveOneText(t *testing.T) {
	text, err := Format([]Label{{"side", "left"}, {"none", ""}, {"device", "a\\\"\nb"}})
	require.NoError(t, err)
	require.Equal(t, `{device="a\\\"\nb",side="left"}`, text)
	labels, err := Parse(text)
	require.NoError(t, err)
	require.Equal(t, []Label{{"device", "a\\\"\nb"}, {"side", "left"}}, labels)

	text, err = Format(nil)
	require.NoError(t, err)
	require.Empty(t, text)
}

func TestFormatRefusesWhatParseWould(t *testing.T) {
	var many []Label
	for i := range MaxLabels + 1 {
		many = append(many, Label{"l" + strings.Repeat("x", i), "1"})
	}
	for name, labels := range map[string][]Label{
		"twice": {{"a", "1"}, {"a", "2"}}, "no name": {{"", "1"}}, "colon": {{"a:b", "1"}}, "reserved": {{"__name__", "x"}},
		"NUL": {{"a", "\x00"}}, "not UTF-8": {{"a", "\xff"}}, "long": {{"a", strings.Repeat("x", MaxLabelsBytes)}}, "many": many,
		"long name": {{strings.Repeat("x", MaxLabelNameBytes+1), "1"}},
	} {
		_, err := Format(labels)
		require.Error(t, err, name)
	}
}

func TestOnlyTheOneTextIsTaken(t *testing.T) {
	for _, text := range []string{
		`{}`, `{a="1"`, `a="1"`, `{a="1",}`, `{a="1"}x`, `{a="1"b="2"}`, `{b="1",a="2"}`, `{a="1",a="2"}`, `{a=""}`, `{a="\x"}`, `{a="\`, `{a="`,
		`{a="1` + "\n" + `"}`, `{a="` + "\x00" + `"}`, `{a="` + "\xff" + `"}`, `{__name__="x"}`, `{a = "1"}`, `{ a="1"}`, `{`, ` `,
	} {
		require.Error(t, CheckLabels(text), text)
	}
}

// FuzzLabels holds that a text which is taken is the one that Format makes of what it says.
func FuzzLabels(f *testing.F) {
	f.Add(`{a="1",b="\\\"\n"}`)
	f.Add(`{a="1"`)
	f.Add(``)
	f.Add(`{a="}",b="{"}`)
	f.Fuzz(func(t *testing.T, text string) {
		labels, err := Parse(text)
		if err != nil {
			require.Error(t, CheckLabels(text))
			return
		}
		again, err := Format(labels)
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}

package query

import (
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

var webHost = &gohubv1.Host{
	HostId: 7, AgentId: "0b8e6b9e-0000-4000-8000-000000000007", Status: gohubv1.HostStatus_HOST_STATUS_UP,
	Facts:  &gohubv1.HostFacts{Hostname: "web-7", Os: "linux", Platform: "debian", CpuCores: 4, Labels: map[string]string{"os": "forged"}},
	Labels: map[string]string{"site": "ams", "note": `a "quoted" \ 'ü'`, "lines": "one\ntwo"},
}

func TestSelectorMatches(t *testing.T) {
	for text, want := range map[string]bool{
		"":                               true,
		"*":                              true,
		" {} ":                           true,
		`site="ams"`:                     true,
		`site=ams`:                       true,
		`{site = "ams" , os!="windows"}`: true,
		`site="ams",os="windows"`:        false,
		`site!="ams"`:                    false,
		`rack=""`:                        true,
		`rack!=""`:                       false,
		`hostname=~"web-.*"`:             true,
		`hostname=~"web"`:                false,
		`hostname!~"db-.*|cache-.*"`:     true,
		`hostname!~"db|web-7"`:           false,
		`lines=~"one.two"`:               true,
		`lines="one\ntwo"`:               true,
		`note="a \"quoted\" \\ 'ü'"`:     true,
		`os="linux"`:                     true,
		`status="up"`:                    true,
		`host_id="7",cpu_cores="4"`:      true,
		`site="ams",`:                    true,
		`site=~"AMS"`:                    false,
		`site=~"(?i)AMS"`:                true,
	} {
		s, err := parseSelector(text)
		require.NoError(t, err, text)
		require.Equal(t, want, s.matches(attributesOf(webHost, webHost.GetStatus())), text)
	}
}

func TestSelectorRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"site":                      "after a name comes one of = != =~ !~",
		"=ams":                      "begins with the name of a fact or a label",
		`9a="b"`:                    "begins with the name",
		`site="ams`:                 "a quote is not closed",
		`site="a\d"`:                "a backslash of a pattern is written twice",
		`site="a\`:                  "after a backslash",
		`site=`:                     "the value is missing",
		`site="a" os="b"`:           "separated by commas",
		`site="a";DROP TABLE hosts`: "separated by commas",
		`{site="a"`:                 "without its }",
		`site=~"a|b)(c"`:            "no regular expression",
		`site=~"("`:                 "no regular expression",
		`site=~"` + strings.Repeat("x", 257) + `"`:            "the limit is 256",
		`site=~"(((a{100}){100}){100})"`:                      "no regular expression",
		`site=~"(?:` + strings.Repeat(".?", 120) + `){1000}"`: "makes 240000 instructions, the limit is 2000",
		`site!~"(?:a{0,40}){25}b"`:                            "makes 2001 instructions",
		strings.Repeat(`a=~"[a-z]{999}",`, 5):                 "more than the limit of 4000",
		strings.Repeat(`a="b",`, 33):                          "over 32 matchers",
		strings.Repeat(" ", 5000):                             "the limit is 4096",
		"site=\"\xff\"":                                       "not UTF-8",
		"\x00":                                                "begins with the name",
		"**":                                                  "begins with the name",
	} {
		_, err := parseSelector(text)
		require.ErrorContains(t, err, want, text)
		require.Less(t, len(err.Error()), 1000)
	}
}

// TestPatternsAreCountedBeforeTheyAreCompiled: no program is larger than what was counted, or much smaller.
func TestPatternsAreCountedBeforeTheyAreCompiled(t *testing.T) {
	for _, text := range []string{
		"", "web-1", "web-.*|db-[0-9]+", "(a|b|)*", "(?i)straße", "a??b+?c*?", "(?:a?){3,}", "(?:ab){0}", "(?:ab){0,}", "(?:ab){0,7}", "(?:ab){3}", "((a{2,5}){1,9}b?){3,20}",
		`\pL{1,63}(\.\pL{1,63})*`, "(?:(?:x*)*)*", "(?:|){30}", "^$|\\b", `[^\x{0}-\x{10FFFF}]`, strings.Repeat("(a|", 60) + strings.Repeat(")", 60), strings.Repeat("a?", 128),
	} {
		parsed, err := syntax.Parse(text, syntax.Perl)
		require.NoError(t, err, text)
		program, err := syntax.Compile(parsed.Simplify())
		require.NoError(t, err, text)
		const ends = 2 // a program begins with a failure and ends with a match
		require.LessOrEqual(t, len(program.Inst)-ends, instructions(parsed), text)
		require.LessOrEqual(t, instructions(parsed), 2*len(program.Inst), text)
	}
}

func FuzzSelector(f *testing.F) {
	for _, seed := range []string{`{site="ams",os!~"win.*"}`, `a=b`, `a="\"\\\n"`, `*`, `{}`, "a=~\"(\"", "\x00\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSelector(text)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(s), maxMatchers)
		s.matches(attributesOf(webHost, webHost.GetStatus()))
		for _, m := range s {
			require.NotEmpty(t, m.name)
			if m.pattern != nil {
				parsed, err := syntax.Parse(m.pattern.String(), syntax.Perl)
				require.NoError(t, err)
				program, err := syntax.Compile(parsed.Simplify())
				require.NoError(t, err)
				require.LessOrEqual(t, len(program.Inst), maxInstructions+4, "and the ends of the text and the program")
			}
			// What was read means the same when it is written in full.
			operator := map[[2]bool]string{{true, false}: "=", {false, false}: "!=", {true, true}: "=~", {false, true}: "!~"}[[2]bool{m.equal, m.pattern != nil}]
			again, err := parseSelector(m.name + operator + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.value) + `"`)
			require.NoError(t, err)
			require.Equal(t, m.value, again[0].value)
			require.Equal(t, m.equal, again[0].equal)
		}
	})
}

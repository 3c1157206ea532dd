package agent

import (
	"strings"
	"unicode/utf8"
)

// maxText bounds, in bytes, every string that comes from the operating system: a name longer than this says nothing
// more to a person, and the server refuses it.
const maxText = 256

// cleanText makes a string from the operating system fit for the contract and the database: valid UTF-8, no NUL,
// at most maxText bytes, cut at a character's boundary.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

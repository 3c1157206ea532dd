package label

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                       nil,
		"  ":                     nil,
		"site=ams":               {"site": "ams"},
		" site = ams , role=db ": {"site": "ams", "role": "db"},
		"note=a=b,empty=":        {"note": "a=b", "empty": ""},
		"city=Zürich \u202e":     {"city": "Zürich \u202e"},
	} {
		labels, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, labels, text)
	}
	for text, want := range map[string]string{
		"site":                             `"site" is no label; labels are written as site=ams,role=db`,
		"site=a,site=b":                    "the label site is given twice",
		"=a":                               `the label's name "" is not made of`,
		"9lives=a":                         "with no digit first",
		"a-b=c":                            `"a-b" is not made of`,
		"os=linux":                         "no label can be named os",
		"interface=eth0":                   "no label can be named interface",
		"a=\x00":                           "control character",
		"a=\xff":                           "not UTF-8",
		"a=" + strings.Repeat("x", 257):    "257 bytes, the limit is 256",
		strings.Repeat("n", 65) + "=x":     "1 to 64 letters",
		"site=a," + strings.Repeat("x", 9): "is no label",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	var many []string
	for i := range MaxLabels + 1 {
		many = append(many, fmt.Sprintf("l%d=x", i))
	}
	_, err := Parse(strings.Join(many, ","))
	require.ErrorContains(t, err, "33 labels are over the limit of 32")
}

func TestMergeLetsTheServerWin(t *testing.T) {
	require.Nil(t, Merge(nil, nil))
	require.Equal(t, map[string]string{"site": "fra", "role": "db"},
		Merge(map[string]string{"site": "ams", "role": "db", "old": "x"}, map[string]string{"site": "fra", "old": ""}))
}

// TestReservedNamesAreThoseOfTheContract: a new fact or a new family's label must be reserved too.
func TestReservedNamesAreThoseOfTheContract(t *testing.T) {
	for _, family := range catalogue.Families() {
		for _, label := range family.Labels {
			require.True(t, Reserved(label.Name), label.Name)
		}
	}
	facts := (&gohubv1.HostFacts{}).ProtoReflect().Descriptor().Fields()
	numbers := map[string]bool{"memory_bytes": true, "boot_time_unix_seconds": true, "interval_millis": true, "labels": true}
	for i := range facts.Len() {
		if name := string(facts.Get(i).Name()); !numbers[name] {
			require.True(t, Reserved(name), name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("site=ams,role=db")
	f.Add(" =,, a=\x00")
	f.Fuzz(func(t *testing.T, text string) {
		labels, err := Parse(text)
		if err == nil {
			require.NoError(t, Check(labels))
		}
	})
}

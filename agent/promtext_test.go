package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gohub-io/gohub/proto/custom"
)

// seriesOf are the values of a text's series by their keys.
func seriesOf(text string) (map[string]float64, error) {
	values := map[string]float64{}
	err := parseSeries([]byte(text), func(s customSeries) error {
		values[s.key] = s.value
		return nil
	})
	return values, err
}

func TestParseTakesTheTextFormat(t *testing.T) {
	values, err := seriesOf(`# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027
http_requests_total { code = "400" , method = "post" , } 3

  plain   12.47
	tab	-1e-9
metric_without_labels{} +Inf
gone NaN
tiny 1e-300
quoted{path="C:\\DIR\\",error="a \"b\"\nc, d}",empty=""} 1.458255915e9
rpc_bucket{le="0.1"} 5
rpc_bucket{le="+Inf"} 7
rpc_sum 1.5
a:b 0
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		`http_requests_total{code="200",method="post"}`: 1027, `http_requests_total{code="400",method="post"}`: 3, "plain": 12.47, "tab": -1e-9, "tiny": 0,
		`quoted{error="a \"b\"\nc, d}",path="C:\\DIR\\"}`: 1.458255915e9, `rpc_bucket{le="0.1"}`: 5, `rpc_bucket{le="+Inf"}`: 7, "rpc_sum": 1.5, "a:b": 0,
	}
	for _, name := range []string{"metric_without_labels", "gone"} {
		if !math.IsNaN(values[name]) {
			t.Errorf("%s is %v", name, values[name])
		}
		delete(values, name)
	}
	if !maps.Equal(values, want) {
		t.Errorf("got %v", values)
	}
}

func TestParseTellsLineAndReason(t *testing.T) {
	for want, text := range map[string]string{
		"line 2 has no line break at its end":  "a 1\nb 1",
		"line 1: it has no value":              "a\n",
		"line 3: it has no value":              "\n# x\na{}\n",
		"with no digit first":                  "1a 1\n",
		"the agent's own":                      "gohub_textfile_error 1\n",
		"a timestamp is not taken":             "a 1 1395066363000\n",
		`the value "x" is no number`:           "a x\n",
		`the value "0x1p4" is no number`:       "a 0x1p4\n",
		`the value "1_0" is no number`:         "a 1_0\n",
		"the value 1e200 is over the limit":    "a 1e200\n",
		"the value 1e999 is over the limit":    "a 1e999\n",
		"not closed by }":                      "a{b\n",
		"not in double quotes":                 "a{b=1} 1\n",
		"a quote is not closed":                "a{b=\"1} 1\n",
		"after a label comes , or }":           "a{b=\"1\" c=\"2\"} 1\n",
		`after a backslash comes one of \ " n`: "a{b=\"\\t\"} 1\n",
		"the label b is given twice":           "a{b=\"1\",b=\"2\"} 1\n",
		"not UTF-8":                            "a{b=\"\xff\"} 1\n",
		"contains a NUL byte":                  "a{b=\"\x00\"} 1\n",
		"over 32 labels":                       "a{" + strings.Repeat("b=\"\",", 33) + "} 1\n",
		"is 201 bytes long":                    strings.Repeat("a", 201) + " 1\n",
		"the labels have 1026 bytes":           `a{b="` + strings.Repeat("x", 1020) + "\"} 1\n",
	} {
		if _, err := seriesOf(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	stop := errors.New("enough")
	if err := parseSeries([]byte("a 1\nb 2\n"), func(customSeries) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// FuzzParseSeries holds what is taken against the parser that Prometheus' programs use: what it refuses is refused here too, but for what
// is said below, and of what it takes come the same series.
func FuzzParseSeries(f *testing.F) {
	f.Add("# TYPE a counter\na{b=\"c\\n\"} 1\na{b=\"d\"} 2e3\n")
	f.Add("a{ b = \"}\" , } -Inf\nc NaN\n\n# x\n")
	f.Add("a 1 2\n")
	f.Add("# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\nh_count 4\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := seriesOf(text)
		for key := range got {
			name, labels, found := strings.Cut(key, "{")
			if found {
				labels = "{" + labels
			}
			if custom.CheckName(name) != nil || custom.CheckLabels(labels) != nil {
				t.Fatalf("a series %q", key)
			}
		}
		// What types say is overlooked here, so that each line is told by itself, and so are blanks at the end.
		var bare []string
		for _, line := range strings.SplitAfter(text, "\n") {
			if line = strings.Trim(line, " \t"); !strings.HasPrefix(line, "#") {
				bare = append(bare, strings.TrimRight(strings.TrimSuffix(line, "\n"), " \t")+line[len(strings.TrimSuffix(line, "\n")):])
			}
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, usualErr := parser.TextToMetricFamilies(bytes.NewReader([]byte(strings.Join(bare, ""))))
		if usualErr != nil {
			if err == nil && !strings.ContainsAny(text, "\r\v\f\x00") && !strings.Contains(usualErr.Error(), "second") {
				t.Fatalf("%q is taken, but: %v", text, usualErr)
			}
			return
		}
		if err != nil {
			return // this one is stricter
		}
		want := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				key, err := keyOf(family, metric)
				if err != nil {
					t.Fatal(err)
				}
				want[key] = metric.GetUntyped().GetValue()
			}
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
		for key, value := range want {
			if math.IsInf(value, 0) {
				value = math.NaN()
			}
			if math.Abs(value) < 1e-130 {
				value = 0
			}
			if fmt.Sprint(got[key]) != fmt.Sprint(value) && value != 0 {
				t.Fatalf("%q: %s is %v, want %v", text, key, got[key], value)
			}
		}
	})
}

func keyOf(family *dto.MetricFamily, metric *dto.Metric) (string, error) {
	var labels []custom.Label
	for _, label := range metric.GetLabel() {
		labels = append(labels, custom.Label{Name: label.GetName(), Value: label.GetValue()})
	}
	text, err := custom.Format(labels)
	return family.GetName() + text, err
}

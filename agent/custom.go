package agent

import (
	"cmp"
	"context"
	"time"

	"github.com/gohub-io/gohub/proto/custom"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// Bounds of the custom metrics of one agent.
const (
	DefaultCustomSeries = 1000
	// MaxCustomSeries leaves room for what the agent tells of the files: a sample has 4,096 instances of a family at most.
	MaxCustomSeries = 3500
	// maxCustomBytes bounds the names and labels of a sample's series: the server takes messages of 4 MiB.
	maxCustomBytes = 1 << 20
	// maxTextBytes bounds a file and what a program sends.
	maxTextBytes = 1 << 20
	// pushedIntervals is for how many intervals a series lives that a program has sent once.
	pushedIntervals = 5
)

// customCollector tells what programs on the machine say of themselves, in text files or over the socket. The files go first,
// in the order of their names, then what was sent, in the order of the series; what is over the bounds is left out and counted.
type customCollector struct {
	files  *textfiles    // nil without a directory
	pushed *pushedSeries // nil without a socket
	most   int
	taken  map[string]int // the file that each series is from, by its place; -1 is the socket
	bytes  int
}

// Names of what the collector says of itself.
const (
	textfileError       = "gohub_textfile_error"
	textfileMtime       = "gohub_textfile_mtime_seconds"
	customSeriesTaken   = "gohub_custom_series"
	customSeriesRefused = "gohub_custom_series_refused"
)

func newCustomCollector(m *machine, o SamplerOptions) *customCollector {
	c := &customCollector{pushed: o.pushed, most: customSeriesOf(o)}
	if o.TextfileDir != "" {
		c.files = &textfiles{directory: o.TextfileDir, guard: m.guard, now: m.now, log: o.Logger}
	}
	return c
}

func customSeriesOf(o SamplerOptions) int {
	return min(cmp.Or(o.CustomSeries, DefaultCustomSeries), MaxCustomSeries)
}

func (c *customCollector) name() string { return "custom" }

func (c *customCollector) collect(_ context.Context, sample *gohubv1.Sample) error {
	if c.files == nil && c.pushed == nil {
		return nil
	}
	if c.taken == nil {
		c.taken = map[string]int{}
	}
	clear(c.taken)
	c.bytes = 0
	var room customRoom
	refused := 0
	take := func(from int, series *customSeries) {
		size := len(series.name) + len(series.labels)
		if len(c.taken) == c.most || c.bytes+size > maxCustomBytes {
			refused++
			return
		}
		c.taken[series.key] = from
		c.bytes += size
		sample.Customs = append(sample.Customs, room.make(series.name, series.labels, series.value))
	}
	var err error
	if c.files != nil {
		err = c.files.read(c.most)
		for place, file := range c.files.all {
			if file.err == nil {
				file.err = c.takeFile(place, file, take)
				refused += file.left
			}
		}
		c.files.complain()
	}
	if c.pushed != nil {
		for _, series := range c.pushed.fresh() {
			if _, known := c.taken[series.key]; known {
				refused++ // that of a file
				continue
			}
			take(-1, &series)
		}
	}
	own := func(name, file string, value float64) {
		labels := ""
		if file != "" {
			var formatErr error
			if labels, formatErr = custom.Format([]custom.Label{{Name: "file", Value: file}}); formatErr != nil {
				return // a name that is no text; its file is refused for it
			}
		}
		sample.Customs = append(sample.Customs, room.make(name, labels, value))
	}
	if c.files != nil {
		for _, file := range c.files.all {
			failed := 0.0
			if file.err != nil {
				failed = 1
			}
			own(textfileError, file.name, failed)
			if file.info != nil {
				own(textfileMtime, file.name, float64(file.info.ModTime().UnixMilli())/1e3)
			}
		}
	}
	own(customSeriesTaken, "", float64(len(c.taken)))
	own(customSeriesRefused, "", float64(refused))
	return err
}

// customRoom makes messages some at a time: a thousand by themselves would be as many objects more at every sample.
type customRoom struct {
	messages []gohubv1.CustomMetrics
	values   []float64
}

func (r *customRoom) make(name, labels string, value float64) *gohubv1.CustomMetrics {
	const some = 64
	if len(r.messages) == 0 {
		r.messages, r.values = make([]gohubv1.CustomMetrics, some), make([]float64, some)
	}
	message := &r.messages[0]
	r.values[0] = value
	message.Name, message.Labels, message.Value = name, labels, &r.values[0]
	r.messages, r.values = r.messages[1:], r.values[1:]
	return message
}

// takeFile takes a file's series, or none if another file has one of them: which is right can not be told.
func (c *customCollector) takeFile(place int, file *textfile, take func(int, *customSeries)) error {
	for i := range file.series {
		if from, known := c.taken[file.series[i].key]; known && from != place {
			return &duplicateError{series: file.series[i].key, other: c.files.all[from].name}
		}
	}
	for i := range file.series {
		take(place, &file.series[i])
	}
	return nil
}

// duplicateError: two files have the same series. It is only made text where it is logged.
type duplicateError struct{ series, other string }

func (e *duplicateError) Error() string {
	return "the series " + e.series + " is in " + e.other + " too, whose value is taken; nothing of this file is"
}

// pushedAge is for how long a series lives that was sent once.
func pushedAge(interval time.Duration) time.Duration { return pushedIntervals * interval }

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/gohub-io/gohub/storage/archive"
)

// bar shows how far an export or import is: on a terminal a bar that moves, elsewhere a line every tenth of the way.
type bar struct {
	output   io.Writer
	terminal bool
	// percent and settling are what was shown last, width how wide that was.
	percent, width int
	settling       bool
}

func newBar(output io.Writer) *bar {
	b := &bar{output: output, percent: -1}
	if file, ok := output.(*os.File); ok {
		info, err := file.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

func (b *bar) show(p archive.Progress) {
	percent := 100
	if p.Total > 0 {
		percent = int(int64(p.Done) * 100 / int64(p.Total))
	}
	step := 10
	if b.terminal {
		step = 1
	}
	if b.percent >= 0 && percent/step == b.percent/step && b.settling == p.Settling {
		return
	}
	b.percent, b.settling = percent, p.Settling
	what := p.File
	if p.Settling {
		what = "rolling up"
	}
	if !b.terminal {
		fmt.Fprintf(b.output, "%3d %%  %s rows  %s\n", percent, humanize.Comma(p.Rows), what)
		return
	}
	const cells = 30
	line := fmt.Sprintf("[%-*s] %3d %%  %s rows  %s", cells, strings.Repeat("=", percent*cells/100), percent, humanize.Comma(p.Rows), what)
	fmt.Fprintf(b.output, "\r%-*s", b.width, line)
	b.width = len(line)
}

// end leaves the bar as it is.
func (b *bar) end() {
	if b.terminal && b.width > 0 {
		fmt.Fprintln(b.output)
	}
}

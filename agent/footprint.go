package agent

import (
	"runtime/debug"
	"time"
)

const (
	// settledAfter is how many samples it takes until what only a start, a connect and first readings need is over.
	settledAfter = 3
	// footprintEvery is the time between later rounds: a reconnect brings the code for it back into memory.
	footprintEvery = time.Hour
)

// footprint gives memory back that the agent took for its start and does not need from sample to sample: free heap, and
// pages of the program's file that are mapped but not used. Those that are used come back by minor faults at the next
// sample, without reading the disk as long as the file is cached; so it is done seldom. Owned by the goroutine that samples.
type footprint struct {
	every   int // samples
	samples int
}

func newFootprint(interval time.Duration) *footprint {
	return &footprint{every: max(settledAfter, int(footprintEvery/interval))}
}

// sampled is called after each sample. The error is that of unmapping, which only costs memory.
func (f *footprint) sampled() error {
	f.samples++
	if f.samples != settledAfter && f.samples%f.every != 0 {
		return nil
	}
	debug.FreeOSMemory()
	return unmapProgram()
}

package agent

import "time"

const (
	// settledAfter is how many samples it takes until what only a start, a connect and first readings need is over.
	settledAfter = 3
	// footprintEvery is the time between later rounds: a reconnect brings the code for it back into memory.
	footprintEvery = time.Hour
)

// footprint unmaps pages of the program's file: the kernel maps many around each that is touched, and a start touches most
// of them. Those in use come back by minor faults at the next sample and collection, without reading the disk as long as
// the file is cached; so it is done seldom. Owned by the goroutine that samples.
type footprint struct {
	every   int // samples
	samples int
}

func newFootprint(interval time.Duration) *footprint {
	return &footprint{every: max(settledAfter, int(footprintEvery/interval))}
}

// sampled is called after each sample. Its error costs only memory.
func (f *footprint) sampled() error {
	if !f.due() {
		return nil
	}
	return unmapProgram()
}

func (f *footprint) due() bool {
	f.samples++
	return f.samples == settledAfter || f.samples%f.every == 0
}

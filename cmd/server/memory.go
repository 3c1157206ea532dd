package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Thousands of agents that connect at once, after a restart or a cut of the network, leave a heap behind that is several times
// what their idle streams need, and so does a round of alerts for all of them. The runtime would collect it two minutes later,
// and give it back to the system slowly, a page here and there. So the server looks often whether much is unused, and gives
// it back at once if it is quiet: if the runtime itself had no cause to collect since the last look. While it is busy, what
// is given back is soon asked for again, so that is done each minute only. It takes some hundred milliseconds of a processor
// for 5,000 agents, beside the work that goes on.
const (
	memoryEvery = 15 * time.Second
	// busyLooks is how many looks in a row may find the server busy.
	busyLooks = 4
	// unusedShare and unusedLeast: at least so much, and more than this share of what is used, must be there to gain.
	unusedShare = 0.05
	unusedLeast = 8 << 20
)

// returnMemory gives unused memory back until ctx ends.
func returnMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	looks := memoryLooks{before: collections()}
	for {
		select {
		case <-ticker.C:
			if !looks.due(collections()) {
				continue
			}
			if used, unused := readMemory(); unused > max(unusedLeast, uint64(unusedShare*float64(used))) {
				debug.FreeOSMemory() // collects first
				looks.before = collections()
			}
		case <-ctx.Done():
			return
		}
	}
}

// memoryLooks remembers what the looks before have found.
type memoryLooks struct {
	before uint64 // collections at the last look
	busy   int    // looks in a row that found more of them
}

// due reports whether memory may be given back now that there were so many collections.
func (l *memoryLooks) due(collections uint64) bool {
	if collections != l.before {
		l.before = collections
		if l.busy++; l.busy < busyLooks {
			return false
		}
	}
	l.busy = 0
	return true
}

// collections is how many there were.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// readMemory returns the bytes that are used, as of the last collection, and those that the process holds without a use:
// garbage, and free memory that the system does not have back.
func readMemory() (used, unused uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	live, stacks := samples[0].Value.Uint64(), samples[1].Value.Uint64()
	held := samples[2].Value.Uint64() + samples[3].Value.Uint64() + samples[4].Value.Uint64()
	return live + stacks, held - min(live, held)
}

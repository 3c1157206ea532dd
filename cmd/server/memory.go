package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Thousands of agents that connect at once, after a restart or a cut of the network, leave a heap behind that is several times
// what their idle streams need. The runtime would collect it two minutes later, and give it back to the system slowly, a
// page here and there. So the server looks each minute whether much is unused, and then gives it back at once. What is unused
// only a collection tells: where the runtime had no cause for one all the minute, as after such a peak, here is one. It takes
// some ten milliseconds.
const (
	memoryEvery = time.Minute
	// unusedShare and unusedLeast: at least so much, and more than this share of what is used, must be there to gain.
	unusedShare = 0.1
	unusedLeast = 16 << 20
)

// returnMemory gives unused memory back until ctx ends.
func returnMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	before := collections()
	for {
		select {
		case <-ticker.C:
			if collections() == before {
				runtime.GC()
			}
			if used, unused := readMemory(); unused > max(unusedLeast, uint64(unusedShare*float64(used))) {
				debug.FreeOSMemory()
			}
			before = collections()
		case <-ctx.Done():
			return
		}
	}
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

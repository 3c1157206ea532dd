//go:build race

package ingest

// raceEnabled: under the race detector sync.Pool drops things on purpose, so allocations say nothing.
const raceEnabled = true

package main

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadMemoryFindsWhatCanBeGivenBack(t *testing.T) {
	const size = 64 << 20
	used, before := withBallast(size)
	require.GreaterOrEqual(t, used, uint64(size))
	runtime.GC()
	_, peak := readMemory()
	require.GreaterOrEqual(t, peak, before+size/2)
	debug.FreeOSMemory()
	_, after := readMemory()
	require.Less(t, after, peak-size/2)
}

func TestMemoryIsGivenBackInQuietAndSeldomInBusyTimes(t *testing.T) {
	looks := memoryLooks{before: 10}
	for i, one := range []struct {
		collections uint64
		due         bool
	}{{10, true}, {11, false}, {11, true}, {12, false}, {13, false}, {14, false}, {15, true}, {16, false}, {16, true}, {16, true}} {
		require.Equal(t, one.due, looks.due(one.collections), "look %d", i)
	}
}

// withBallast reads the memory while so many bytes are in use. They are not any more when it returns.
func withBallast(size int) (used, unused uint64) {
	ballast := make([]byte, size)
	for i := range ballast { // so that the system has really given it
		ballast[i] = 1
	}
	runtime.GC()
	used, unused = readMemory()
	runtime.KeepAlive(ballast)
	return used, unused
}

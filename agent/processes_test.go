package agent

import (
	"slices"
	"testing"
)

func TestBusiestProcessesUseATenthOfAPercent(t *testing.T) {
	const tick = 1. / 30 // of a 100th of a second in 30 seconds, in percent
	usages := make([]usage, 0, 8)
	for pid, one := range []struct {
		share    float64
		resident uint64
	}{
		{50, 0}, {0.5, 0}, {3 * tick * 0.999, 0}, // those three are busy
		{2 * tick, 0}, {tick, 0}, {0, 0}, {-1, 0}, // those are not, nor do they take memory
		{tick, 1 << 20}, // that one takes some
	} {
		usages = append(usages, usage{&process{key: processKey{pid: uint32(pid)}, resident: one.resident}, one.share})
	}
	for _, c := range []struct {
		top  int
		want []uint32
	}{{10, []uint32{0, 1, 2, 7}}, {2, []uint32{0, 1, 7}}, {1, []uint32{0, 7}}} {
		var got []uint32
		for _, u := range chooseProcesses(slices.Clone(usages), c.top) {
			got = append(got, u.key.pid)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("of the top %d: got %v, want %v", c.top, got, c.want)
		}
	}
}

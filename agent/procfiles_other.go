//go:build !linux

package agent

import (
	"context"
	"runtime"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// Where there is no /proc, gopsutil knows what to ask.
type (
	cpuSource     struct{}
	memorySource  struct{}
	loadSource    struct{}
	networkSource struct{}
	uptimeSource  struct{}
)

func (*cpuSource) read(ctx context.Context, _ *machine) ([]cpu.TimesStat, error) {
	return cpu.TimesWithContext(ctx, true)
}

func (*memorySource) read(ctx context.Context, _ *machine) (*mem.VirtualMemoryStat, error) {
	return mem.VirtualMemoryWithContext(ctx)
}

// read fails on Windows: it has no load averages, and an imitation would not compare with the others.
func (*loadSource) read(ctx context.Context, _ *machine) (averages [3]float64, err error) {
	if runtime.GOOS == "windows" {
		return averages, errUnsupported
	}
	a, err := load.AvgWithContext(ctx)
	if err != nil {
		return averages, err
	}
	return [3]float64{a.Load1, a.Load5, a.Load15}, nil
}

func (*networkSource) read(ctx context.Context, _ *machine) ([]net.IOCountersStat, error) {
	return net.IOCountersWithContext(ctx, true)
}

func (*uptimeSource) read(ctx context.Context, _ *machine) (uint64, error) {
	return host.UptimeWithContext(ctx)
}

func (*cpuSource) close()     {}
func (*memorySource) close()  {}
func (*loadSource) close()    {}
func (*networkSource) close() {}
func (*uptimeSource) close()  {}

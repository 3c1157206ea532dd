package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/shirou/gopsutil/v3/mem"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// memoryCollector reads physical memory and swap.
type memoryCollector struct {
	machine *machine
	source  memorySource
}

func (c *memoryCollector) close() { c.source.close() }

func (*memoryCollector) name() string { return "memory" }

func (c *memoryCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	memory, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read memory: %w", unsupported(err))
	}
	if memory.Total == 0 {
		return errors.New("read memory: the system tells no total")
	}
	host := sample.Host
	used := memory.Total - min(memory.Available, memory.Total)
	host.MemoryTotalBytes = pointer(memory.Total)
	host.MemoryAvailableBytes = pointer(roundSize(memory.Available))
	host.MemoryUsedBytes = pointer(roundSize(used))
	host.MemoryUsedPercent = percentOf(float64(used), float64(memory.Total))
	if runtime.GOOS == "linux" {
		// gopsutil adds reclaimable slabs to the page cache; they are not in it.
		host.MemoryCachedBytes = pointer(roundSize(memory.Cached - min(memory.Sreclaimable, memory.Cached)))
		host.MemoryBuffersBytes = pointer(roundSize(memory.Buffers))
	}
	total, swapUsed, err := swap(ctx, memory)
	if err != nil {
		return fmt.Errorf("read swap: %w", unsupported(err))
	}
	host.SwapTotalBytes = pointer(total)
	host.SwapUsedBytes = pointer(roundSize(swapUsed))
	host.SwapUsedPercent = percentOf(float64(swapUsed), float64(total)) // absent where there is no swap
	return nil
}

// swap returns the size of the swap space and how much of it is in use, in bytes.
func swap(ctx context.Context, memory *mem.VirtualMemoryStat) (total, used uint64, err error) {
	switch runtime.GOOS {
	case "linux": // in /proc/meminfo, which is read already
		return memory.SwapTotal, memory.SwapTotal - min(memory.SwapFree, memory.SwapTotal), nil
	case "windows": // the page files; gopsutil's SwapMemory is the commit charge there, which counts memory too
		files, err := mem.SwapDevicesWithContext(ctx)
		for _, file := range files {
			total += file.UsedBytes + file.FreeBytes
			used += file.UsedBytes
		}
		return total, used, err
	default:
		s, err := mem.SwapMemoryWithContext(ctx)
		if err != nil {
			return 0, 0, err
		}
		return s.Total, s.Used, nil
	}
}

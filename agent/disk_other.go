//go:build !linux

package agent

import (
	"context"
	"runtime"
	"sort"

	"github.com/shirou/gopsutil/v3/disk"
)

// diskSource asks gopsutil: drives by letter on Windows (one a volume), whole disks on macOS, where a build without cgo
// gets none.
type diskSource struct{}

func (diskSource) close() {}

func (diskSource) read(ctx context.Context, _ *machine) ([]diskCounters, error) {
	devices, err := disk.IOCountersWithContext(ctx)
	if err != nil {
		return nil, err
	}
	counters := make([]diskCounters, 0, len(devices))
	for _, d := range devices {
		counters = append(counters, diskCounters{
			name:         d.Name,
			key:          d.Name,
			reads:        d.ReadCount,
			writes:       d.WriteCount,
			readBytes:    d.ReadBytes,
			writtenBytes: d.WriteBytes,
			busyMillis:   d.IoTime,
			// Only the BSDs and Linux tell the time with a request outstanding; on macOS it is the sum over requests.
			hasBusy: runtime.GOOS == "freebsd",
		})
	}
	sort.Slice(counters, func(i, j int) bool { return counters[i].name < counters[j].name })
	return counters, nil
}

func classifyDisk(_ *machine, d diskCounters, _ []diskCounters) diskKind {
	return diskKind{label: d.name, physical: true}
}

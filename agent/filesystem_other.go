//go:build !linux

package agent

import (
	"context"

	"github.com/shirou/gopsutil/v3/disk"
)

// mountSource asks gopsutil.
type mountSource struct{}

func (mountSource) close() {}

func (mountSource) list(ctx context.Context, _ *machine) (list []mount, fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, filesystemTimeout)
	defer cancel()
	partitions, err := disk.PartitionsWithContext(ctx, false)
	if len(partitions) == 0 && err != nil {
		return nil, false, unsupported(err)
	}
	mounts := make([]mount, 0, len(partitions))
	for _, p := range partitions {
		mounts = append(mounts, mount{mountpoint: p.Mountpoint, device: p.Device, fstype: p.Fstype, id: p.Device, subtree: "/"})
	}
	return mounts, true, nil
}

func (m *machine) underRoot(path string) string { return path }

func statFilesystem(path string) (filesystemUsage, error) {
	usage, err := disk.Usage(path)
	if err != nil {
		return filesystemUsage{}, err
	}
	return filesystemUsage{
		size:       usage.Total,
		used:       usage.Used,
		available:  usage.Free,
		inodes:     usage.InodesTotal,
		inodesUsed: usage.InodesUsed,
	}, nil
}

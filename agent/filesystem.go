package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// filesystemTimeout is how long a sample waits for all filesystems together. Local ones answer in microseconds; one that
// does not answer in this time is a dead network mount or a dying disk.
const filesystemTimeout = 500 * time.Millisecond

// filesystemCollector reads how full the mounted filesystems are.
type filesystemCollector struct {
	machine     *machine
	mountpoints Filter
	types       Filter
	source      mountSource
	chosen      []mount
	usage       func(path string) (filesystemUsage, error) // statfs; tests put a hanging one here
}

func newFilesystemCollector(m *machine, mountpoints, types Filter) *filesystemCollector {
	return &filesystemCollector{machine: m, mountpoints: mountpoints, types: types, usage: statFilesystem}
}

func (c *filesystemCollector) close() { c.source.close() }

func (*filesystemCollector) name() string { return "filesystem" }

// filesystemUsage is what statfs tells, in bytes and inodes. inodes is 0 where the filesystem has no fixed number of them.
type filesystemUsage struct {
	size, used, available uint64
	inodes, inodesUsed    uint64
}

func (c *filesystemCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	// Listing is guarded too: on Windows it asks every drive.
	mounts, err := within(c.machine.guard, "the list of mounts", filesystemTimeout, func() ([]mount, error) {
		mounts, fresh, err := c.source.list(ctx, c.machine)
		if fresh {
			c.chosen = bounded(chooseMounts(mounts, c.mountpoints, c.types))
		}
		return c.chosen, err
	})
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}

	var problems []error
	calls := make([]*call[filesystemUsage], len(mounts))
	for i, m := range mounts {
		path := c.machine.underRoot(m.mountpoint)
		started, since := start(c.machine.guard, "statfs "+path, func() (filesystemUsage, error) { return c.usage(path) })
		if started == nil {
			problems = append(problems, fmt.Errorf("%s (%s on %s) has not answered since %s; it is left out until it does",
				m.mountpoint, m.fstype, m.device, since.UTC().Format(time.RFC3339)))
		}
		calls[i] = started
	}

	deadline := time.NewTimer(filesystemTimeout)
	defer deadline.Stop()
	late := false
	filesystems := make([]*gohubv1.FilesystemMetrics, 0, len(mounts))
	var fullest highest
	for i, m := range mounts {
		if calls[i] == nil {
			continue
		}
		if !late {
			select {
			case <-calls[i].done:
			case <-deadline.C:
				late = true
			}
		}
		select {
		case <-calls[i].done:
		default:
			problems = append(problems, fmt.Errorf("%s (%s on %s) did not answer within %s; it is left out until it does",
				m.mountpoint, m.fstype, m.device, filesystemTimeout))
			continue
		}
		usage, err := calls[i].value, calls[i].err
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", m.mountpoint, err))
			continue
		}
		if usage.size == 0 {
			continue // a pseudo filesystem that the filter does not know
		}
		metrics := &gohubv1.FilesystemMetrics{
			Mountpoint:     cleanText(m.mountpoint),
			Device:         cleanText(m.device),
			Fstype:         cleanText(m.fstype),
			SizeBytes:      pointer(usage.size),
			UsedBytes:      pointer(roundSize(usage.used)),
			AvailableBytes: pointer(roundSize(usage.available)),
			// As df does: what is reserved for root is neither used nor available.
			UsedPercent: percentOf(float64(usage.used), float64(usage.used)+float64(usage.available)),
		}
		if usage.inodes > 0 {
			metrics.Inodes = pointer(usage.inodes)
			metrics.InodesUsed = pointer(usage.inodesUsed)
			metrics.InodesUsedPercent = percentOf(float64(usage.inodesUsed), float64(usage.inodes))
		}
		filesystems = append(filesystems, metrics)
		fullest.add(metrics.UsedPercent)
	}
	sample.Filesystems = filesystems
	sample.Host.FilesystemFullestPercent = fullest.value
	return errors.Join(problems...)
}

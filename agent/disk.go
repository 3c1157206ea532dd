package agent

import (
	"context"
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// diskCollector reads the traffic of block devices. Whole devices are reported, partitions only where Include asks for
// them; the host's sums count physical devices alone, so that what a RAID, a volume or a loop device passes on is not
// counted twice.
type diskCollector struct {
	machine *machine
	filter  Filter
	source  diskSource
	before  readings[diskCounters]
	kinds   map[string]diskKind // by "number name"; what a device is does not change while it keeps both
}

// diskKind is what a block device is.
type diskKind struct {
	label     string // the name shown, which is not the kernel's for a mapped volume
	partition bool
	physical  bool // counts in the host's sums
}

func newDiskCollector(m *machine, filter Filter) *diskCollector {
	return &diskCollector{machine: m, filter: filter, kinds: make(map[string]diskKind)}
}

func (c *diskCollector) close() { c.source.close() }

func (*diskCollector) name() string { return "disk" }

func (c *diskCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	counters, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read disk counters: %w", unsupported(err))
	}
	now := c.machine.now()
	elapsed := c.before.since(now)
	current := c.before.fresh()
	disks := make([]*gohubv1.DiskMetrics, 0, len(counters))
	var read, written sum
	for _, d := range counters {
		key := d.key
		kind, known := c.kinds[key]
		if !known {
			kind = classifyDisk(c.machine, d, counters)
			c.kinds[key] = kind
		}
		reported := c.filter.keeps(d.name) && c.filter.keeps(kind.label)
		if kind.partition {
			reported = c.filter.includes(d.name)
		}
		if !reported && !kind.physical {
			continue
		}
		current[key] = d
		metrics := &gohubv1.DiskMetrics{Device: cleanText(kind.label), ReadBytesTotal: pointer(d.readBytes), WrittenBytesTotal: pointer(d.writtenBytes)}
		before, seen := c.before.byName[key]
		if seen {
			diskRates(metrics, before, d, elapsed)
		}
		if kind.physical {
			read.add(metrics.ReadBytesPerSecond, seen)
			written.add(metrics.WrittenBytesPerSecond, seen)
		}
		if reported {
			disks = append(disks, metrics)
		}
	}
	c.before.keep(now, current)
	if len(c.kinds) > 2*len(counters)+16 { // devices come and go; forget the gone ones now and then
		clear(c.kinds)
	}
	sample.Disks = bounded(disks)
	sample.Host.DisksReadBytesPerSecond = read.total()
	sample.Host.DisksWrittenBytesPerSecond = written.total()
	return nil
}

// diskRates fills the rates between two readings, none of them if any counter went down: it is another device then.
func diskRates(into *gohubv1.DiskMetrics, before, now diskCounters, elapsed time.Duration) {
	if now.reads < before.reads || now.writes < before.writes || now.readBytes < before.readBytes || now.writtenBytes < before.writtenBytes {
		return
	}
	into.ReadBytesPerSecond = rate(before.readBytes, now.readBytes, elapsed)
	into.WrittenBytesPerSecond = rate(before.writtenBytes, now.writtenBytes, elapsed)
	into.ReadsPerSecond = rate(before.reads, now.reads, elapsed)
	into.WritesPerSecond = rate(before.writes, now.writes, elapsed)
	if busy, ok := growth32(before.busyMillis, now.busyMillis); ok && now.hasBusy && elapsed >= minElapsed {
		into.BusyPercent = percentOf(float64(busy), float64(elapsed)/float64(time.Millisecond))
	}
}

package agent

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// diskSource reads /proc/diskstats itself: gopsutil opens several files of sysfs and udev for every device each time.
type diskSource struct {
	diskstats keptFile
	disks     []diskCounters
}

func (s *diskSource) close() { s.diskstats.close() }

func (s *diskSource) read(_ context.Context, m *machine) ([]diskCounters, error) {
	data, err := s.diskstats.read(m.proc, "diskstats")
	if err != nil {
		return nil, err
	}
	disks, err := parseDiskstats(data, s.disks)
	s.disks = disks
	return disks, err
}

// virtualDisk matches devices that pass their traffic on to others, or hold it in memory.
var virtualDisk = regexp.MustCompile(`^((loop|ram|zram|fd|sr|md|dm-|drbd|zd|bcache)\d+.*|nvme\d+c\d+n\d+)$`)

// classifyDisk asks sysfs what a device is. Where sysfs is not there, as in some containers, a device is a partition if
// another one is named like it up to the number.
func classifyDisk(m *machine, d diskCounters, all []diskCounters) diskKind {
	kind := diskKind{label: d.name}
	block := filepath.Join(m.sys, "block")
	directory := filepath.Join(block, strings.ReplaceAll(d.name, "/", "!"))
	if _, err := os.Stat(block); err != nil {
		for _, other := range all {
			rest, found := strings.CutPrefix(d.name, other.name)
			rest = strings.TrimPrefix(rest, "p")
			if found && rest != "" && strings.Trim(rest, "0123456789") == "" {
				kind.partition = true
			}
		}
	} else if _, err := os.Stat(directory); err != nil {
		kind.partition = true
	}
	if name, err := readFile(filepath.Join(directory, "dm", "name")); err == nil {
		kind.label = strings.TrimSpace(string(name)) // as "vg0-root": dm-3 may be another volume after the next boot
	}
	slaves, _ := os.ReadDir(filepath.Join(directory, "slaves"))
	kind.physical = !kind.partition && len(slaves) == 0 && !virtualDisk.MatchString(d.name)
	return kind
}

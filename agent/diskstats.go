package agent

import (
	"bytes"
	"fmt"
	"strconv"
)

// diskCounters is what a block device has done since it appeared.
type diskCounters struct {
	name                    string
	number                  string // "major:minor" on Linux
	reads, writes           uint64
	readBytes, writtenBytes uint64
	// busyMillis is the time with a request outstanding; the kernel keeps it in 32 bits. hasBusy is false where the
	// system does not tell.
	busyMillis uint64
	hasBusy    bool
}

// sectorBytes is the unit of /proc/diskstats, whatever the device's own sector size.
const sectorBytes = 512

// parseDiskstats reads /proc/diskstats (see the kernel's Documentation/admin-guide/iostats.rst). Lines with fewer than 14
// fields, which old kernels write for partitions, are left out.
func parseDiskstats(data []byte) ([]diskCounters, error) {
	var disks []diskCounters
	var field [14][]byte
	for line := range bytes.Lines(data) {
		if splitFields(line, field[:]) < len(field) {
			continue
		}
		d := diskCounters{name: string(field[2]), number: string(field[0]) + ":" + string(field[1]), hasBusy: true}
		for _, want := range []struct {
			index int
			unit  uint64
			into  *uint64
		}{
			{3, 1, &d.reads}, {5, sectorBytes, &d.readBytes}, {7, 1, &d.writes}, {9, sectorBytes, &d.writtenBytes}, {12, 1, &d.busyMillis},
		} {
			n, err := strconv.ParseUint(string(field[want.index]), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("diskstats of %.40q: field %d: %w", d.name, want.index+1, err)
			}
			*want.into = n * want.unit
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// splitFields puts the first len(into) blank-separated fields of the line into the slice and returns how many there were.
func splitFields(line []byte, into [][]byte) int {
	n := 0
	for n < len(into) {
		start := 0
		for start < len(line) && isBlank(line[start]) {
			start++
		}
		end := start
		for end < len(line) && !isBlank(line[end]) {
			end++
		}
		if start == end {
			break
		}
		into[n] = line[start:end]
		n++
		line = line[end:]
	}
	return n
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

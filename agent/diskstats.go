package agent

import (
	"bytes"
	"fmt"
)

// diskCounters is what a block device has done since it appeared.
type diskCounters struct {
	name                    string
	number                  string // "major:minor" on Linux
	key                     string // both: a name may be given to another device
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
// fields, which old kernels write for partitions, are left out. The result takes the place of the one before, whose names
// it uses again.
func parseDiskstats(data []byte, before []diskCounters) ([]diskCounters, error) {
	disks := before[:0]
	var field [14][]byte
	for line := range bytes.Lines(data) {
		if splitFields(line, field[:]) < len(field) {
			continue
		}
		var value [14]uint64
		for _, i := range [...]int{3, 5, 7, 9, 12} {
			n, ok := parseDecimal(field[i])
			if !ok {
				return nil, fmt.Errorf("diskstats of %.40q: field %d is %.40q, not a number", field[2], i+1, field[i])
			}
			value[i] = n
		}
		d := diskCounters{
			reads: value[3], readBytes: times(value[5], sectorBytes), writes: value[7], writtenBytes: times(value[9], sectorBytes),
			busyMillis: value[12], hasBusy: true,
		}
		if i := len(disks); i < len(before) && before[i].name == string(field[2]) && before[i].number == string(field[0])+":"+string(field[1]) {
			d.name, d.number, d.key = before[i].name, before[i].number, before[i].key
		} else {
			d.name, d.number = string(field[2]), string(field[0])+":"+string(field[1])
			d.key = d.number + " " + d.name
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

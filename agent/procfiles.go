package agent

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// These parsers read the texts of /proc as gopsutil does, and fill its types, but from bytes that are there already:
// without a string a line and a field.

// parseCPUTimes reads the lines of single CPUs from /proc/stat (proc_stat(5)). The result takes the place of the one
// before, whose names it uses again.
func parseCPUTimes(data []byte, before []cpu.TimesStat) ([]cpu.TimesStat, error) {
	times := before[:0]
	var field [11][]byte
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(line, []byte("cpu")) {
			break
		}
		n := splitFields(line, field[:])
		if string(field[0]) == "cpu" { // all of them together
			continue
		}
		if n < 8 {
			return nil, fmt.Errorf("stat line %.80q is cut short", line)
		}
		var t cpu.TimesStat
		for i, into := range [...]*float64{&t.User, &t.Nice, &t.System, &t.Idle, &t.Iowait, &t.Irq, &t.Softirq, &t.Steal, &t.Guest, &t.GuestNice} {
			if i+1 >= n { // an old kernel tells no more
				break
			}
			ticks, ok := parseDecimal(field[i+1])
			if !ok {
				return nil, fmt.Errorf("stat of %s: field %d is %.40q, not a number", field[0], i+2, field[i+1])
			}
			*into = float64(ticks) / cpu.ClocksPerSec
		}
		if i := len(times); i < len(before) && before[i].CPU == string(field[0]) {
			t.CPU = before[i].CPU
		} else {
			t.CPU = string(field[0])
		}
		times = append(times, t)
	}
	return times, nil
}

// errNoAvailable says that the kernel is too old (before 3.14) to estimate the memory that is available.
var errNoAvailable = errors.New("meminfo has no MemAvailable")

// parseMeminfo reads what the agent uses of /proc/meminfo (proc_meminfo(5)). As in gopsutil, Cached holds Sreclaimable too.
func parseMeminfo(data []byte) (m mem.VirtualMemoryStat, err error) {
	available := false
	var field [1][]byte
	for line := range bytes.Lines(data) {
		name, rest, found := bytes.Cut(line, []byte{':'})
		if !found {
			continue
		}
		var into *uint64
		switch string(name) {
		case "MemTotal":
			into = &m.Total
		case "MemFree":
			into = &m.Free
		case "MemAvailable":
			into, available = &m.Available, true
		case "Buffers":
			into = &m.Buffers
		case "Cached":
			into = &m.Cached
		case "SReclaimable":
			into = &m.Sreclaimable
		case "SwapTotal":
			into = &m.SwapTotal
		case "SwapFree":
			into = &m.SwapFree
		default:
			continue
		}
		splitFields(rest, field[:])
		kilobytes, ok := parseDecimal(field[0])
		if !ok || kilobytes > 1<<53 {
			return m, fmt.Errorf("meminfo: %s is %.40q, not a size", name, rest)
		}
		*into = kilobytes << 10
	}
	m.Cached += m.Sreclaimable
	if !available {
		return m, errNoAvailable
	}
	return m, nil
}

// parseLoadavg reads /proc/loadavg: three averages, then what is not used.
func parseLoadavg(data []byte) (averages [3]float64, err error) {
	var field [3][]byte
	splitFields(data, field[:])
	for i := range averages {
		averages[i], err = strconv.ParseFloat(string(field[i]), 64)
		if err != nil || !(averages[i] >= 0 && averages[i] < 1e9) {
			return averages, fmt.Errorf("loadavg %.80q does not begin with three averages", data)
		}
	}
	return averages, nil
}

// parseNetDev reads /proc/net/dev: after two lines of headings, an interface a line. The result takes the place of the one
// before, whose names it uses again.
func parseNetDev(data []byte, before []net.IOCountersStat) ([]net.IOCountersStat, error) {
	counters := before[:0]
	var field [16][]byte
	for line := range bytes.Lines(data) {
		colon := bytes.LastIndexByte(line, ':') // a name may hold one, a number may not
		if colon < 0 {
			continue // a heading
		}
		name := bytes.TrimSpace(line[:colon])
		if len(name) == 0 {
			continue
		}
		if splitFields(line[colon+1:], field[:]) < 12 {
			return nil, fmt.Errorf("net/dev line %.80q is cut short", line)
		}
		var n net.IOCountersStat
		for _, want := range [...]struct {
			index int
			into  *uint64
		}{
			{0, &n.BytesRecv},
			{1, &n.PacketsRecv},
			{2, &n.Errin},
			{3, &n.Dropin},
			{8, &n.BytesSent},
			{9, &n.PacketsSent},
			{10, &n.Errout},
			{11, &n.Dropout},
		} {
			var ok bool
			if *want.into, ok = parseDecimal(field[want.index]); !ok {
				return nil, fmt.Errorf("net/dev of %.40q: column %d is %.40q, not a number", name, want.index+1, field[want.index])
			}
		}
		if i := len(counters); i < len(before) && before[i].Name == string(name) {
			n.Name = before[i].Name
		} else {
			n.Name = string(name)
		}
		counters = append(counters, n)
	}
	return counters, nil
}

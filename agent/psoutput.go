package agent

import (
	"strconv"
	"strings"
	"time"
)

// psLine is one process as ps tells it.
type psLine struct {
	pid      uint32
	resident uint64 // bytes
	cpu      time.Duration
	command  string
}

// parsePS reads the output of macOS' `ps -Axo pid=,rss=,time=,comm=`. Lines that are not understood are left out.
func parsePS(output string) []psLine {
	var list []psLine
	for line := range strings.Lines(output) {
		rest := line
		var columns [3]string
		for i := range columns {
			rest = strings.TrimLeft(rest, " ")
			columns[i], rest, _ = strings.Cut(rest, " ")
		}
		pid, err1 := strconv.ParseUint(columns[0], 10, 32)
		kilobytes, err2 := strconv.ParseUint(columns[1], 10, 53)
		cpu, ok := parsePSTime(columns[2])
		command := strings.TrimSpace(rest)
		if err1 != nil || err2 != nil || !ok || command == "" {
			continue
		}
		list = append(list, psLine{pid: uint32(pid), resident: kilobytes * 1024, cpu: cpu, command: command[strings.LastIndexByte(command, '/')+1:]})
	}
	return list
}

// parsePSTime reads minutes:seconds.hundredths, hours:minutes:seconds or days-hours:minutes:seconds.
func parsePSTime(text string) (time.Duration, bool) {
	const longest = 1 << 30 // of a part; keeps the sum within a Duration
	var days uint64
	if before, after, found := strings.Cut(text, "-"); found {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, false
		}
		days, text = n, after
	}
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	var minutes uint64
	for _, part := range parts[:len(parts)-1] {
		n, err := strconv.ParseUint(part, 10, 24)
		if err != nil {
			return 0, false
		}
		minutes = minutes*60 + n
	}
	if minutes > longest {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(strings.Replace(parts[len(parts)-1], ",", ".", 1), 64) // some locales
	if err != nil || !(seconds >= 0 && seconds < longest) {
		return 0, false
	}
	return time.Duration(days)*24*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds*float64(time.Second)).Round(10*time.Millisecond), true
}

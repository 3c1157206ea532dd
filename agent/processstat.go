package agent

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, 100 a second on every architecture that Go runs on.
const clockTick = time.Second / 100

// processStat is what the agent uses of /proc/PID/stat. name points into the parsed data.
type processStat struct {
	pid           uint32
	name          []byte
	cpu           time.Duration
	start         uint64 // in clock ticks since boot
	residentPages uint64
}

// parseProcessStat reads /proc/PID/stat (proc_pid_stat(5)). The name may hold anything, blanks and parentheses too, so it
// reaches from the first opening to the last closing parenthesis.
func parseProcessStat(data []byte) (processStat, error) {
	var s processStat
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return s, fmt.Errorf("process stat %.80q has no name", data)
	}
	pid, ok := parseDecimal(bytes.TrimSpace(data[:open]))
	if !ok || pid > 1<<32-1 {
		return s, fmt.Errorf("process stat %.80q has no pid", data)
	}
	s.pid = uint32(pid)
	s.name = workerName(data[open+1 : end])
	// Fields by their number in the manual page; the third is the first after the name.
	const userTime, systemTime, startTime, rss, first = 14, 15, 22, 24, 3
	var field [rss - first + 1][]byte
	if splitFields(data[end+1:], field[:]) < len(field) {
		return s, fmt.Errorf("process stat of %d is cut short", pid)
	}
	user, ok1 := parseDecimal(field[userTime-first])
	system, ok2 := parseDecimal(field[systemTime-first])
	started, ok3 := parseDecimal(field[startTime-first])
	resident, ok4 := parseDecimal(field[rss-first])
	const longest = uint64(1<<63-1) / uint64(clockTick)
	if !ok1 || !ok2 || !ok3 || !ok4 || user > longest || system > longest-user {
		return s, fmt.Errorf("process stat of %d has a field that is not a number", pid)
	}
	s.cpu = time.Duration(user+system) * clockTick
	s.start = started
	s.residentPages = resident
	return s, nil
}

// workerName is the name of a worker thread of the kernel without the work that it is at, which is another one each time: the kernel
// tells it as kworker/0:1-events or kworker/u8:2+flush-254:0 (wq_worker_comm). Other names, as kworker/R-rcu_gp, are not changed.
func workerName(name []byte) []byte {
	worker, found := bytes.CutPrefix(name, []byte("kworker/"))
	if !found || len(worker) == 0 || worker[0] != 'u' && (worker[0] < '0' || worker[0] > '9') {
		return name
	}
	if work := bytes.IndexAny(worker, "-+"); work > 0 {
		return name[:len(name)-len(worker)+work]
	}
	return name
}

// parseDecimal reads an unsigned number without an allocation.
func parseDecimal(digits []byte) (uint64, bool) {
	if len(digits) == 0 || len(digits) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// parseStatusUID reads the effective user id from /proc/PID/status: the second of "Uid: real effective saved filesystem".
func parseStatusUID(data []byte) (string, error) {
	for line := range bytes.Lines(data) {
		rest, found := bytes.CutPrefix(line, []byte("Uid:"))
		if !found {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) < 2 {
			break
		}
		if _, err := strconv.ParseUint(string(fields[1]), 10, 32); err != nil {
			return "", fmt.Errorf("process status: uid: %w", err)
		}
		return string(fields[1]), nil
	}
	return "", fmt.Errorf("process status has no uid")
}

// fullName is the program's name where the kernel cut it at 15 bytes: the last part of the first argument, if it begins
// with what the kernel kept.
func fullName(short string, commandLine []byte) string {
	const kept = 15
	if len(short) < kept {
		return short
	}
	first, _, _ := bytes.Cut(commandLine, []byte{0})
	first = first[bytes.LastIndexByte(first, '/')+1:]
	if bytes.HasPrefix(first, []byte(short)) {
		return string(first)
	}
	return short
}

// parsePasswd finds a user's name in the text of /etc/passwd.
func parsePasswd(data []byte, uid string) (string, bool) {
	for line := range bytes.Lines(data) {
		fields := bytes.SplitN(line, []byte(":"), 4)
		if len(fields) == 4 && string(fields[2]) == uid && len(fields[0]) > 0 && fields[0][0] != '#' {
			return string(fields[0]), true
		}
	}
	return "", false
}

package measure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc: Linux shows them in hundredths of a second on every architecture.
const tick = 10 * time.Millisecond

// OwnCPU is the CPU time that this process has used.
func OwnCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// stat is what /proc/PID/stat tells: the parent, the CPU time of the process, and that of its children that ended.
type stat struct {
	parent        int
	own, children time.Duration
}

func readStat(pid int) (stat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(content)
}

func parseStat(content []byte) (s stat, err error) {
	// The name may hold spaces and parentheses: the fields begin after the last one.
	end := bytes.LastIndexByte(content, ')')
	fields := strings.Fields(string(content[end+1:]))
	if end < 0 || len(fields) < 15 {
		return s, fmt.Errorf("unexpected /proc stat: %q", content)
	}
	number := func(place int) int64 {
		value, failure := strconv.ParseInt(fields[place], 10, 64)
		if failure != nil {
			err = failure
		}
		return value
	}
	// Of `man 5 proc_pid_stat` the fields 4 (ppid), 14 and 15 (utime, stime), 16 and 17 (cutime, cstime).
	s.parent = int(number(1))
	s.own = time.Duration(number(11)+number(12)) * tick
	s.children = time.Duration(number(13)+number(14)) * tick
	return s, err
}

// CPU is the CPU time that a process has used, without its children.
func CPU(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, fmt.Errorf("read a process's CPU time: %w", err)
	}
	return s.own, nil
}

// TreeCPU is the CPU time of a process, of its children that run, and of those that it has waited for.
func TreeCPU(pid int) (time.Duration, error) {
	root, err := readStat(pid)
	if err != nil {
		return 0, fmt.Errorf("read a process's CPU time: %w", err)
	}
	total := root.own + root.children
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if s, err := readStat(child); err == nil && s.parent == pid { // others ended meanwhile
			total += s.own + s.children
		}
	}
	return total, nil
}

// Parent is the process's parent.
func Parent(pid int) (int, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, fmt.Errorf("read a process's parent: %w", err)
	}
	return s.parent, nil
}

// ResidentBytes is the physical memory that a process uses.
func ResidentBytes(pid int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		return 0, fmt.Errorf("unexpected /proc statm: %q", content)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// RaiseFileLimit lets this process and those that it starts open as many files as they may.
func RaiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

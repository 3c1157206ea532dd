package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxOpenStats bounds the files that are kept open. Processes over it are opened each time.
const maxOpenStats = 512

// processSource reads one file a process, /proc/PID/stat, with bare system calls, and keeps it open: finding the file
// costs more than reading it. A file of a process that ended cannot be read, so that a pid that is used again is noticed.
// (gopsutil reads several files a process: fifteen times the cost and more.)
type processSource struct {
	buffer []byte
	open   map[string]*openStat // by pid
	scans  uint64
	names  map[processKey]string // of the previous scan, so that a name is allocated once in a process' life
	spare  map[processKey]string
}

// openStat is an open /proc/PID/stat.
type openStat struct {
	fd   int
	scan uint64 // the last one that listed the process
}

var pageSize = uint64(os.Getpagesize())

func (s *processSource) scan(_ context.Context, m *machine) (processScan, error) {
	directory, err := os.Open(m.proc)
	if err != nil {
		return processScan{}, err
	}
	defer directory.Close()
	entries, err := directory.Readdirnames(-1)
	if err != nil {
		return processScan{}, fmt.Errorf("read %s: %w", m.proc, err)
	}
	// Before the processes are read: one that starts meanwhile is new to the next scan too.
	clock, err := bootTicks()
	if err != nil {
		return processScan{}, fmt.Errorf("read the boot clock: %w", err)
	}
	if s.buffer == nil {
		s.buffer = make([]byte, 4096) // a stat is some 300 bytes, 60 numbers of 20 digits at most
		s.names, s.spare = make(map[processKey]string), make(map[processKey]string)
		s.open = make(map[string]*openStat)
	}
	scan := processScan{processes: make([]process, 0, len(entries)), clock: clock}
	names := s.spare
	clear(names)
	s.scans++
	for _, entry := range entries {
		if entry[0] < '1' || entry[0] > '9' {
			continue
		}
		scan.total++
		stat, err := s.read(int(directory.Fd()), entry)
		if err != nil {
			continue // it ended meanwhile
		}
		key := processKey{pid: stat.pid, start: stat.start}
		name, known := s.names[key]
		if !known || name != string(stat.name) {
			name = string(stat.name)
		}
		names[key] = name
		scan.processes = append(scan.processes, process{key: key, name: name, cpu: stat.cpu, resident: stat.residentPages * pageSize})
	}
	s.names, s.spare = names, s.names
	for pid, file := range s.open {
		if file.scan != s.scans {
			s.forget(pid, file)
		}
	}
	return scan, nil
}

func (s *processSource) close() {
	for pid, file := range s.open {
		s.forget(pid, file)
	}
}

func (s *processSource) forget(pid string, file *openStat) {
	_ = unix.Close(file.fd) // read only: nothing to lose
	delete(s.open, pid)
}

func (s *processSource) read(directory int, pid string) (processStat, error) {
	if file, open := s.open[pid]; open {
		file.scan = s.scans
		if n, err := unix.Pread(file.fd, s.buffer, 0); err == nil && n > 0 { // the kernel gives it whole
			return parseProcessStat(s.buffer[:n])
		}
		s.forget(pid, file)
	}
	fd, err := unix.Openat(directory, pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return processStat{}, err
	}
	if len(s.open) < maxOpenStats {
		s.open[pid] = &openStat{fd: fd, scan: s.scans}
	} else {
		defer unix.Close(fd)
	}
	n, err := unix.Pread(fd, s.buffer, 0)
	if err != nil {
		return processStat{}, err
	}
	return parseProcessStat(s.buffer[:n])
}

// bootTicks is the time since boot, suspends included, in the unit of start times.
func bootTicks() (uint64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, err
	}
	return uint64(time.Duration(t.Nano()) / clockTick), nil
}

// processDetails returns the full name of a process and its uid, "" where it cannot be known.
func processDetails(m *machine, p *process) (name, uid string) {
	directory := filepath.Join(m.proc, strconv.FormatUint(uint64(p.key.pid), 10))
	name = p.name
	if commandLine, err := readFile(filepath.Join(directory, "cmdline")); err == nil {
		name = fullName(name, commandLine)
	}
	if status, err := readFile(filepath.Join(directory, "status")); err == nil {
		uid, _ = parseStatusUID(status)
	}
	return name, uid
}

func lookupUser(m *machine, uid string) (string, error) {
	if m.root != "/" { // the machine's users, not the container's
		data, err := os.ReadFile(filepath.Join(m.root, "etc/passwd"))
		if err != nil {
			return "", err
		}
		if name, found := parsePasswd(data, uid); found {
			return name, nil
		}
		return "", errors.New("no such user")
	}
	u, err := user.LookupId(uid)
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

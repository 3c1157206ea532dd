package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	directory int // /proc, 0 is not open
	entries   []byte
	buffer    []byte
	known     map[uint32]*knownProcess // by pid
	openFiles int
	scans     uint64
	processes []process
}

// knownProcess is what is kept of a process from scan to scan.
type knownProcess struct {
	fd   int    // of /proc/PID/stat, -1 if it is not kept open
	name string // so that it is allocated once in a process' life
	scan uint64 // the last one that listed the process
}

var pageSize = uint64(os.Getpagesize())

// scan returns the processes, good until the next scan.
func (s *processSource) scan(_ context.Context, m *machine) (processScan, error) {
	if s.known == nil {
		s.buffer = make([]byte, 4096) // a stat is some 300 bytes, 60 numbers of 20 digits at most
		s.known = make(map[uint32]*knownProcess)
	}
	// Before the processes are read: one that starts meanwhile is new to the next scan too.
	clock, err := bootTicks()
	if err != nil {
		return processScan{}, fmt.Errorf("read the boot clock: %w", err)
	}
	scan := processScan{processes: s.processes[:0], clock: clock}
	s.scans++
	scan.total, err = s.each(m, func(pid uint32) {
		stat, known, err := s.read(pid)
		if err != nil {
			return // it ended meanwhile
		}
		if known.name != string(stat.name) {
			known.name = string(stat.name)
		}
		key := processKey{pid: stat.pid, start: stat.start}
		scan.processes = append(scan.processes, process{key: key, name: known.name, cpu: stat.cpu, resident: stat.residentPages * pageSize})
	})
	if err != nil {
		return processScan{}, err
	}
	for pid, known := range s.known {
		if known.scan != s.scans {
			s.forget(pid, known)
		}
	}
	s.processes = scan.processes
	return scan, nil
}

// count returns how many processes there are, at a tenth of the cost of a scan.
func (s *processSource) count(_ context.Context, m *machine) (uint32, error) {
	return s.each(m, func(uint32) {})
}

// each visits the processes, and returns how many there are.
func (s *processSource) each(m *machine, visit func(pid uint32)) (total uint32, err error) {
	if s.entries == nil {
		s.entries = make([]byte, 8<<10) // 250 processes a call
	}
	if err := s.rewind(m.proc); err != nil {
		return 0, err
	}
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(s.directory, s.entries) })
		if err != nil {
			s.closeDirectory()
			return 0, &fs.PathError{Op: "list", Path: m.proc, Err: err}
		}
		if n == 0 {
			return total, nil
		}
		eachEntry(s.entries[:n], func(name []byte) {
			if pid, ok := parseDecimal(name); ok && pid != 0 && pid <= 1<<32-1 {
				total++
				visit(uint32(pid))
			}
		})
	}
}

// rewind makes the next Getdents begin with the first entry of the directory.
func (s *processSource) rewind(path string) error {
	if s.directory > 0 {
		if _, err := unix.Seek(s.directory, 0, io.SeekStart); err == nil {
			return nil
		}
		s.closeDirectory()
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	s.directory = fd
	return nil
}

// eachEntry visits the names in what Getdents returned: records of a number (8 bytes), an offset (8), the record's length
// (2), a type (1), and the name up to a zero. They are laid out the same on every architecture.
func eachEntry(entries []byte, visit func(name []byte)) {
	const lengthAt, nameAt = 16, 19
	for len(entries) > nameAt {
		length := int(binary.NativeEndian.Uint16(entries[lengthAt:]))
		if length <= nameAt || length > len(entries) {
			return
		}
		name, _, _ := bytes.Cut(entries[nameAt:length], []byte{0})
		visit(name)
		entries = entries[length:]
	}
}

func (s *processSource) close() {
	for pid, known := range s.known {
		s.forget(pid, known)
	}
	s.closeDirectory()
}

func (s *processSource) closeDirectory() {
	if s.directory > 0 {
		_ = unix.Close(s.directory) // read only: nothing to lose
		s.directory = 0
	}
}

func (s *processSource) forget(pid uint32, known *knownProcess) {
	s.closeFile(known)
	delete(s.known, pid)
}

func (s *processSource) closeFile(known *knownProcess) {
	if known.fd >= 0 {
		_ = unix.Close(known.fd) // read only: nothing to lose
		known.fd = -1
		s.openFiles--
	}
}

func (s *processSource) read(pid uint32) (processStat, *knownProcess, error) {
	known := s.known[pid]
	if known == nil {
		known = &knownProcess{fd: -1}
		s.known[pid] = known
	}
	known.scan = s.scans
	if known.fd >= 0 {
		if n, err := unix.Pread(known.fd, s.buffer, 0); err == nil && n > 0 { // the kernel gives it whole
			stat, err := parseProcessStat(s.buffer[:n])
			return stat, known, err
		}
		s.closeFile(known)
	}
	fd, err := unix.Openat(s.directory, strconv.FormatUint(uint64(pid), 10)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return processStat{}, nil, err
	}
	if s.openFiles < maxOpenStats {
		known.fd = fd
		s.openFiles++
	} else {
		defer unix.Close(fd) // read only: nothing to lose
	}
	n, err := unix.Pread(fd, s.buffer, 0)
	if err != nil {
		return processStat{}, nil, err
	}
	stat, err := parseProcessStat(s.buffer[:n])
	return stat, known, err
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

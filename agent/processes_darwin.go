package agent

import (
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processSource joins the kernel's process table, which has start times and users, with one run of ps, which is allowed
// to see every process' CPU time and memory. gopsutil would run ps for each process.
type processSource struct{}

func (*processSource) close() {}

func (*processSource) scan(ctx context.Context, m *machine) (processScan, error) {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return processScan{}, fmt.Errorf("read the process table: %w", err)
	}
	scan := processScan{total: uint32(len(table)), clock: uint64(m.now().UnixMicro())}
	entries := make(map[uint32]*unix.KinfoProc, len(table))
	for i := range table {
		entries[uint32(table[i].Proc.P_pid)] = &table[i]
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, "/bin/ps", "-Axo", "pid=,rss=,time=,comm=").Output()
	if err != nil {
		return processScan{}, fmt.Errorf("run ps: %w", err)
	}
	for _, line := range parsePS(string(output)) {
		entry, known := entries[line.pid]
		if !known {
			continue // started since the table was read
		}
		scan.processes = append(scan.processes, process{
			key:      processKey{pid: line.pid, start: uint64(entry.Proc.P_starttime.Sec)*1e6 + uint64(entry.Proc.P_starttime.Usec)},
			name:     line.command,
			cpu:      line.cpu,
			resident: line.resident,
			uid:      strconv.FormatUint(uint64(entry.Eproc.Ucred.Uid), 10),
		})
	}
	return scan, nil
}

func (*processSource) count(context.Context, *machine) (uint32, error) {
	table, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return 0, fmt.Errorf("read the process table: %w", err)
	}
	return uint32(len(table)), nil
}

func processDetails(_ *machine, p *process) (name, uid string) { return p.name, p.uid }

func lookupUser(_ *machine, uid string) (string, error) {
	u, err := user.LookupId(uid)
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

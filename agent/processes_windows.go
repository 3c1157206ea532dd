package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// processSource asks the kernel for all processes in one call; gopsutil opens each of them several times.
type processSource struct{ buffer []uint64 } // uint64 for the alignment that the kernel wants

const filetimeTick = 100 * time.Nanosecond

func (*processSource) close() {}

func (s *processSource) scan(context.Context, *machine) (processScan, error) {
	if s.buffer == nil {
		s.buffer = make([]uint64, 64<<10/8)
	}
	for {
		var needed uint32
		size := len(s.buffer) * 8
		err := windows.NtQuerySystemInformation(windows.SystemProcessInformation, unsafe.Pointer(&s.buffer[0]), uint32(size), &needed)
		if err == nil {
			break
		}
		if !errors.Is(err, windows.STATUS_INFO_LENGTH_MISMATCH) && !errors.Is(err, windows.STATUS_BUFFER_TOO_SMALL) {
			return processScan{}, fmt.Errorf("query system processes: %w", err)
		}
		if size >= 64<<20 {
			return processScan{}, errors.New("query system processes: the list is larger than 64 MiB")
		}
		s.buffer = make([]uint64, max(2*len(s.buffer), int(needed)/8+1024))
	}
	var now windows.Filetime
	windows.GetSystemTimeAsFileTime(&now)
	scan := processScan{clock: uint64(now.HighDateTime)<<32 | uint64(now.LowDateTime)}
	base, size := unsafe.Pointer(&s.buffer[0]), uintptr(len(s.buffer)*8)
	for offset := uintptr(0); offset+unsafe.Sizeof(windows.SYSTEM_PROCESS_INFORMATION{}) <= size; {
		p := (*windows.SYSTEM_PROCESS_INFORMATION)(unsafe.Add(base, offset))
		if p.UniqueProcessID != 0 { // 0 is the idle process
			name := "System"
			if p.ImageName.Length > 0 {
				name = p.ImageName.String()
			}
			scan.total++
			scan.processes = append(scan.processes, process{
				key:      processKey{pid: uint32(p.UniqueProcessID), start: uint64(p.CreateTime)},
				name:     name,
				cpu:      time.Duration(p.UserTime+p.KernelTime) * filetimeTick,
				resident: uint64(p.WorkingSetSize),
			})
		}
		if p.NextEntryOffset == 0 {
			break
		}
		offset += uintptr(p.NextEntryOffset)
	}
	return scan, nil
}

// count costs what a scan does: the kernel has one call for both.
func (s *processSource) count(ctx context.Context, m *machine) (uint32, error) {
	scan, err := s.scan(ctx, m)
	return scan.total, err
}

// processDetails returns the name of a process and the SID of its user, "" where the agent may not ask.
func processDetails(_ *machine, p *process) (name, sid string) {
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, p.key.pid)
	if err != nil {
		return p.name, ""
	}
	defer windows.CloseHandle(handle)
	var token windows.Token
	if err := windows.OpenProcessToken(handle, windows.TOKEN_QUERY, &token); err != nil {
		return p.name, ""
	}
	defer token.Close()
	owner, err := token.GetTokenUser()
	if err != nil {
		return p.name, ""
	}
	return p.name, owner.User.Sid.String()
}

func lookupUser(_ *machine, sid string) (string, error) {
	parsed, err := windows.StringToSid(sid)
	if err != nil {
		return "", err
	}
	account, domain, _, err := parsed.LookupAccount("")
	if err != nil {
		return "", err
	}
	if domain != "" {
		account = domain + `\` + account
	}
	return account, nil
}

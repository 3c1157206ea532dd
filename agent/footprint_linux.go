package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mapping is a range of this process's memory.
type mapping struct{ start, end uintptr }

// unmapProgram takes the pages of the program's code and constants out of this process's memory. They stay in the page
// cache, from which an access maps them again.
func unmapProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program's file: %w", err)
	}
	file, err := os.Open("/proc/self/smaps") // the agent's own; not that of the machine, which may be mounted elsewhere
	if err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	mappings, err := cleanMappings(file, program)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	for _, m := range mappings {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("unmap %d bytes of the program: %w", m.end-m.start, errno)
		}
	}
	return nil
}

// cleanMappings returns from a text as /proc/self/smaps the mappings of the file that hold nothing but what the file
// holds: not writable, and without a private page, as relocation leaves behind. To drop such a page would lose it.
func cleanMappings(smaps io.Reader, file string) ([]mapping, error) {
	var (
		mappings []mapping
		at       mapping
		ours     bool
	)
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "Anonymous:" {
			if ours && fields[1] == "0" {
				mappings = append(mappings, at)
			}
			continue
		}
		if len(fields) < 5 || len(fields[1]) != 4 { // a head is: range, permissions, offset, device, inode, path
			continue
		}
		first, last, ranged := strings.Cut(fields[0], "-")
		start, startErr := strconv.ParseUint(first, 16, 64)
		end, endErr := strconv.ParseUint(last, 16, 64)
		if !ranged || startErr != nil || endErr != nil {
			continue
		}
		at = mapping{start: uintptr(start), end: uintptr(end)}
		ours = fields[1][0] == 'r' && fields[1][1] == '-' && fields[1][3] == 'p' && strings.HasSuffix(line, " "+file)
	}
	return mappings, lines.Err()
}

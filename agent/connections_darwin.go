package agent

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// connectionSource asks netstat for TCP (the system has no summary by state) and sysctl for UDP. gopsutil would run lsof,
// which walks every process's files.
type connectionSource struct{}

func (connectionSource) close() {}

func (connectionSource) count(ctx context.Context, _ *machine) (connectionCounts, error) {
	var counts connectionCounts
	udp, udpErr := unix.SysctlUint32("net.inet.udp.pcbcount")
	if udpErr == nil {
		counts.udp = &udp
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, "/usr/sbin/netstat", "-an", "-p", "tcp").Output()
	if err == nil {
		connections, established, listening := parseNetstat(string(output))
		counts.tcp, counts.established, counts.listening = &connections, &established, &listening
	}
	return counts, errors.Join(err, udpErr)
}

package agent

import (
	"context"

	"github.com/shirou/gopsutil/v3/net"
)

// connectionSource counts the system's tables of TCP and UDP sockets, each of which is one call here.
type connectionSource struct{}

func (connectionSource) close() {}

func (connectionSource) count(ctx context.Context, _ *machine) (connectionCounts, error) {
	tcp, err := net.ConnectionsWithContext(ctx, "tcp")
	if err != nil {
		return connectionCounts{}, err
	}
	var connections, established, listening uint32
	for _, connection := range tcp {
		switch connection.Status {
		case "LISTEN":
			listening++
			continue
		case "ESTABLISHED":
			established++
		}
		connections++
	}
	counts := connectionCounts{tcp: &connections, established: &established, listening: &listening}
	udp, err := net.ConnectionsWithContext(ctx, "udp")
	if err != nil {
		return counts, err
	}
	counts.udp = pointer(uint32(len(udp)))
	return counts, nil
}

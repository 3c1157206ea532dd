package agent

import (
	"context"
	"fmt"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// connectionCollector counts TCP and UDP sockets, from summaries that the kernel keeps. Listing every connection, as
// gopsutil does by way of every process's open files, costs tens of milliseconds on an idle machine.
type connectionCollector struct {
	machine *machine
	source  connectionSource
}

// connectionCounts is how many sockets there are; a nil count is not known.
type connectionCounts struct {
	tcp, established, listening, udp *uint32
}

func newConnectionCollector(m *machine) *connectionCollector { return &connectionCollector{machine: m} }

func (c *connectionCollector) close() { c.source.close() }

func (*connectionCollector) name() string { return "connections" }

func (c *connectionCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	counts, err := c.source.count(ctx, c.machine)
	host := sample.Host
	host.TcpConnections = counts.tcp
	host.TcpEstablishedConnections = counts.established
	host.TcpListeningSockets = counts.listening
	host.UdpSockets = counts.udp
	if err != nil {
		return fmt.Errorf("count connections: %w", unsupported(err))
	}
	return nil
}

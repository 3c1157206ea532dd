package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v3/net"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// interfaceKindsFor is for how many samples the answer to "is this interface physical" is kept: it changes when an
// interface is enslaved, which is rare, and asking costs calls a sample.
const interfaceKindsFor = 30

// networkCollector reads the traffic of network interfaces. The host's sums count physical interfaces alone (a bond's or
// a bridge's traffic is that of its members); on a machine that has none, as a container, those that are reported.
type networkCollector struct {
	machine  *machine
	source   networkSource
	filter   Filter
	before   readings[net.IOCountersStat]
	physical map[string]bool
	age      int // samples since physical was forgotten
}

func newNetworkCollector(m *machine, filter Filter) *networkCollector {
	return &networkCollector{machine: m, filter: filter, physical: make(map[string]bool)}
}

func (c *networkCollector) close() { c.source.close() }

func (*networkCollector) name() string { return "network" }

func (c *networkCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	counters, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read interface counters: %w", unsupported(err))
	}
	now := c.machine.now()
	elapsed := c.before.since(now)
	current := c.before.fresh()
	if c.age++; c.age > interfaceKindsFor {
		clear(c.physical)
		c.age = 0
	}
	interfaces := make([]*gohubv1.NetworkMetrics, 0, len(counters))
	var received, transmitted, reportedReceived, reportedTransmitted sum
	anyPhysical := false
	for _, n := range counters {
		physical, known := c.physical[n.Name]
		if !known {
			physical = physicalInterface(c.machine, n.Name, c.filter)
			c.physical[n.Name] = physical
		}
		reported := c.filter.keeps(n.Name)
		if !reported && !physical {
			continue
		}
		current[n.Name] = n
		metrics := &gohubv1.NetworkMetrics{
			Interface:          cleanText(n.Name),
			ReceiveBytesTotal:  pointer(n.BytesRecv),
			TransmitBytesTotal: pointer(n.BytesSent),
		}
		before, seen := c.before.byName[n.Name]
		if seen {
			networkRates(metrics, before, n, elapsed)
		}
		if physical {
			anyPhysical = true
			received.add(metrics.ReceiveBytesPerSecond, seen)
			transmitted.add(metrics.TransmitBytesPerSecond, seen)
		}
		if reported {
			interfaces = append(interfaces, metrics)
			reportedReceived.add(metrics.ReceiveBytesPerSecond, seen)
			reportedTransmitted.add(metrics.TransmitBytesPerSecond, seen)
		}
	}
	c.before.keep(now, current)
	if !anyPhysical {
		received, transmitted = reportedReceived, reportedTransmitted
	}
	sample.Networks = bounded(interfaces)
	sample.Host.NetworksReceiveBytesPerSecond = received.total()
	sample.Host.NetworksTransmitBytesPerSecond = transmitted.total()
	return nil
}

// networkRates fills the rates between two readings, none of them if any counter went down: the interface was made anew.
func networkRates(into *gohubv1.NetworkMetrics, before, now net.IOCountersStat, elapsed time.Duration) {
	if now.BytesRecv < before.BytesRecv || now.BytesSent < before.BytesSent ||
		now.PacketsRecv < before.PacketsRecv || now.PacketsSent < before.PacketsSent {
		return
	}
	into.ReceiveBytesPerSecond = rate(before.BytesRecv, now.BytesRecv, elapsed)
	into.TransmitBytesPerSecond = rate(before.BytesSent, now.BytesSent, elapsed)
	into.ReceivePacketsPerSecond = rate(before.PacketsRecv, now.PacketsRecv, elapsed)
	into.TransmitPacketsPerSecond = rate(before.PacketsSent, now.PacketsSent, elapsed)
	into.ReceiveErrorsPerSecond = rate(before.Errin, now.Errin, elapsed)
	into.TransmitErrorsPerSecond = rate(before.Errout, now.Errout, elapsed)
	into.ReceiveDropsPerSecond = rate(before.Dropin, now.Dropin, elapsed)
	into.TransmitDropsPerSecond = rate(before.Dropout, now.Dropout, elapsed)
}

package agent

import (
	"context"
	"errors"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// cpuSource, memorySource, loadSource and networkSource each keep a file of /proc open and read it into a buffer of their
// own. gopsutil opens them each time, which costs more than what they say. What they return is good until the next read.

type cpuSource struct {
	stat  keptFile
	times []cpu.TimesStat
}

func (s *cpuSource) read(_ context.Context, m *machine) ([]cpu.TimesStat, error) {
	data, err := s.stat.read(m.proc, "stat")
	if err != nil {
		return nil, err
	}
	times, err := parseCPUTimes(data, s.times)
	s.times = times
	return times, err
}

func (s *cpuSource) close() { s.stat.close() }

type memorySource struct{ meminfo keptFile }

func (s *memorySource) read(ctx context.Context, m *machine) (*mem.VirtualMemoryStat, error) {
	data, err := s.meminfo.read(m.proc, "meminfo")
	if err != nil {
		return nil, err
	}
	memory, err := parseMeminfo(data)
	if errors.Is(err, errNoAvailable) {
		return mem.VirtualMemoryWithContext(ctx) // it knows how to estimate that
	}
	return &memory, err
}

func (s *memorySource) close() { s.meminfo.close() }

type loadSource struct{ loadavg keptFile }

func (s *loadSource) read(_ context.Context, m *machine) (averages [3]float64, err error) {
	data, err := s.loadavg.read(m.proc, "loadavg")
	if err != nil {
		return averages, err
	}
	return parseLoadavg(data)
}

func (s *loadSource) close() { s.loadavg.close() }

type networkSource struct {
	dev      keptFile
	counters []net.IOCountersStat
}

func (s *networkSource) read(_ context.Context, m *machine) ([]net.IOCountersStat, error) {
	data, err := s.dev.read(m.proc, "net", "dev")
	if err != nil {
		return nil, err
	}
	counters, err := parseNetDev(data, s.counters)
	s.counters = counters
	return counters, err
}

func (s *networkSource) close() { s.dev.close() }

// uptimeSource reads /proc/uptime, not the sysinfo call: in a container the file may be the container's own.
type uptimeSource struct{ uptime keptFile }

func (s *uptimeSource) read(_ context.Context, m *machine) (uint64, error) {
	text, err := s.uptime.read(m.proc, "uptime")
	if err != nil {
		return 0, err
	}
	seconds, err := parseUptime(string(text))
	return uint64(seconds), err
}

func (s *uptimeSource) close() { s.uptime.close() }

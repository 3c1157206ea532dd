package agent

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/net"
)

func TestParseCPUTimes(t *testing.T) {
	text := "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1500 100 500 25000 200 15 10 25 50 7\ncpu3 1 2 3 4 5 6 7\nintr 5 cpu9\n"
	times, err := parseCPUTimes([]byte(text), nil)
	want := []cpu.TimesStat{
		{CPU: "cpu0", User: 15, Nice: 1, System: 5, Idle: 250, Iowait: 2, Irq: .15, Softirq: .1, Steal: .25, Guest: .5, GuestNice: .07},
		{CPU: "cpu3", User: .01, Nice: .02, System: .03, Idle: .04, Iowait: .05, Irq: .06, Softirq: .07}, // of an old kernel
	}
	if err != nil || !slices.Equal(times, want) {
		t.Errorf("%v, %v", times, err)
	}
	for _, bad := range []string{"cpu0 1 2 3\n", "cpu0 1 2 3 4 5 6 x\n", "cpu0 1 2 3 4 5 6 -7\n"} {
		if _, err := parseCPUTimes([]byte(bad), nil); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseMeminfo(t *testing.T) {
	m, err := parseMeminfo(fixture(t, "meminfo"))
	if err != nil || m.Total != 16000000<<10 || m.Available != 12000000<<10 || m.Cached != 8500000<<10 || m.SwapFree != 3000000<<10 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := parseMeminfo([]byte("MemTotal: 5 kB\n")); !errors.Is(err, errNoAvailable) {
		t.Errorf("an old kernel's: %v", err)
	}
	for _, bad := range []string{"MemTotal: x kB\n", "MemTotal:\n", "MemTotal: 18446744073709551615 kB\n"} {
		if _, err := parseMeminfo([]byte(bad)); err == nil || errors.Is(err, errNoAvailable) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseLoadavg(t *testing.T) {
	if a, err := parseLoadavg([]byte("0.50 1.25 2.00 3/456 789\n")); err != nil || a != [3]float64{.5, 1.25, 2} {
		t.Errorf("%v, %v", a, err)
	}
	for _, bad := range []string{"", "1 2", "1 2 x", "NaN 1 1", "-1 1 1", "1 1e300 1"} {
		if _, err := parseLoadavg([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseNetDev(t *testing.T) {
	text := "Inter-| Receive\n face |bytes packets\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n eth0:1: 21 22 23 24 0 0 0 0 25 26 27 28 0 0 0 0\n"
	counters, err := parseNetDev([]byte(text), nil)
	want := []net.IOCountersStat{
		{Name: "eth0", BytesRecv: 1, PacketsRecv: 2, Errin: 3, Dropin: 4, BytesSent: 9, PacketsSent: 10, Errout: 11, Dropout: 12},
		{Name: "eth0:1", BytesRecv: 21, PacketsRecv: 22, Errin: 23, Dropin: 24, BytesSent: 25, PacketsSent: 26, Errout: 27, Dropout: 28},
	}
	if err != nil || !slices.Equal(counters, want) {
		t.Errorf("%v, %v", counters, err)
	}
	for _, bad := range []string{"eth0: 1 2 3\n", "eth0: 1 2 3 4 5 6 7 8 x 10 11 12 13 14 15 16\n"} {
		if _, err := parseNetDev([]byte(bad), nil); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// FuzzParseProcFiles gives each parser what it read before, which must not show.
func FuzzParseProcFiles(f *testing.F) {
	for _, path := range []string{"stat", "meminfo", "loadavg", "net/dev", "diskstats"} {
		f.Add(fixture(f, path), fixture(f, path))
	}
	f.Add([]byte("cpu7 1 2 3 4 5 6 7\n"), fixture(f, "stat"))
	f.Fuzz(func(t *testing.T, before, data []byte) {
		_, _ = parseMeminfo(data)
		_, _ = parseLoadavg(data)
		again(t, before, data, parseCPUTimes)
		again(t, before, data, parseNetDev)
		again(t, before, data, parseDiskstats)
	})
}

func again[T comparable](t *testing.T, before, data []byte, parse func([]byte, []T) ([]T, error)) {
	t.Helper()
	fresh, err := parse(data, nil)
	used, _ := parse(before, nil)
	reused, reusedErr := parse(data, used)
	if (err == nil) != (reusedErr == nil) || !slices.Equal(fresh, reused) {
		t.Errorf("%v (%v), over another reading %v (%v)", fresh, err, reused, reusedErr)
	}
}

func TestNamesAreAllocatedOnce(t *testing.T) {
	stat := fixture(t, "stat")
	dev, disks := fixture(t, "net/dev"), fixture(t, "diskstats")
	times, _ := parseCPUTimes(stat, nil)
	counters, _ := parseNetDev(dev, nil)
	devices, _ := parseDiskstats(disks, nil)
	if n := testing.AllocsPerRun(100, func() {
		times, _ = parseCPUTimes(stat, times)
		counters, _ = parseNetDev(dev, counters)
		devices, _ = parseDiskstats(disks, devices)
		_, _ = parseMeminfo(stat)
	}); n != 0 {
		t.Errorf("%v allocations to read what was read before", n)
	}
	if !strings.HasPrefix(times[0].CPU, "cpu") || bytes.IndexByte([]byte(counters[0].Name), ':') >= 0 {
		t.Errorf("names %q and %q", times[0].CPU, counters[0].Name)
	}
}

package live

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// cpuSample has two cores that are busy 50 and 10 %, and a machine that waits for its disks 20 % of the time.
func cpuSample(at time.Time, cores ...string) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{
		CpuUsagePercent: proto.Float32(30), CpuUserPercent: proto.Float32(18), CpuSystemPercent: proto.Float32(9),
		CpuStealPercent: proto.Float32(3), CpuIowaitPercent: proto.Float32(20),
	}}
	for i, core := range cores {
		sample.Cores = append(sample.Cores, &gohubv1.CoreMetrics{Core: core, UsagePercent: proto.Float32([]float32{50, 10}[i])})
	}
	return sample
}

// scrapeCPUSeconds reads node_cpu_seconds_total of host 1 by cpu and mode.
func scrapeCPUSeconds(t *testing.T, e *Exposition) map[string]map[string]float64 {
	t.Helper()
	seconds := map[string]map[string]float64{}
	for _, metric := range parseExposition(t, scrape(t, e, false))["node_cpu_seconds_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["host_id"] != "1" {
			continue
		}
		require.Equal(t, "node", labels["instance"])
		if seconds[labels["cpu"]] == nil {
			seconds[labels["cpu"]] = map[string]float64{}
		}
		seconds[labels["cpu"]][labels["mode"]] = metric.GetCounter().GetValue()
	}
	return seconds
}

func TestCPUSecondsAreSharesAddedUp(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "node"))
	e := NewExposition(s, ExpositionOptions{NodeExporter: true})
	observe := func(sample *gohubv1.Sample) { s.Observe(1, flat(sample), c.time) }
	none := map[string]float64{"idle": 0, "iowait": 0, "steal": 0, "system": 0, "user": 0}

	observe(cpuSample(c.time, "0", "1"))
	require.Equal(t, map[string]map[string]float64{"0": none, "1": none}, scrapeCPUSeconds(t, e), "nothing is known of the time before")

	// Of 20 s of both cores: 30 % busy, of which 18, 9 and 3, and 20 % waiting, 50 % idle, whichever core did it.
	after := map[string]map[string]float64{
		"0": {"idle": 3.571, "iowait": 1.428, "steal": 0.5, "system": 1.5, "user": 3},
		"1": {"idle": 6.428, "iowait": 2.571, "steal": 0.1, "system": 0.3, "user": 0.6},
	}
	same := func(reason string) {
		got := scrapeCPUSeconds(t, e)
		require.Len(t, got, len(after), reason)
		for cpu, modes := range after {
			require.InDeltaMapValues(t, modes, got[cpu], 0.005, reason)
		}
	}
	c.time = c.time.Add(10 * time.Second)
	observe(cpuSample(c.time, "0", "1"))
	same("10 s later")
	same("scraped again")
	s.SetHost(testHost(2, "other"))
	s.Observe(2, flat(cpuSample(c.time, "0", "1")), c.time)
	same("the block is made anew")
	s.SetHost(testHost(1, "node"))
	same("its facts were told again")

	// Over a time without samples the share that is known holds: rates of the modes have the sum 1 always.
	c.time = c.time.Add(20 * time.Second)
	observe(cpuSample(c.time, "0", "1"))
	for _, modes := range after {
		for mode := range modes {
			modes[mode] *= 3
		}
	}
	same("after a gap")

	// The host's clock goes to the next day and back: neither is time that went by, but for the slack.
	tomorrow := c.time.Add(24 * time.Hour)
	observe(cpuSample(tomorrow, "0", "1"))
	for _, modes := range after {
		for mode := range modes {
			modes[mode] *= 4.0 / 3
		}
	}
	same("a clock was set")

	// Cores change their places, and one that comes back starts at 0.
	one := after["1"]
	c.time = c.time.Add(time.Second)
	observe(cpuSample(tomorrow, "1"))
	after = map[string]map[string]float64{"1": one}
	same("a core went offline")
	c.time = c.time.Add(time.Second)
	observe(cpuSample(tomorrow, "0", "1"))
	after["0"] = none
	same("it came back")

	c.time = c.time.Add(time.Hour)
	require.Empty(t, scrapeCPUSeconds(t, e), "the host is down")
}

// TestCPUSecondsOfOtherSystems has a system that does not tell waiting and stealing apart.
func TestCPUSecondsOfOtherSystems(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "node"))
	e := NewExposition(s, ExpositionOptions{NodeExporter: true})
	for range 2 {
		c.time = c.time.Add(10 * time.Second)
		s.Observe(1, flat(&gohubv1.Sample{
			TimeUnixMillis: c.time.UnixMilli(),
			Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(0), CpuUserPercent: proto.Float32(0), CpuSystemPercent: proto.Float32(0)},
			Cores:          []*gohubv1.CoreMetrics{{Core: "0", UsagePercent: proto.Float32(0)}, {Core: "1"}},
		}), c.time)
		scrape(t, e, false)
	}
	require.Equal(t, map[string]map[string]float64{
		"0": {"idle": 10, "system": 0, "user": 0},
		"1": {"idle": 0, "system": 0, "user": 0}, // no reading of it
	}, scrapeCPUSeconds(t, e))
}

// TestCPUSecondsOfASampleWithoutShares: an agent that has just come has sent no sample, and its first one has no shares.
func TestCPUSecondsOfASampleWithoutShares(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "node"))
	e := NewExposition(s, ExpositionOptions{NodeExporter: true})
	require.Empty(t, scrapeCPUSeconds(t, e))
	s.Observe(storage.HostID(1), flat(&gohubv1.Sample{
		TimeUnixMillis: c.time.UnixMilli(), Host: &gohubv1.HostMetrics{Load1: proto.Float32(1)},
		Cores: []*gohubv1.CoreMetrics{{Core: "0"}},
	}), c.time)
	require.Empty(t, scrapeCPUSeconds(t, e))
}

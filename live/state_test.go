package live

import (
	"io"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

const (
	unknown = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED
	up      = gohubv1.HostStatus_HOST_STATUS_UP
	late    = gohubv1.HostStatus_HOST_STATUS_LATE
	down    = gohubv1.HostStatus_HOST_STATUS_DOWN
)

func newTestState() (*State, *clock) {
	c := &clock{time: epoch}
	return NewState(c.now), c
}

func mustHost(t *testing.T, s *State, id storage.HostID) *gohubv1.Host {
	t.Helper()
	h, ok := s.Host(id)
	require.True(t, ok)
	return h
}

func cpu(h *gohubv1.Host) float64 { return h.GetLatest().GetValues()["cpu_usage_percent"] }

func TestHostsAreSortedByID(t *testing.T) {
	s, _ := newTestState()
	for _, id := range []storage.HostID{5, 2, 9, 1, math.MaxUint32, 7} {
		s.SetHost(testHost(id, "host"))
	}
	var ids []uint32
	for _, h := range s.Hosts() {
		ids = append(ids, h.HostId)
	}
	require.Equal(t, []uint32{1, 2, 5, 7, 9, math.MaxUint32}, ids)
}

// TestProcessesAreKeptBetweenLists: agents list them in some samples only.
func TestProcessesAreKeptBetweenLists(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(7, "db-1"))
	listed := func(after time.Duration, samples ...*gohubv1.ProcessMetrics) (pids []string) {
		sample := hostSample(epoch.Add(after), 1)
		sample.Processes, c.time = samples, epoch.Add(after)
		s.Observe(7, flat(sample), c.time)
		for _, instance := range mustHost(t, s, 7).Latest.Instances {
			require.Equal(t, "process", instance.Family)
			pids = append(pids, instance.Labels["pid"])
		}
		return pids
	}
	one, two := &gohubv1.ProcessMetrics{Pid: "1", CpuPercent: proto.Float32(1)}, &gohubv1.ProcessMetrics{Pid: "2", CpuPercent: proto.Float32(2)}
	require.Empty(t, listed(0))
	require.Equal(t, []string{"1"}, listed(10*time.Second, one))
	require.Equal(t, []string{"1"}, listed(20*time.Second))
	require.Equal(t, []string{"2"}, listed(40*time.Second, two), "a list replaces the one before")
	require.Equal(t, []string{"2"}, listed(40*time.Second+listedFor-time.Second))
	require.Empty(t, listed(40*time.Second+listedFor), "the agent lists none any more")
	require.Empty(t, listed(50*time.Second+listedFor))

	full := fullSample(c.time.Add(10 * time.Second))
	s.Observe(7, flat(full), c.time.Add(10*time.Second))
	s.Observe(7, flat(hostSample(c.time.Add(20*time.Second), 1)), c.time.Add(20*time.Second))
	for _, instance := range mustHost(t, s, 7).Latest.Instances {
		require.Equal(t, "process", instance.Family, "what is told in each sample goes with it")
	}
}

func TestHostHasFactsAndReadings(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(7, "db-1"))
	s.Observe(7, flat(fullSample(epoch)), c.time)

	h := mustHost(t, s, 7)
	require.Equal(t, "db-1", h.Facts.Hostname)
	require.Equal(t, up, h.Status)
	require.Equal(t, epoch, h.Latest.Time.AsTime())
	require.Equal(t, 12.3, h.Latest.Values["cpu_usage_percent"], "not 12.300000190734863")
	require.Equal(t, 0.0, h.Latest.Values["swap_used_bytes"])
	require.NotContains(t, h.Latest.Values, "cpu_steal_percent", "a missing reading is absent, not 0")
	require.Len(t, h.Latest.Instances, 12)
	require.Equal(t, map[string]string{"mountpoint": "/", "device": "/dev/sda1", "fstype": "ext4"}, h.Latest.Instances[2].Labels)
	require.Equal(t, 71.25, h.Latest.Instances[2].Values["filesystem_used_percent"])

	require.Empty(t, s.Hosts()[0].Latest.Instances)
	_, ok := s.Host(8)
	require.False(t, ok)
}

func TestViewsShowWhatHostsShow(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(7, "db-1"))
	s.Observe(7, flat(fullSample(epoch)), c.time)
	s.Observe(9, flat(hostSample(epoch.Add(time.Second), 50)), c.time)
	s.SetHost(testHost(11, "silent"))
	var view View
	hosts := s.Hosts()
	s.Each(&view, func(v *View) {
		h := hosts[0]
		hosts = hosts[1:]
		require.Equal(t, h.HostId, v.ID())
		require.Equal(t, h.Facts.GetHostname(), v.Hostname())
		require.EqualValues(t, h.Facts.GetIntervalMillis(), v.Interval().Milliseconds())
		require.Equal(t, h.Status, v.Status())
		if h.Latest == nil {
			require.True(t, v.Sampled().IsZero())
			require.Zero(t, v.Rows(catalogue.Host()), "nothing is left of the host before")
			return
		}
		require.Equal(t, h.Latest.Time.AsTime(), v.Sampled().UTC())
		h = mustHost(t, s, storage.HostID(h.HostId))
		instances := []*gohubv1.Instance{{Family: "host", Values: h.Latest.Values}}
		instances = append(instances, h.Latest.Instances...)
		for _, family := range catalogue.Families() {
			for row := range v.Rows(family) {
				require.Equal(t, instances[0].Family, family.Name)
				for i, label := range family.Labels {
					require.Equal(t, instances[0].Labels[label.Name], v.Label(family, row, i))
				}
				for _, metric := range family.Metrics {
					want, has := instances[0].Values[metric.Name]
					got, ok := v.Value(metric, row)
					require.Equal(t, has, ok, metric.Name)
					if ok {
						require.Equal(t, want, got, metric.Name)
					}
				}
				instances = instances[1:]
			}
		}
		require.Empty(t, instances)
	})
	require.Empty(t, hosts)
}

func TestStatusFollowsTheTimeOfReceipt(t *testing.T) {
	for _, test := range []struct {
		name     string
		interval uint32 // milliseconds
		after    time.Duration
		want     gohubv1.HostStatus
	}{
		{"two intervals", 10_000, 20 * time.Second, up},
		{"more than two intervals", 10_000, 20*time.Second + 1, late},
		{"a quick agent is late after five seconds", 1_000, 5*time.Second + 1, late},
		{"three intervals", 10_000, 30 * time.Second, late},
		{"more than three intervals", 10_000, 30*time.Second + 1, down},
		{"a quick agent has ten seconds", 1_000, 10 * time.Second, late},
		{"a quick agent has ten seconds, not more", 1_000, 10*time.Second + 1, down},
		{"no interval is the default", 0, 30 * time.Second, late},
		{"no interval is the default, not more", 0, 30*time.Second + 1, down},
		{"an absurd interval", math.MaxUint32, 24 * time.Hour, up},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := newTestState()
			h := testHost(1, "a")
			h.Facts.IntervalMillis = test.interval
			s.SetHost(h)
			// The agent's clock is wrong by a day; that is not what the status is about.
			s.Observe(1, flat(hostSample(epoch.Add(-24*time.Hour), 1)), c.time)
			c.time = c.time.Add(test.after)
			require.Equal(t, test.want, mustHost(t, s, 1).Status)
		})
	}
}

func TestStatusIsUnknownUntilAgentsCouldReconnect(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "a"))
	require.Equal(t, unknown, mustHost(t, s, 1).Status)
	c.time = epoch.Add(30*time.Second + reconnectGrace)
	require.Equal(t, unknown, mustHost(t, s, 1).Status)
	c.time = c.time.Add(1)
	require.Equal(t, down, mustHost(t, s, 1).Status)
	s.SetHost(testHost(1, "a"))
	require.Equal(t, down, mustHost(t, s, 1).Status, "a reconnect without a sample")
	s.Observe(1, flat(hostSample(c.time, 1)), c.time)
	require.Equal(t, up, mustHost(t, s, 1).Status)
}

func TestStatusTellsSinceWhen(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "a"))
	s.Restore([]storage.Latest{{Host: 1, Time: epoch.Add(-time.Hour), Values: []float64{1}}})
	require1 := func(status gohubv1.HostStatus, since time.Time) {
		t.Helper()
		h := mustHost(t, s, 1)
		require.Equal(t, status, h.Status)
		require.Equal(t, since, h.StatusSince.AsTime())
	}
	require1(unknown, epoch)
	c.time = epoch.Add(2 * time.Minute)
	require1(down, epoch.Add(-time.Hour))
	came := c.time
	for range 10 {
		s.Observe(1, flat(hostSample(c.time, 1)), c.time)
		require1(up, came)
		c.time = c.time.Add(10 * time.Second)
	}
	last := c.time.Add(-10 * time.Second)
	c.time = last.Add(25 * time.Second)
	require1(late, last)
	s.Observe(1, flat(hostSample(c.time, 1)), c.time)
	require1(up, came)
	last = c.time
	c.time = last.Add(time.Hour)
	require1(down, last)
	s.Observe(1, flat(hostSample(c.time, 1)), c.time)
	require1(up, c.time)
}

// TestNoHostIsDownWhileTheServerIsDeaf: agents are held back while the database is away, and need some time to come back.
func TestNoHostIsDownWhileTheServerIsDeaf(t *testing.T) {
	s, c := newTestState()
	status := func(id storage.HostID) gohubv1.HostStatus { return mustHost(t, s, id).Status }
	s.Observe(1, flat(hostSample(c.time, 1)), c.time)
	c.time = epoch.Add(time.Hour)
	require.Equal(t, down, status(1))
	s.Observe(2, flat(hostSample(c.time, 1)), c.time)
	s.SetDeaf(true)
	s.SetDeaf(true)
	require.Equal(t, up, status(2), "it was heard just now")
	require.Equal(t, unknown, status(1))
	c.time = c.time.Add(time.Hour)
	require.Equal(t, unknown, status(2))
	require.Equal(t, epoch.Add(time.Hour), mustHost(t, s, 2).StatusSince.AsTime())

	s.SetDeaf(false)
	s.Observe(1, flat(hostSample(c.time, 1)), c.time)
	back := c.time
	c.time = back.Add(30*time.Second + 1)
	require.Equal(t, down, status(1), "it has come back, and is silent since")
	require.Equal(t, unknown, status(2))
	c.time = back.Add(30*time.Second + reconnectGrace + 1)
	require.Equal(t, down, status(2))
}

func TestClockSkewAndIngestLag(t *testing.T) {
	for _, test := range []struct {
		name string
		// ways are by how much older the samples are than their receipt, in seconds.
		ways      []float64
		skew, lag float64
	}{
		{"a clock that is right", []float64{0.1, 0.2}, -0.112, 0.2},
		{"a clock that is ahead", []float64{-60, -59.5}, 59.938, 0.437},
		{"a clock that is behind", []float64{3600, 3601}, -3600.125, 0.875},
		{"a slow way", []float64{0, 8}, -1, 8},
		{"a clock that was set forward is seen at once", []float64{0, -60}, 60, 0},
		{"and back after some samples", append([]float64{-60}, make([]float64, 60)...), 0.019, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := newTestState()
			for i, way := range test.ways {
				c.time = epoch.Add(time.Duration(i) * 1000 * time.Second)
				s.Observe(1, flat(hostSample(c.time.Add(-time.Duration(way*1e3)*time.Millisecond), 1)), c.time)
			}
			h := mustHost(t, s, 1)
			require.InDelta(t, test.skew, h.ClockSkewSeconds, 0.002)
			require.InDelta(t, test.lag, h.IngestLagSeconds, 0.002)
		})
	}
}

func TestRestoreShowsLastValuesWithoutStatus(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "a"))
	s.SetHost(testHost(2, "b"))
	s.Observe(2, flat(hostSample(epoch.Add(-time.Minute), 2)), c.time)
	values := make([]float64, len(catalogue.Host().Metrics))
	for i := range values {
		values[i] = math.NaN()
	}
	values[0] = float64(float32(12.3))
	s.Restore([]storage.Latest{
		{Host: 1, Time: epoch.Add(-time.Hour + 1500*time.Microsecond), Values: values},
		{Host: 2, Time: epoch, Values: values},
		{Host: 3, Time: epoch, Values: values[:1]}, // from a database with fewer columns
	})

	h := mustHost(t, s, 1)
	require.Equal(t, unknown, h.Status)
	require.Equal(t, map[string]float64{"cpu_usage_percent": 12.3}, h.Latest.Values)
	require.Equal(t, epoch.Add(-time.Hour+time.Millisecond), h.Latest.Time.AsTime())
	require.Equal(t, 2.0, cpu(mustHost(t, s, 2)), "what was sent since the start is kept")
	require.Equal(t, 12.3, cpu(mustHost(t, s, 3)))
}

func TestOlderSampleDoesNotReplaceNewest(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "a"))
	s.Observe(1, flat(hostSample(epoch, 1)), c.time)
	c.time = c.time.Add(20 * time.Second)
	s.Observe(1, flat(hostSample(epoch.Add(-time.Second), 2)), c.time)
	h := mustHost(t, s, 1)
	require.Equal(t, 1.0, cpu(h))
	require.Equal(t, epoch, h.Latest.Time.AsTime())

	c.time = c.time.Add(20 * time.Second)
	require.Equal(t, up, mustHost(t, s, 1).Status, "but it is a sign of life")
}

func TestOlderSampleReplacesAfterClockWasSetBack(t *testing.T) {
	s, c := newTestState()
	s.SetHost(testHost(1, "a"))
	s.Observe(1, flat(hostSample(epoch.Add(time.Hour), 1)), c.time)
	for i := range 4 {
		c.time = epoch.Add(time.Duration(i+1) * 10 * time.Second)
		s.Observe(1, flat(hostSample(c.time, 2)), c.time)
	}
	h := mustHost(t, s, 1)
	require.Equal(t, 2.0, cpu(h))
	require.Equal(t, c.time, h.Latest.Time.AsTime())
	require.Equal(t, up, h.Status)
}

func TestLastOfInstancesWithSameLabelsCounts(t *testing.T) {
	s, c := newTestState()
	disk := func(device string, busy float32) *gohubv1.DiskMetrics {
		return &gohubv1.DiskMetrics{Device: device, BusyPercent: proto.Float32(busy)}
	}
	instances := func() map[string]float64 {
		all := map[string]float64{}
		latest := mustHost(t, s, 1).Latest
		for _, instance := range latest.Instances {
			all[instance.Labels["device"]] = instance.Values["disk_busy_percent"]
		}
		require.Len(t, all, len(latest.Instances))
		return all
	}
	for i, test := range []struct {
		disks []*gohubv1.DiskMetrics
		want  map[string]float64
	}{
		{[]*gohubv1.DiskMetrics{disk("a", 1), disk("b", 2), disk("a", 3)}, map[string]float64{"a": 3, "b": 2}},
		{[]*gohubv1.DiskMetrics{disk("a", 1), disk("b", 2), disk("a", 4)}, map[string]float64{"a": 4, "b": 2}},
		{[]*gohubv1.DiskMetrics{disk("a", 1), disk("b", 2)}, map[string]float64{"a": 1, "b": 2}},
		{[]*gohubv1.DiskMetrics{disk("b", 5)}, map[string]float64{"b": 5}},
		{nil, map[string]float64{}},
	} {
		s.Observe(1, flat(&gohubv1.Sample{TimeUnixMillis: epoch.UnixMilli() + int64(i), Disks: test.disks}), c.time)
		require.Equal(t, test.want, instances(), "step %d", i)
	}
}

func TestSameFactsAreNoChange(t *testing.T) {
	s, _ := newTestState()
	s.SetHost(testHost(1, "a"))
	h, _ := s.lookup(1)
	version := h.version
	s.SetHost(testHost(1, "a"))
	require.Equal(t, version, h.version)
	s.SetHost(testHost(1, "renamed"))
	require.Greater(t, h.version, version)
}

func TestWhatIsNotANumberIsNoReading(t *testing.T) {
	s, c := newTestState()
	for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		s.Observe(1, flat(hostSample(epoch, float32(value))), c.time)
		require.Empty(t, mustHost(t, s, 1).Latest.Values)
	}
}

func TestRound7(t *testing.T) {
	for _, test := range []struct {
		in   float32
		want string
	}{
		{0, "0"},
		{12.3, "12.3"},
		{-12.3, "-12.3"},
		{0.1, "0.1"},
		{99.99999, "99.99999"},
		{100, "100"},
		{1234567, "1.234567e+06"},
		{123456.7, "123456.7"},
		{1e-7, "1e-07"},
		{16777216, "1.677722e+07"},
		{1.5e9, "1.5e+09"},
		{3.4028235e38, "3.4028234663852886e+38"},
		{1e-30, "1.0000000031710769e-30"},
		{0.000123456, "0.000123456"},
		{9999999.5, "1e+07"},
	} {
		require.Equal(t, test.want, strconv.FormatFloat(catalogue.Round(float64(test.in)), 'g', -1, 64), "%v", test.in)
	}
}

func TestStateIsSafeForConcurrentUse(t *testing.T) {
	s := NewState(nil)
	e := NewExposition(s, ExpositionOptions{NodeExporter: true})
	var view View
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 200 {
				id := storage.HostID(i%10 + 1)
				switch worker {
				case 0:
					s.Observe(id, flat(fullSample(epoch.Add(time.Duration(i)*time.Second))), time.Now())
				case 1:
					s.SetHost(testHost(id, strconv.Itoa(i)))
				case 2:
					s.Each(&view, func(*View) {})
				case 3:
					_ = e.write(io.Discard, true, nil)
				}
			}
		})
	}
	group.Wait()
	require.Len(t, s.Hosts(), 10)
}

// Hosts returns every host by id, with the values of the host family.
func (s *State) Hosts() []*gohubv1.Host {
	var hosts []*gohubv1.Host
	for _, h := range s.all() {
		host := h.message(s.moment())
		if host.Latest != nil {
			host.Latest.Instances = nil
		}
		hosts = append(hosts, host)
	}
	return hosts
}

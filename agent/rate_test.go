package agent

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestRate(t *testing.T) {
	for _, c := range []struct {
		name        string
		before, now uint64
		elapsed     time.Duration
		want        float32 // negative for none
	}{
		{"steady", 100, 1100, 10 * time.Second, 100},
		{"idle", 100, 100, 10 * time.Second, 0},
		{"reset", 1100, 100, 10 * time.Second, -1},
		{"a long gap, as after a suspend", 0, 36000, 10 * time.Hour, 1},
		{"no time", 0, 100, 0, -1},
		{"time runs back", 0, 100, -time.Second, -1},
		{"large counters keep their growth", math.MaxUint64 - 1000, math.MaxUint64, time.Second, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rate(c.before, c.now, c.elapsed)
			if (got == nil) != (c.want < 0) || got != nil && *got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatIsRoundedShowsTheSame(t *testing.T) {
	for tenths := range 1001 {
		share := float64(tenths) / 10
		if shown, want := fmt.Sprintf("%.1f", float32(roundShare(share))), fmt.Sprintf("%.1f", share); shown != want {
			t.Errorf("a share of %s shows as %s", want, shown)
		}
	}
	for hundredths := range 20_000 {
		load := float64(hundredths) / 100
		if shown, want := fmt.Sprintf("%.2f", float32(roundLoad(load))), fmt.Sprintf("%.2f", load); shown != want {
			t.Errorf("a load of %s shows as %s", want, shown)
		}
	}
	for rate := 0.001; rate < 1e12; rate *= 1.0007 {
		if got := roundRate(rate); math.Abs(got-rate) > rate/1000 {
			t.Errorf("a rate of %v is told as %v", rate, got)
		}
	}
	for _, exact := range []float64{0, 1, 17, 999, 1024, 1000 * 1024} {
		if got := roundRate(exact); got != exact {
			t.Errorf("a rate of %v is told as %v", exact, got)
		}
	}
}

func TestSizesAreToldInWholeMiB(t *testing.T) {
	for _, c := range []struct{ bytes, want uint64 }{
		{0, 0}, {1023, 0}, {5<<20 + 3<<10 + 1, 5<<20 + 3<<10}, {16<<20 - 1, 16<<20 - 1<<10}, {16 << 20, 16 << 20}, {17<<20 - 1, 16 << 20}, {math.MaxUint64, math.MaxUint64 - 1<<20 + 1},
	} {
		if got := roundSize(c.bytes); got != c.want {
			t.Errorf("%d bytes are told as %d, not as %d", c.bytes, got, c.want)
		}
	}
}

func TestSumOfRates(t *testing.T) {
	var s sum
	s.add(nil, false)
	if s.total() != nil {
		t.Error("the sum of what is unknown is known")
	}
	one, other := float32(1_000_000), float32(1)
	s.add(&one, true)
	s.add(&other, true)
	s.add(nil, false)
	if got := s.total(); got == nil || *got != float32(roundRate(1_000_001)) {
		t.Errorf("got %v", got)
	}
	s.add(nil, true)
	if got := s.total(); got != nil {
		t.Errorf("got %v although a device that was there has no rate", *got)
	}
}

func TestTimesDoesNotComeAround(t *testing.T) {
	if got := times(math.MaxUint64-615, 512); got != math.MaxUint64 {
		t.Errorf("got %d", got)
	}
	if got := times(1<<54-1, 512); got != 1<<63-512 {
		t.Errorf("got %d", got)
	}
}

func TestGrowth32TellsWrapFromReset(t *testing.T) {
	for _, c := range []struct {
		before, now, want uint64
		ok                bool
	}{
		{10, 30, 20, true},
		{1<<32 - 10, 5, 15, true},
		{1 << 20, 5, 0, false},
		{1 << 40, 5, 0, false},
	} {
		if got, ok := growth32(c.before, c.now); got != c.want || ok != c.ok {
			t.Errorf("growth32(%d, %d) = %d, %t", c.before, c.now, got, ok)
		}
	}
}

func TestReplacedDiskHasNoRates(t *testing.T) {
	before := diskCounters{reads: 100, writes: 100, readBytes: 1000, writtenBytes: 1000, hasBusy: true, busyMillis: 100}
	now := before
	now.readBytes, now.reads, now.writes = 5000, 200, 5 // one counter went down: another disk of the same name
	metrics := &gohubv1.DiskMetrics{}
	diskRates(metrics, before, now, time.Second)
	if metrics.ReadBytesPerSecond != nil || metrics.BusyPercent != nil {
		t.Errorf("got %v", metrics)
	}
}

func TestElapsedIsByTheMonotonicClock(t *testing.T) {
	var r readings[int]
	first := time.Now()
	r.keep(first, r.fresh())
	// A clock set an hour back changes the wall clock's reading and leaves the monotonic one alone, as Add does to both:
	// what is asked here is that since uses the difference of instants, not of Unix times.
	if d := r.since(first.Add(10 * time.Second)); d != 10*time.Second {
		t.Errorf("elapsed %s", d)
	}
	if d := new(readings[int]).since(first); d != 0 {
		t.Errorf("elapsed before the first reading: %s", d)
	}
}

func TestSharesBetween(t *testing.T) {
	before := cpu.TimesStat{User: 10, System: 10, Idle: 100, Iowait: 10, Guest: 5}
	now := cpu.TimesStat{User: 14, System: 11, Idle: 104, Iowait: 11, Guest: 9}
	s, ok := sharesBetween(before, now, false)
	if !ok || s.total() != 10 || s.busy() != 5 {
		t.Errorf("guest time must not count twice: %+v busy %v total %v", s, s.busy(), s.total())
	}
	back := now
	back.Iowait = 9.5 // the kernel's estimate went back
	if s, ok := sharesBetween(before, back, false); !ok || s.iowait != 0 {
		t.Errorf("iowait going back: %+v, %t", s, ok)
	}
	if _, ok := sharesBetween(now, before, false); ok {
		t.Error("a reset gives shares")
	}
	interrupts := cpu.TimesStat{User: 10, System: 12, Idle: 100, Iowait: 10, Irq: 1}
	if s, _ := sharesBetween(before, interrupts, true); s.system != 2 {
		t.Errorf("interrupts counted twice: %+v", s)
	}
}

func TestPercentOf(t *testing.T) {
	if percentOf(1, 0) != nil || percentOf(0, math.NaN()) != nil {
		t.Error("a share of nothing is a number")
	}
	if v := percentOf(11, 10); *v != 100 {
		t.Errorf("over the whole: %v", *v)
	}
}

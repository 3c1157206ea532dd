package agent

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func defaultSampling(t testing.TB) SamplerOptions {
	exclude := func(text string) Filter { return Filter{Exclude: regexp.MustCompile(text)} }
	return SamplerOptions{
		Interfaces:      exclude(DefaultInterfaceExclude),
		Disks:           exclude(DefaultDiskExclude),
		Mountpoints:     exclude(DefaultMountpointExclude),
		FilesystemTypes: exclude(DefaultFilesystemTypeExclude),
		TopProcesses:    DefaultTopProcesses,
		Logger:          testLogger(t),
	}
}

// overlay copies the files of a directory over another.
func overlay(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fixtureMachine is a copy of the fixture with the links of sysfs, which not every file system can hold, and a sampler
// that reads it. The clock stands still until it is moved.
func fixtureMachine(t *testing.T) (directory string, sampler *Sampler, clock *time.Time) {
	t.Helper()
	directory = t.TempDir()
	overlay(t, "testdata/fixture", directory)
	class := filepath.Join(directory, "sys/class/net")
	if err := os.MkdirAll(class, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"eth0":  "../../devices/pci0000:00/net/eth0",
		"veth1": "../../devices/virtual/net/veth1",
		"lo":    "../../devices/virtual/net/lo",
	} {
		if err := os.Symlink(target, filepath.Join(class, name)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	options := defaultSampling(t)
	options.ProcDir, options.SysDir, options.RootDir = filepath.Join(directory, "proc"), filepath.Join(directory, "sys"), filepath.Join(directory, "root")
	options.now = func() time.Time { return now }
	sampler = NewSampler(options)
	t.Cleanup(sampler.Close)
	for _, c := range sampler.collectors {
		if f, ok := c.(*filesystemCollector); ok {
			f.usage = func(path string) (filesystemUsage, error) {
				if filepath.Base(path) == "data" {
					return filesystemUsage{size: 1000 << 20, used: 400 << 20, available: 600 << 20, inodes: 1000, inodesUsed: 100}, nil
				}
				return filesystemUsage{size: 100 << 20, used: 60 << 20, available: 35 << 20, inodes: 2000, inodesUsed: 500}, nil
			}
		}
	}
	return directory, sampler, &now
}

func fixtureSample(t *testing.T) *gohubv1.Sample {
	t.Helper()
	directory, sampler, now := fixtureMachine(t)
	sampler.Sample(*now)
	overlay(t, "testdata/fixture-next", directory)
	*now = now.Add(10 * time.Second)
	return sampler.Sample(*now)
}

func TestFixtureMachineGivesGoldenSample(t *testing.T) {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(fixtureSample(t))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, encoded, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	golden := "testdata/fixture.golden.json"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the sample differs from %s (go test -update writes it anew):\n%s", golden, got.Bytes())
	}
}

// TestWhatIsRoundedIsPacked: what an agent tells is what the database keeps as whole numbers.
func TestWhatIsRoundedIsPacked(t *testing.T) {
	sample, err := catalogue.FromProto(fixtureSample(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range catalogue.Families() {
		family.Rows(sample, func(row catalogue.Row) bool {
			for _, metric := range family.Metrics {
				if bits, ok := row.Bits(metric); ok && metric.Packing != catalogue.Unpacked {
					if _, ok := metric.Packing.Pack(bits); !ok {
						t.Errorf("%s is not packed", metric.Name)
					}
				}
			}
			return true
		})
	}
}

func TestFirstSampleHasLevelsButNoRates(t *testing.T) {
	_, sampler, now := fixtureMachine(t)
	s := sampler.Sample(*now)
	if s.Host.CpuUsagePercent != nil || s.Host.DisksReadBytesPerSecond != nil || s.Host.NetworksReceiveBytesPerSecond != nil {
		t.Error("a rate is there before the second reading")
	}
	for _, d := range s.Disks {
		if d.ReadBytesPerSecond != nil || d.BusyPercent != nil || d.ReadBytesTotal == nil {
			t.Errorf("disk %v: want totals and no rates", d)
		}
	}
	for _, p := range s.Processes {
		if p.CpuPercent != nil || p.ResidentBytes == nil {
			t.Errorf("process %v: want memory and no CPU", p)
		}
	}
	if s.Host.MemoryTotalBytes == nil || len(s.Filesystems) != 2 {
		t.Errorf("levels are missing: %v", s)
	}
}

// TestProcessesAreListedOnceAnInterval: each sample counts them, and those between two lists carry none.
func TestProcessesAreListedOnceAnInterval(t *testing.T) {
	_, sampler, now := fixtureMachine(t)
	for _, c := range sampler.collectors {
		if processes, ok := c.(*processCollector); ok {
			processes.interval = 30 * time.Second
		}
	}
	begin, count := *now, uint32(0)
	for _, c := range []struct {
		second int
		listed bool
	}{
		{0, true},
		{10, true}, // the first with shares
		{20, false},
		{30, true},
		{40, false},
		{50, false},
		{60, true},
		{95, true}, // not sampled in between, as in a machine that slept
		{110, false},
		{120, true}, // by the interval that it is in, not by the time since the list
		{33, true},  // the clock was set back
		{43, false}, // and goes on from there
		{63, true},
	} {
		*now = begin.Add(time.Duration(c.second) * time.Second)
		s := sampler.Sample(*now)
		if got := len(s.Processes) > 0; got != c.listed {
			t.Errorf("at %d s: %d processes are listed", c.second, len(s.Processes))
		}
		if count == 0 {
			count = s.Host.GetProcesses()
		}
		if got := s.Host.GetProcesses(); got != count || got == 0 {
			t.Errorf("at %d s: %d processes are counted, %d before", c.second, got, count)
		}
	}
}

// TestHostsListProcessesInTheSameBuckets, whenever their agents were started.
func TestHostsListProcessesInTheSameBuckets(t *testing.T) {
	for _, start := range []int64{0, 10, 20} {
		c := processCollector{top: 1, interval: 30 * time.Second}
		for second := start; second < 300; second += 10 {
			listed := c.due(1_800_000_000_000 + second*1000)
			if want := second%30 == 0 || second <= start+10; listed != want {
				t.Errorf("an agent that was started at %d s lists at %d s: %t", start, second, listed)
			}
			if listed {
				c.shares = second > start
				c.listed = 1_800_000_000_000 + second*1000
			}
		}
	}
}

func TestRebootGivesNoRates(t *testing.T) {
	directory, sampler, now := fixtureMachine(t)
	overlay(t, "testdata/fixture-next", directory)
	sampler.Sample(*now)
	overlay(t, "testdata/fixture", directory) // all counters are lower
	*now = now.Add(10 * time.Second)
	s := sampler.Sample(*now)
	if s.Host.CpuUsagePercent != nil || s.Host.DisksReadBytesPerSecond != nil || s.Host.NetworksReceiveBytesPerSecond != nil {
		t.Errorf("rates across a reset: %v", s.Host)
	}
	for _, n := range s.Networks {
		if n.ReceiveBytesPerSecond != nil || n.ReceiveBytesTotal == nil {
			t.Errorf("interface %v: want totals and no rates", n)
		}
	}
}

// TestResetDeviceMakesNoDipInTheTotals: its rate is unknown for a sample, so that of the machine is too.
func TestResetDeviceMakesNoDipInTheTotals(t *testing.T) {
	directory, sampler, now := fixtureMachine(t)
	if err := os.Symlink("../../devices/pci0000:00/net/eth1", filepath.Join(directory, "sys/class/net/eth1")); err != nil {
		t.Fatal(err)
	}
	sample := func(eth0, eth1 string) *gohubv1.Sample {
		t.Helper()
		text := "Inter-|   Receive                                                |  Transmit\n" +
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
		for name, bytes := range map[string]string{"eth0": eth0, "eth1": eth1} {
			if bytes != "" {
				text += name + ": " + bytes + " 1 0 0 0 0 0 0 " + bytes + " 1 0 0 0 0 0 0\n"
			}
		}
		for _, path := range []string{"proc/net/dev", "proc/1/net/dev"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(directory, path)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(directory, path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		*now = now.Add(10 * time.Second)
		return sampler.Sample(*now)
	}
	sample("100000", "")
	for _, c := range []struct {
		eth0, eth1 string
		want       *float32
	}{
		{"101000", "5000", pointer[float32](100)}, // eth1 has just come
		{"102000", "7000", pointer[float32](300)},
		{"10", "9000", nil}, // eth0's driver was reset
		{"1010", "11000", pointer[float32](300)},
		{"", "13000", pointer[float32](200)}, // eth0 is gone
	} {
		host := sample(c.eth0, c.eth1).GetHost()
		for _, got := range []*float32{host.NetworksReceiveBytesPerSecond, host.NetworksTransmitBytesPerSecond} {
			if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
				t.Errorf("with eth0 at %q: got %v, want %v", c.eth0, got, c.want)
			}
		}
	}
}

// Metrics of the catalogue that the fixture cannot give, each with the reason. A metric that is neither filled nor here
// has no reading in the agent.
var absentOnFixture = map[string]string{
	"gohub.v1.CustomMetrics.name": programsTell, "gohub.v1.CustomMetrics.labels": programsTell, "gohub.v1.CustomMetrics.value": programsTell,
}

const programsTell = "programs tell it, see custom_test.go"

func TestEveryCatalogueMetricHasAReading(t *testing.T) {
	sample := fixtureSample(t).ProtoReflect()
	fields := sample.Descriptor().Fields()
	for i := range fields.Len() {
		family := fields.Get(i)
		if family.Message() == nil {
			continue
		}
		var instances []protoreflect.Message
		switch {
		case family.IsList():
			list := sample.Get(family).List()
			for j := range list.Len() {
				instances = append(instances, list.Get(j).Message())
			}
		case sample.Has(family):
			instances = append(instances, sample.Get(family).Message())
		}
		metrics := family.Message().Fields()
		for j := range metrics.Len() {
			metric := metrics.Get(j)
			filled := false
			for _, instance := range instances {
				filled = filled || instance.Has(metric)
			}
			reason, excused := absentOnFixture[string(metric.FullName())]
			if filled == excused {
				t.Errorf("%s: filled %t, excused %t (%s)", metric.FullName(), filled, excused, reason)
			}
		}
	}
}

func TestFailingCollectorLeavesTheOthersAlone(t *testing.T) {
	directory, sampler, now := fixtureMachine(t)
	var log bytes.Buffer
	sampler.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := os.WriteFile(filepath.Join(directory, "proc/diskstats"), []byte("8 0 sda x x x x x x x x x x x x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := sampler.Sample(*now)
		if s.Disks != nil || s.Host.MemoryTotalBytes == nil || len(s.Networks) == 0 {
			t.Fatalf("want no disks and everything else, got %v", s)
		}
		*now = now.Add(10 * time.Second)
	}
	if n := bytes.Count(log.Bytes(), []byte("collector=disk")); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
	overlay(t, "testdata/fixture", directory)
	if s := sampler.Sample(*now); len(s.Disks) == 0 {
		t.Error("the collector did not come back")
	}
	if !bytes.Contains(log.Bytes(), []byte("reads again")) {
		t.Error("the recovery is not logged")
	}
}

func TestHungFilesystemCostsABoundedWaitOnce(t *testing.T) {
	_, sampler, now := fixtureMachine(t)
	release, returned := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	for _, c := range sampler.collectors {
		if f, ok := c.(*filesystemCollector); ok {
			inner := f.usage
			f.usage = func(path string) (filesystemUsage, error) {
				if filepath.Base(path) == "data" {
					calls.Add(1)
					<-release
					defer close(returned)
				}
				return inner(path)
			}
		}
	}
	begin := time.Now()
	for range 3 {
		s := sampler.Sample(*now)
		if len(s.Filesystems) != 1 || s.Filesystems[0].Mountpoint != "/" {
			t.Errorf("want / alone, got %v", s.Filesystems)
		}
		*now = now.Add(10 * time.Second)
	}
	if took := time.Since(begin); took > 3*filesystemTimeout {
		t.Errorf("three samples took %s: the hung filesystem was waited for each time", took)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("statfs was called %d times on the hung filesystem", n)
	}
	close(release)
	<-returned
}

func TestRealMachineGivesPlausibleValues(t *testing.T) {
	// The agent's clock runs ahead, so that nothing has to wait for the shortest time that a rate is computed over.
	options := defaultSampling(t)
	now := time.Now()
	options.now = func() time.Time { now = now.Add(time.Second); return now }
	sampler := NewSampler(options)
	defer sampler.Close()
	s := sampler.Sample(now)
	for deadline := time.Now().Add(patience); s.Host.CpuUsagePercent == nil && time.Now().Before(deadline); {
		s = sampler.Sample(now) // until the kernel has counted a tick of CPU time
	}
	h := s.Host
	if h.GetMemoryTotalBytes() == 0 || h.GetMemoryUsedBytes() > h.GetMemoryTotalBytes() || h.GetUptimeSeconds() == 0 || h.GetProcesses() == 0 {
		t.Errorf("implausible host: %v", h)
	}
	if h.CpuUsagePercent == nil || h.Load1 == nil || h.TcpListeningSockets == nil || h.UdpSockets == nil {
		t.Errorf("values are missing: %v", h)
	}
	roots := 0
	for _, f := range s.Filesystems {
		if f.Mountpoint == "/" {
			roots++
		}
	}
	if roots != 1 {
		t.Errorf("/ is there %d times: %v", roots, s.Filesystems)
	}
	if len(s.Cores) == 0 || len(s.Processes) == 0 {
		t.Errorf("no cores or no processes: %v", s)
	}
	eachMessage(s.ProtoReflect(), func(m protoreflect.Message) {
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if field.Kind() == protoreflect.FloatKind {
				name, value := string(field.Name()), v.Float()
				isPercent := len(name) > 8 && name[len(name)-8:] == "_percent" && name != "cpu_percent"
				if value < 0 || value != value || isPercent && value > 100 {
					t.Errorf("%s is %v", field.FullName(), value)
				}
			}
			return true
		})
	})
}

func eachMessage(m protoreflect.Message, visit func(protoreflect.Message)) {
	visit(m)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				eachMessage(v.List().Get(i).Message(), visit)
			}
		case field.Message() != nil:
			eachMessage(v.Message(), visit)
		}
		return true
	})
}

// BenchmarkSample takes samples that all list processes, and, as agents do, a list in one of three.
func BenchmarkSample(b *testing.B) {
	for name, interval := range map[string]time.Duration{"processes=each": 0, "processes=default": DefaultProcessInterval} {
		b.Run(name, func(b *testing.B) {
			options := defaultSampling(b)
			options.Logger, options.ProcessInterval = slog.New(slog.DiscardHandler), interval
			sampler := NewSampler(options)
			defer sampler.Close()
			tick := time.Now()
			b.ReportAllocs()
			before := processCPU(b)
			for b.Loop() {
				sampler.Sample(tick)
				tick = tick.Add(DefaultInterval)
			}
			b.ReportMetric(float64((processCPU(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// processCPU is the CPU time that this process has used, in user mode and in the kernel: what a sample costs the machine,
// however busy it is with others.
func processCPU(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkCollector(b *testing.B) {
	options := defaultSampling(b)
	options.Logger = slog.New(slog.DiscardHandler)
	sampler := NewSampler(options)
	defer sampler.Close()
	for _, c := range sampler.collectors {
		b.Run(c.name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sample := &gohubv1.Sample{Host: &gohubv1.HostMetrics{}}
				if err := c.collect(sampler.context, sample); err != nil && c.name() != "sensors" {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSampleAllocatesLittle holds the line: a sample's own messages are most of what is left.
func TestSampleAllocatesLittle(t *testing.T) {
	_, sampler, now := fixtureMachine(t)
	sampler.Sample(*now)
	const most = 170 // 150 when this was written
	if n := testing.AllocsPerRun(50, func() {
		*now = now.Add(time.Second)
		sampler.Sample(*now)
	}); n > most {
		t.Errorf("%v allocations a sample, want %d at most", n, most)
	}
}

package live

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares with testdata/name, which ends with a line feed that got has not.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got)+"\n")
}

// epoch is the time of the first sample in tests with a fixed clock.
var epoch = time.Date(2026, 3, 14, 15, 9, 20, 0, time.UTC)

// clock is a clock that a test moves.
type clock struct{ time time.Time }

func (c *clock) now() time.Time { return c.time }

func testHost(id storage.HostID, name string) storage.Host {
	return storage.Host{
		ID:      id,
		AgentID: uuid.MustParse(fmt.Sprintf("5f0c1c9e-6c2b-4d0a-9b1e-%012x", uint32(id))),
		Facts: &gohubv1.HostFacts{
			Hostname: name, Os: "linux", Platform: "debian", PlatformVersion: "13", KernelVersion: "6.12.0",
			Arch: "amd64", CpuModel: "Ruby 3", CpuCores: 4, MemoryBytes: 16 << 30,
			BootTimeUnixSeconds: 1773500000, AgentVersion: "1.0.0", IntervalMillis: 10_000,
		},
		FirstSeen: epoch.Add(-time.Hour + 123456*time.Microsecond),
	}
}

// hostSample has the host family only.
func hostSample(at time.Time, cpu float32) *gohubv1.Sample {
	return &gohubv1.Sample{
		TimeUnixMillis: at.UnixMilli(),
		Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(cpu)},
	}
}

// fullSample has a reading of every metric but a few, with names that need escaping.
func fullSample(at time.Time) *gohubv1.Sample {
	return &gohubv1.Sample{
		TimeUnixMillis: at.UnixMilli(),
		Host: &gohubv1.HostMetrics{
			CpuUsagePercent: proto.Float32(12.3), CpuUserPercent: proto.Float32(8.1), CpuSystemPercent: proto.Float32(4.2),
			CpuIowaitPercent: proto.Float32(0), Load1: proto.Float32(0.42), Load5: proto.Float32(0.31), Load15: proto.Float32(1e-7),
			MemoryTotalBytes: proto.Uint64(16 << 30), MemoryUsedBytes: proto.Uint64(5_123_456_789),
			MemoryAvailableBytes: proto.Uint64(11 << 30), MemoryCachedBytes: proto.Uint64(3 << 30),
			MemoryBuffersBytes: proto.Uint64(200 << 20), MemoryUsedPercent: proto.Float32(29.8),
			SwapTotalBytes: proto.Uint64(0), SwapUsedBytes: proto.Uint64(0), SwapUsedPercent: proto.Float32(0),
			FilesystemFullestPercent:      proto.Float32(71.25),
			DisksReadBytesPerSecond:       proto.Float32(123456.7),
			DisksWrittenBytesPerSecond:    proto.Float32(98765432),
			NetworksReceiveBytesPerSecond: proto.Float32(1e6), NetworksTransmitBytesPerSecond: proto.Float32(1.5e9),
			TcpConnections: proto.Uint32(87), TcpEstablishedConnections: proto.Uint32(43), TcpListeningSockets: proto.Uint32(12),
			UdpSockets: proto.Uint32(9), Processes: proto.Uint32(213), UptimeSeconds: proto.Uint64(86_400),
			TemperatureHighestCelsius: proto.Float32(54.5),
		},
		Cores: []*gohubv1.CoreMetrics{
			{Core: "0", UsagePercent: proto.Float32(20)}, {Core: "1", UsagePercent: proto.Float32(4.6)},
		},
		Filesystems: []*gohubv1.FilesystemMetrics{
			{
				Mountpoint: "/", Device: "/dev/sda1", Fstype: "ext4", SizeBytes: proto.Uint64(100 << 30),
				UsedBytes: proto.Uint64(71 << 30), AvailableBytes: proto.Uint64(24 << 30), UsedPercent: proto.Float32(71.25),
				Inodes: proto.Uint64(6_553_600), InodesUsed: proto.Uint64(123_456), InodesUsedPercent: proto.Float32(1.883789),
			},
			{Mountpoint: "/srv/\"é\\\u2028\n", Device: "tank/<b>", Fstype: "zfs"},
		},
		Disks: []*gohubv1.DiskMetrics{{
			Device: "sda", ReadBytesPerSecond: proto.Float32(123456.7), WrittenBytesPerSecond: proto.Float32(98765432),
			ReadsPerSecond: proto.Float32(3.5), WritesPerSecond: proto.Float32(812.25), BusyPercent: proto.Float32(99.9),
			ReadBytesTotal: proto.Uint64(1 << 40), WrittenBytesTotal: proto.Uint64(9_007_199_254_740_993),
		}},
		Networks: []*gohubv1.NetworkMetrics{{
			Interface: "eth0", ReceiveBytesPerSecond: proto.Float32(1e6), TransmitBytesPerSecond: proto.Float32(1.5e9),
			ReceivePacketsPerSecond: proto.Float32(1000), TransmitPacketsPerSecond: proto.Float32(900),
			ReceiveErrorsPerSecond: proto.Float32(0), TransmitErrorsPerSecond: proto.Float32(0),
			ReceiveDropsPerSecond: proto.Float32(0.1), TransmitDropsPerSecond: proto.Float32(0),
			ReceiveBytesTotal: proto.Uint64(5 << 40), TransmitBytesTotal: proto.Uint64(7 << 40),
		}},
		Sensors: []*gohubv1.SensorMetrics{{Sensor: "coretemp_package_id_0", TemperatureCelsius: proto.Float32(54.5)}},
		Customs: []*gohubv1.CustomMetrics{
			{Name: "backup_age_seconds", Value: proto.Float64(86400.125)},
			{Name: "queue_length", Labels: `{queue="a\"\\\n"}`, Value: proto.Float64(-1e-7)},
			{Name: "queue_length", Labels: `{host="x",queue="b"}`, Value: proto.Float64(12345678901)},
			{Name: "queue_length", Labels: `{queue="none"}`},
		},
		Processes: []*gohubv1.ProcessMetrics{
			{Pid: "1", Name: "init", Username: "root", CpuPercent: proto.Float32(0.2), ResidentBytes: proto.Uint64(12 << 20)},
		},
	}
}

// flat makes a flat sample of a generated one, as ingest does.
func flat(sample *gohubv1.Sample) *catalogue.Sample {
	decoded, err := catalogue.FromProto(sample)
	if err != nil {
		panic(err)
	}
	return decoded
}

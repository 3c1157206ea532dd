package agent

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func TestUnfitReadingIsLeftOutAlone(t *testing.T) {
	sample := &gohubv1.Sample{
		TimeUnixMillis: 1,
		Host:           &gohubv1.HostMetrics{Load1: proto.Float32(float32(math.Inf(1))), Load5: proto.Float32(1), Processes: proto.Uint32(math.MaxInt32 + 1)},
		Networks: []*gohubv1.NetworkMetrics{
			{Interface: "eth0", ReceiveBytesTotal: proto.Uint64(18446744073709551000), TransmitBytesTotal: proto.Uint64(math.MaxInt64)},
			{Interface: "eth1", ReceiveBytesTotal: proto.Uint64(0)},
		},
		Filesystems: []*gohubv1.FilesystemMetrics{{Mountpoint: "/", SizeBytes: proto.Uint64(1 << 63), UsedBytes: proto.Uint64(1)}},
	}
	omitUnfit(sample.ProtoReflect())
	want := &gohubv1.Sample{
		TimeUnixMillis: 1,
		Host:           &gohubv1.HostMetrics{Load5: proto.Float32(1)},
		Networks: []*gohubv1.NetworkMetrics{
			{Interface: "eth0", TransmitBytesTotal: proto.Uint64(math.MaxInt64)},
			{Interface: "eth1", ReceiveBytesTotal: proto.Uint64(0)},
		},
		Filesystems: []*gohubv1.FilesystemMetrics{{Mountpoint: "/", UsedBytes: proto.Uint64(1)}},
	}
	if !proto.Equal(sample, want) {
		t.Errorf("got %v", sample)
	}
}

// BenchmarkOmitUnfit is with a sample of a machine of many devices.
func BenchmarkOmitUnfit(b *testing.B) {
	sample := &gohubv1.Sample{TimeUnixMillis: 1, Host: &gohubv1.HostMetrics{Load5: proto.Float32(1)}}
	for range 64 {
		sample.Networks = append(sample.Networks, &gohubv1.NetworkMetrics{
			Interface: "eth0", ReceiveBytesTotal: proto.Uint64(1), TransmitBytesTotal: proto.Uint64(1),
			ReceiveBytesPerSecond: proto.Float32(1), TransmitBytesPerSecond: proto.Float32(1),
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		omitUnfit(sample.ProtoReflect())
	}
}

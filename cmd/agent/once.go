package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/agent"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// readingGap is the time between the two readings that rates are computed from.
const readingGap = time.Second

// once prints one sample.
func once(ctx context.Context, c *config, log *slog.Logger, w io.Writer) error {
	options := c.sampling()
	options.Logger = log
	sampler := agent.NewSampler(options)
	defer sampler.Close()
	sampler.Sample(time.Now())
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(readingGap):
	}
	sample := sampler.Sample(time.Now())
	if c.json {
		return printJSON(w, sample)
	}
	return printTable(w, sample)
}

func printJSON(w io.Writer, sample *gohubv1.Sample) error {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(sample)
	if err != nil {
		return fmt.Errorf("encode sample: %w", err)
	}
	var indented bytes.Buffer // protojson's own indentation varies from build to build on purpose
	if err := json.Indent(&indented, encoded, "", "  "); err != nil {
		return fmt.Errorf("indent sample: %w", err)
	}
	indented.WriteByte('\n')
	_, err = w.Write(indented.Bytes())
	return err
}

// absent is printed for a value that the system does not give.
const absent = "–"

func percent(v *float32) string { return number(v, "%.1f %%") }
func celsius(v *float32) string { return number(v, "%.1f °C") }
func decimal(v *float32) string { return number(v, "%.2f") }

func number(v *float32, format string) string {
	if v == nil {
		return absent
	}
	return fmt.Sprintf(format, *v)
}

func size(v *uint64) string {
	if v == nil {
		return absent
	}
	return humanize.IBytes(*v)
}

func rate(v *float32) string {
	if v == nil {
		return absent
	}
	return humanize.IBytes(uint64(*v)) + "/s"
}

func count(v *uint32) string {
	if v == nil {
		return absent
	}
	return fmt.Sprint(*v)
}

func printTable(w io.Writer, s *gohubv1.Sample) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	h := s.GetHost()
	row("time", time.UnixMilli(s.GetTimeUnixMillis()).UTC().Format(time.RFC3339))
	if h.UptimeSeconds != nil {
		row("uptime", (time.Duration(*h.UptimeSeconds) * time.Second).String())
	}
	row("CPU", percent(h.CpuUsagePercent), "user "+percent(h.CpuUserPercent), "system "+percent(h.CpuSystemPercent),
		"iowait "+percent(h.CpuIowaitPercent), "steal "+percent(h.CpuStealPercent))
	row("load", decimal(h.Load1), decimal(h.Load5), decimal(h.Load15))
	row("memory", percent(h.MemoryUsedPercent), size(h.MemoryUsedBytes)+" of "+size(h.MemoryTotalBytes), "cached "+size(h.MemoryCachedBytes))
	row("swap", percent(h.SwapUsedPercent), size(h.SwapUsedBytes)+" of "+size(h.SwapTotalBytes))
	row("disks", "read "+rate(h.DisksReadBytesPerSecond), "written "+rate(h.DisksWrittenBytesPerSecond))
	row("network", "received "+rate(h.NetworksReceiveBytesPerSecond), "sent "+rate(h.NetworksTransmitBytesPerSecond))
	row("TCP", count(h.TcpConnections), "established "+count(h.TcpEstablishedConnections), "listening "+count(h.TcpListeningSockets), "UDP "+count(h.UdpSockets))
	row("processes", count(h.Processes))
	if len(s.GetCores()) > 0 {
		cells := []string{"cores"}
		for _, core := range s.GetCores() {
			cells = append(cells, core.GetCore()+": "+percent(core.UsagePercent))
		}
		row(strings.Join(cells, "  "))
	}
	if len(s.GetSensors()) > 0 {
		row()
		row("SENSOR", "TEMPERATURE")
		for _, sensor := range s.GetSensors() {
			row(sensor.GetSensor(), celsius(sensor.TemperatureCelsius))
		}
	}
	row()
	row("FILESYSTEM", "USED", "SIZE", "AVAILABLE", "INODES", "KIND", "DEVICE")
	for _, f := range s.GetFilesystems() {
		row(f.GetMountpoint(), percent(f.UsedPercent), size(f.SizeBytes), size(f.AvailableBytes), percent(f.InodesUsedPercent), f.GetFstype(), f.GetDevice())
	}
	row()
	row("DISK", "READ", "WRITTEN", "READS/S", "WRITES/S", "BUSY")
	for _, d := range s.GetDisks() {
		row(d.GetDevice(), rate(d.ReadBytesPerSecond), rate(d.WrittenBytesPerSecond), decimal(d.ReadsPerSecond), decimal(d.WritesPerSecond), percent(d.BusyPercent))
	}
	row()
	row("INTERFACE", "RECEIVED", "SENT", "TOTAL RECEIVED", "TOTAL SENT")
	for _, n := range s.GetNetworks() {
		row(n.GetInterface(), rate(n.ReceiveBytesPerSecond), rate(n.TransmitBytesPerSecond), size(n.ReceiveBytesTotal), size(n.TransmitBytesTotal))
	}
	if len(s.GetCustoms()) > 0 {
		row()
		row("CUSTOM METRIC", "VALUE")
		for _, c := range s.GetCustoms() {
			row(c.GetName()+c.GetLabels(), fmt.Sprint(c.GetValue()))
		}
	}
	row()
	row("PID", "PROCESS", "USER", "CPU", "MEMORY")
	for _, p := range s.GetProcesses() {
		row(p.GetPid(), p.GetName(), p.GetUsername(), percent(p.CpuPercent), size(p.ResidentBytes))
	}
	return t.Flush()
}

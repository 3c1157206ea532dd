package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/mem"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// factsTimeout bounds the reading of facts: on Windows some go through WMI, which can take seconds or hang.
const factsTimeout = 10 * time.Second

// readFacts reads what seldom changes on a machine. What cannot be read is left empty.
func readFacts(ctx context.Context, m *machine) *gohubv1.HostFacts {
	facts, err := within(m.guard, "the machine's description", factsTimeout, func() (*gohubv1.HostFacts, error) {
		return gatherFacts(ctx, m), nil
	})
	if err != nil {
		facts = &gohubv1.HostFacts{Os: runtime.GOOS, Arch: runtime.GOARCH}
	}
	return facts
}

func gatherFacts(ctx context.Context, m *machine) *gohubv1.HostFacts {
	ctx, cancel := context.WithTimeout(withRoots(ctx, m), factsTimeout)
	defer cancel()
	facts := &gohubv1.HostFacts{Os: runtime.GOOS, Arch: runtime.GOARCH}
	if name, err := os.Hostname(); err == nil {
		facts.Hostname = cleanText(name)
	}
	if platform, _, version, err := host.PlatformInformationWithContext(ctx); err == nil {
		facts.Platform, facts.PlatformVersion = cleanText(platform), cleanText(version)
	}
	if version, err := host.KernelVersionWithContext(ctx); err == nil {
		facts.KernelVersion = cleanText(version)
	}
	if models, err := cpu.InfoWithContext(ctx); err == nil && len(models) > 0 {
		facts.CpuModel = cleanText(strings.TrimSpace(models[0].ModelName))
	}
	facts.CpuCores = uint32(runtime.NumCPU())
	if count, err := cpu.CountsWithContext(ctx, true); err == nil && count > 0 {
		facts.CpuCores = uint32(count)
	}
	if memory, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		facts.MemoryBytes = memory.Total
	}
	if booted, err := bootTime(ctx, m); err == nil {
		facts.BootTimeUnixSeconds = booted
	}
	return facts
}

// bootTime is when the machine booted, Unix time in seconds.
func bootTime(ctx context.Context, m *machine) (int64, error) {
	if runtime.GOOS != "linux" {
		booted, err := host.BootTimeWithContext(ctx)
		return int64(booted), err
	}
	data, err := os.ReadFile(filepath.Join(m.proc, "stat"))
	if err != nil {
		return 0, err
	}
	return parseBootTime(string(data))
}

// parseBootTime reads btime from /proc/stat.
func parseBootTime(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, "btime "); found {
			booted, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("stat: btime: %w", err)
			}
			return booted, nil
		}
	}
	return 0, fmt.Errorf("stat: no btime")
}

package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/host"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// uptimeCollector reads how long the machine has been up.
type uptimeCollector struct{ machine *machine }

func (*uptimeCollector) name() string { return "uptime" }

func (c *uptimeCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	seconds, err := uptime(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read uptime: %w", unsupported(err))
	}
	sample.Host.UptimeSeconds = pointer(seconds)
	return nil
}

func uptime(ctx context.Context, m *machine) (uint64, error) {
	if runtime.GOOS != "linux" {
		return host.UptimeWithContext(ctx)
	}
	// Not the sysinfo call: in a container /proc/uptime may be the container's own.
	text, err := readFile(filepath.Join(m.proc, "uptime"))
	if err != nil {
		return 0, err
	}
	seconds, err := parseUptime(string(text))
	return uint64(seconds), err
}

// parseUptime reads /proc/uptime: seconds since boot, and idle seconds.
func parseUptime(text string) (float64, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil || !(seconds >= 0 && seconds < 1e12) {
		return 0, fmt.Errorf("uptime %.40q is not a number of seconds", text)
	}
	return seconds, nil
}

package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// uptimeCollector reads how long the machine has been up.
type uptimeCollector struct {
	machine *machine
	source  uptimeSource
}

func (c *uptimeCollector) close() { c.source.close() }

func (*uptimeCollector) name() string { return "uptime" }

func (c *uptimeCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	seconds, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read uptime: %w", unsupported(err))
	}
	sample.Host.UptimeSeconds = pointer(seconds)
	return nil
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

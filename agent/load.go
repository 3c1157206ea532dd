package agent

import (
	"context"
	"fmt"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// loadCollector reads the load averages.
type loadCollector struct {
	machine *machine
	source  loadSource
}

func (c *loadCollector) close() { c.source.close() }

func (*loadCollector) name() string { return "load" }

func (c *loadCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	averages, err := c.source.read(ctx, c.machine)
	if err != nil {
		return fmt.Errorf("read load averages: %w", unsupported(err))
	}
	sample.Host.Load1 = pointer(float32(roundLoad(averages[0])))
	sample.Host.Load5 = pointer(float32(roundLoad(averages[1])))
	sample.Host.Load15 = pointer(float32(roundLoad(averages[2])))
	return nil
}

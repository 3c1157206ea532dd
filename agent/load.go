package agent

import (
	"context"
	"fmt"
	"runtime"

	"github.com/shirou/gopsutil/v3/load"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// loadCollector reads the load averages. Windows has none, and an imitation would not compare with the others.
type loadCollector struct{}

func (loadCollector) name() string { return "load" }

func (loadCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	if runtime.GOOS == "windows" {
		return errUnsupported
	}
	averages, err := load.AvgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("read load averages: %w", unsupported(err))
	}
	sample.Host.Load1 = pointer(float32(averages.Load1))
	sample.Host.Load5 = pointer(float32(averages.Load5))
	sample.Host.Load15 = pointer(float32(averages.Load15))
	return nil
}

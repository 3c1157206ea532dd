//go:build !linux

package agent

import (
	"context"
	"sort"
	"time"

	"github.com/shirou/gopsutil/v3/host"
)

// sensorRetry is how long to leave the sensors alone after a failure: on Windows each question goes through WMI, and most
// machines answer none of them.
const sensorRetry = 10 * time.Minute

// sensorSource asks gopsutil: the ACPI thermal zones on Windows (as administrator), the SMC on macOS in builds with cgo.
type sensorSource struct{}

func (*sensorSource) read(ctx context.Context, _ *machine) ([]temperature, error) {
	sensors, err := host.SensorsTemperaturesWithContext(ctx)
	if len(sensors) == 0 {
		if err == nil {
			err = errUnsupported
		}
		return nil, err
	}
	temperatures := make([]temperature, 0, len(sensors))
	for _, s := range sensors {
		if s.Temperature != 0 { // what macOS says of a sensor that the model does not have
			temperatures = append(temperatures, temperature{sensor: s.SensorKey, celsius: s.Temperature})
		}
	}
	sort.Slice(temperatures, func(i, j int) bool { return temperatures[i].sensor < temperatures[j].sensor })
	return temperatures, nil
}

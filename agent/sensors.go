package agent

import (
	"context"
	"fmt"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// sensorTimeout is how long a sample waits for the sensors: some sit behind slow buses, and some drivers hang.
const sensorTimeout = 500 * time.Millisecond

// A reading outside these bounds, in °C, is a sensor that is not connected or a driver's mistake.
const (
	coldest = -100
	hottest = 250
)

// sensorCollector reads temperatures.
type sensorCollector struct {
	machine *machine
	source  *sensorSource
	retryAt time.Time // after a failure, where asking is dear
}

// temperature is one reading in °C.
type temperature struct {
	sensor  string
	celsius float64
}

func newSensorCollector(m *machine) *sensorCollector {
	return &sensorCollector{machine: m, source: &sensorSource{}}
}

func (*sensorCollector) name() string { return "sensors" }

func (c *sensorCollector) collect(ctx context.Context, sample *gohubv1.Sample) error {
	if c.machine.now().Before(c.retryAt) {
		return errUnsupported
	}
	temperatures, err := within(c.machine.guard, "the temperature sensors", sensorTimeout, func() ([]temperature, error) {
		return c.source.read(ctx, c.machine)
	})
	if err != nil {
		c.retryAt = c.machine.now().Add(sensorRetry)
		return fmt.Errorf("read temperatures: %w", unsupported(err))
	}
	sensors := make([]*gohubv1.SensorMetrics, 0, len(temperatures))
	var hot highest
	for _, t := range temperatures {
		if !(t.celsius > coldest && t.celsius < hottest) {
			continue
		}
		metrics := &gohubv1.SensorMetrics{Sensor: cleanText(t.sensor), TemperatureCelsius: pointer(float32(t.celsius))}
		sensors = append(sensors, metrics)
		hot.add(metrics.TemperatureCelsius)
	}
	sample.Sensors = bounded(sensors)
	sample.Host.TemperatureHighestCelsius = hot.value
	return nil
}

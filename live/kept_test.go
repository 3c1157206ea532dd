package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// manySensors is a sample with a number of instances, whose names begin with something.
func manySensors(at time.Time, names string, count int) *gohubv1.Sample {
	sample := hostSample(at, 1)
	for i := range count {
		sample.Sensors = append(sample.Sensors, &gohubv1.SensorMetrics{Sensor: fmt.Sprint(names, i), TemperatureCelsius: proto.Float32(float32(i))})
	}
	return sample
}

func instances(t *testing.T, s *State, id storage.HostID) int {
	t.Helper()
	return len(mustHost(t, s, id).GetLatest().GetInstances())
}

// TestHostsThatFillTheMemoryKeepTheirHostRow has one machine with few instances among those that invent thousands.
func TestHostsThatFillTheMemoryKeepTheirHostRow(t *testing.T) {
	s, c := newTestState()
	const limit, inventors = 1 << 20, 100
	s.Limit(limit)
	memory := s.Collectors()
	s.Observe(1, flat(manySensors(c.time, "cpu", 10)), c.time)
	for round := range 3 {
		c.time = c.time.Add(10 * time.Second)
		for id := range storage.HostID(inventors) {
			s.Observe(id+2, flat(manySensors(c.time, fmt.Sprint(round, "-"), 4000)), c.time)
		}
		s.Observe(1, flat(manySensors(c.time, fmt.Sprint("cpu", round), 10)), c.time)
		require.Equal(t, 10, instances(t, s, 1), "a host within its share is shown as ever")
		require.LessOrEqual(t, testutil.ToFloat64(memory[0]), float64(limit))
		require.Positive(t, testutil.ToFloat64(memory[1]))
	}
	require.Equal(t, 1.0, cpu(mustHost(t, s, inventors)))

	for id := range storage.HostID(inventors) { // they have few now, and get them back
		c.time = c.time.Add(time.Second)
		s.Observe(id+2, flat(manySensors(c.time, "cpu", 3)), c.time)
	}
	for id := range storage.HostID(inventors) {
		c.time = c.time.Add(time.Second)
		s.Observe(id+2, flat(manySensors(c.time, "cpu", 3)), c.time)
		require.Equal(t, 3, instances(t, s, id+2))
	}
	require.Zero(t, testutil.ToFloat64(memory[1]))
}

func TestInstancesOfAHostThatIsDownForADayAreLetGo(t *testing.T) {
	s, c := newTestState()
	memory := s.Collectors()[0]
	s.Observe(1, flat(fullSample(c.time)), c.time)
	s.Observe(2, flat(fullSample(c.time)), c.time)
	both, had := testutil.ToFloat64(memory), instances(t, s, 1)
	c.time = c.time.Add(25 * time.Hour)
	s.Observe(2, flat(fullSample(c.time)), c.time)
	require.Equal(t, both, testutil.ToFloat64(memory))
	s.letGo()
	require.Equal(t, both/2, testutil.ToFloat64(memory))
	require.Zero(t, instances(t, s, 1))
	require.NotEmpty(t, mustHost(t, s, 1).GetLatest().GetValues(), "its own values stay")
	require.Equal(t, had, instances(t, s, 2))
	c.time = c.time.Add(time.Minute)
	s.Observe(1, flat(fullSample(c.time)), c.time)
	require.Equal(t, had, instances(t, s, 1))
}

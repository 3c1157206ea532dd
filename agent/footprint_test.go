package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFootprintIsSeldom(t *testing.T) {
	for interval, rounds := range map[time.Duration][]int{
		10 * time.Second: {3, 360, 720},
		time.Second:      {3},
		time.Hour:        {3, 6, 9, 12},
	} {
		f := newFootprint(interval)
		var due []int
		for sample := 1; sample <= 1000 && len(due) < len(rounds); sample++ {
			if f.due() {
				due = append(due, sample)
			}
		}
		require.Equal(t, rounds, due, interval)
	}
}

package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

func TestRollupStepsStayBounded(t *testing.T) {
	for _, r := range storage.Resolutions[1:] {
		step := storage.RollupStep(r)
		for range 100 {
			step = storage.NextRollupStep(r, step, 0)
		}
		require.Equal(t, 16*storage.RollupStep(r), step)
		for range 100 {
			step = storage.NextRollupStep(r, step, 1_000_000)
			require.Zero(t, step%r.Step())
		}
		require.Equal(t, r.Step(), step)
		require.Equal(t, time.Duration(2), storage.NextRollupStep(r, r.Step(), 10)/r.Step())
	}
}

package storage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

func TestUsageGrowsUntilRetentionTakesAsMuch(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	usage := storage.Usage{TotalBytes: 1000, Disk: &storage.Disk{Size: 10_000, Free: 2000}, Relations: []storage.RelationUsage{
		{Bytes: 200, Oldest: now.Add(-2 * day), Newest: now, Keep: 7 * day},    // 100 a day for 5 more days
		{Bytes: 300, Oldest: now.Add(-9 * day), Newest: now, Keep: 7 * day},    // has all that it keeps, and more
		{Bytes: 50, Oldest: now.Add(-5 * day), Newest: now},                    // 10 a day for ever
		{Bytes: 80, Oldest: now.Add(-time.Minute), Newest: now, Keep: 2 * day}, // too little to tell
		{Bytes: 8},
	}}
	require.InDelta(t, 100, usage.Relations[0].GrowthPerDay(), 1e-9)
	require.InDelta(t, 700, usage.Relations[0].BytesIn(30*day), 1e-9)
	require.Zero(t, usage.Relations[3].GrowthPerDay())
	require.Zero(t, usage.Relations[4].GrowthPerDay())
	require.InDelta(t, 1000+100+10, usage.BytesIn(day), 1e-9)
	require.InDelta(t, 1000+500+300, usage.BytesIn(30*day), 1e-9)

	after, ok := usage.FullIn(3650 * day) // 2000 = 500 + 10 a day
	require.True(t, ok)
	require.InDelta(t, 150, after.Hours()/24, 1)
	_, ok = usage.FullIn(100 * day)
	require.False(t, ok)
	usage.Disk.Free = 0
	after, ok = usage.FullIn(3650 * day)
	require.True(t, ok)
	require.LessOrEqual(t, after, day)
	usage.Disk = nil
	_, ok = usage.FullIn(3650 * day)
	require.False(t, ok, "a disk that can not be seen")
}

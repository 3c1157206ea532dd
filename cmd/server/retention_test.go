package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

func TestDefaultRetentionIsThatOfStorage(t *testing.T) {
	config := defaultConfig()
	keep, err := config.retention()
	require.NoError(t, err)
	require.Equal(t, storage.DefaultRetention, keep)
}

func TestRetentionIsReadAndChecked(t *testing.T) {
	config := defaultConfig()
	config.RetentionRaw, config.RetentionMinute, config.RetentionHour, config.RetentionDay = "48h", "3d", "1y", "10y"
	keep, err := config.retention()
	require.NoError(t, err)
	require.Equal(t, storage.Retention{Raw: 48 * time.Hour, Minute: 72 * time.Hour, Hour: 365 * 24 * time.Hour, Day: 3650 * 24 * time.Hour}, keep)
	for text, says := range map[string]string{
		"": "no time such as", "7": "no time such as", "d": "no time such as", "-7d": "no time such as", "1.5d": "no time such as", "0d": "no time such as",
		"7w": "no time such as", "101y": "no time such as", "99999999999d": "no time such as", "1d": "the least is 48h", "4d": "shorter than that of raw", // of minutes
	} {
		config := defaultConfig()
		if config.RetentionRaw = text; text == "4d" {
			config.RetentionRaw, config.RetentionMinute = "7d", text
		}
		_, err := config.retention()
		require.ErrorContains(t, err, says, text)
	}
}

func TestAllForeverIsNotTheDefault(t *testing.T) {
	config := defaultConfig()
	config.RetentionRaw, config.RetentionMinute, config.RetentionHour, config.RetentionDay = forever, forever, forever, forever
	keep, err := config.retention()
	require.NoError(t, err)
	options := storage.Options{Retention: &keep}.WithDefaults()
	require.Zero(t, options.Retention.Raw)
	require.Zero(t, options.Retention.Day)
}

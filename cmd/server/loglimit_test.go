package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLinesAreLimitedTogetherAndCounted(t *testing.T) {
	var out bytes.Buffer
	handler := limitLines(slog.NewTextHandler(&out, nil), 1, 3)
	begin := time.Unix(1_700_000_000, 0)
	for n := range 100 {
		one := handler.WithAttrs([]slog.Attr{slog.Int("agent", n)}).WithGroup("g")
		require.NoError(t, one.Handle(context.Background(), slog.NewRecord(begin, slog.LevelWarn, "refused", 0)))
	}
	require.Equal(t, 3, strings.Count(out.String(), "refused"))
	require.NotContains(t, out.String(), "suppressed")
	require.NoError(t, handler.Handle(context.Background(), slog.NewRecord(begin.Add(time.Second), slog.LevelWarn, "refused", 0)))
	require.Contains(t, out.String(), "suppressed=97")
}

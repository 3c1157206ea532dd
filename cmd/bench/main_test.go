package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpListsTheFlags(t *testing.T) {
	var stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--help"}, &bytes.Buffer{}, &stderr))
	require.Contains(t, stderr.String(), "--database-url")
	require.Equal(t, exitUsage, run(t.Context(), nil, &bytes.Buffer{}, &stderr))
}

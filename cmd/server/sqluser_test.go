package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSQLUserNeedsADatabaseAndAName(t *testing.T) {
	var output strings.Builder
	environ := []string{"GOHUB_DATA_DIR=" + t.TempDir()}
	require.ErrorContains(t, run([]string{"sql-user", "ada"}, environ, nil, &output), "SQLite has no roles")
	require.ErrorContains(t, run([]string{"sql-user"}, environ, nil, &output), "name of one role")
}

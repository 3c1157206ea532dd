package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage/storagetest"
	"github.com/gohub-io/gohub/storage/timescale"
)

func TestAdoptCommunityNamesWhatIsWrong(t *testing.T) {
	apache := "GOHUB_DATABASE_URL=" + storagetest.DatabaseURL(t)
	for _, c := range []struct {
		args    string
		environ []string
		says    []string
	}{
		{"storage", nil, []string{"adopt-community", "gohub-server --help"}},
		{"storage compress", nil, []string{"adopt-community", "gohub-server --help"}},
		{"storage adopt-community", nil, []string{"database_url is not set", "SQLite has no editions"}},
		{"storage adopt-community --no-such-flag", nil, []string{"--no-such-flag"}},
		{"storage adopt-community now", nil, []string{"now"}},
		{"storage adopt-community", []string{apache}, []string{"Apache edition", "set timescaledb.license to timescale", "run this again"}},
		{"storage adopt-community", []string{"GOHUB_DATABASE_URL=postgres://gohub@127.0.0.1:1/gohub?connect_timeout=2"}, []string{"127.0.0.1:1/gohub"}},
	} {
		var output strings.Builder
		err := run(strings.Split(c.args, " "), c.environ, nil, &output)
		for _, says := range c.says {
			require.ErrorContains(t, err, says, c.args)
		}
		require.Empty(t, output.String(), "nothing was done")
	}
}

// TestAdoptCommunityMovesOnce moves a database, and refuses to do so again.
func TestAdoptCommunityMovesOnce(t *testing.T) {
	environ := []string{"GOHUB_DATABASE_URL=" + storagetest.MadeOnApacheURL(t)}
	var output strings.Builder
	require.NoError(t, run([]string{"storage", "adopt-community"}, environ, nil, &output))
	require.Contains(t, output.String(), "rollups are continuous aggregates from today on")
	output.Reset()
	require.ErrorIs(t, run([]string{"storage", "adopt-community"}, environ, nil, &output), timescale.ErrAdopted)
	require.Empty(t, output.String())
}

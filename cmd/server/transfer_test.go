package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/archive"
	"github.com/gohub-io/gohub/storage/sqlite"
)

// TestExportAndImport moves what the examples of the docs have into another directory, by the commands.
func TestExportAndImport(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	fillForExamples(t, source)
	directory := filepath.Join(t.TempDir(), "export")
	var output, progress strings.Builder
	args := []string{"--dir", directory, "--selector", `site="ams", hostname="web-2"`, "--resolution", "1h,raw,1h"}
	require.NoError(t, exportData(t.Context(), args, []string{"GOHUB_DATA_DIR=" + source}, &output, &progress))
	require.Regexp(t, `^exported \d+ rows of 1 hosts into \d+ files of `, output.String())
	require.Contains(t, progress.String(), "100 %")
	require.FileExists(t, filepath.Join(directory, "manifest.json"))

	output.Reset()
	require.NoError(t, importData(t.Context(), []string{directory}, []string{"GOHUB_DATA_DIR=" + target, "GOHUB_RETENTION_RAW=8d"}, &output, &progress))
	require.Contains(t, progress.String(), "rolling up")
	require.Regexp(t, `^imported 12 rows of 1 hosts from \d+ files\n`, output.String(), "the samples of all families that are kept")
	require.Contains(t, output.String(), "older than the retention settings keep")
	store, err := sqlite.Open(target, storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	hosts, err := store.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, "web-2", hosts[0].Facts.GetHostname())
}

func TestTransferNamesWhatIsWrong(t *testing.T) {
	err := run([]string{"export", "--dir", "x"}, []string{"GOHUB_DATA_DIR=" + t.TempDir()}, nil, new(strings.Builder))
	require.ErrorContains(t, err, "gohub.db: no such file or directory; set GOHUB_DATA_DIR")
	environ := []string{"GOHUB_DATA_DIR=" + t.TempDir()}
	for args, says := range map[string]string{
		"export":                                           "--dir DIR",
		"export --dir x y":                                 "--dir DIR",
		"export --dir x --from yesterday":                  "2026-05-17T12:00:00Z",
		"export --dir x --resolution 5m":                   "allowed are raw, 1m",
		"export --dir x --selector site":                   "the selector is wrong",
		"export --dir x --from 2026-02-01 --to 2026-01-01": "is not before",
		"export --dir x --selector status=up":              "only a server that runs knows",
		"import":                                           "gohub-server import DIR",
		"import /nowhere":                                  "manifest.json",
		"backup":                                           "gohub-server backup FILE",
	} {
		var output strings.Builder
		require.ErrorContains(t, run(strings.Split(args, " "), environ, nil, &output), says, args)
	}
	var output strings.Builder
	require.ErrorContains(t, run([]string{"backup", "x"}, append(environ, "GOHUB_DATABASE_URL=postgres://localhost/gohub"), nil, &output), "pg_dump")
	require.NoError(t, run([]string{"export", "--help"}, environ, nil, &output))
	require.Contains(t, output.String(), "--selector")
}

func TestBackupCommand(t *testing.T) {
	source, restored := t.TempDir(), t.TempDir()
	fillForExamples(t, source)
	var output strings.Builder
	require.NoError(t, run([]string{"backup", filepath.Join(restored, sqlite.FileName)}, []string{"GOHUB_DATA_DIR=" + source}, nil, &output))
	address := startAppIn(t, restored)
	require.NotEmpty(t, address)
}

// TestBarOnATerminalIsOneLine shows the same progress on a character device, and elsewhere.
func TestBarOnATerminalIsOneLine(t *testing.T) {
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer device.Close()
	require.True(t, newBar(device).terminal)
	var output strings.Builder
	for _, terminal := range []bool{true, false} {
		output.Reset()
		b := newBar(&output)
		b.terminal = terminal
		for done := range 101 {
			b.show(archive.Progress{Done: done, Total: 100, Rows: int64(done) * 1000, File: "host_samples/2026-05-17.parquet"})
		}
		b.end()
		if terminal {
			require.Equal(t, 1, strings.Count(output.String(), "\n"))
			require.Equal(t, 101, strings.Count(output.String(), "\r"))
		} else {
			require.Equal(t, 11, strings.Count(output.String(), "\n"))
		}
		require.Contains(t, output.String(), "50 %  50,000 rows  host_samples/2026-05-17.parquet")
	}
}

// TestManifestIsJSONThatOthersCanRead holds its keys still: scripts read them.
func TestManifestIsJSONThatOthersCanRead(t *testing.T) {
	source := t.TempDir()
	fillForExamples(t, source)
	directory := filepath.Join(t.TempDir(), "export")
	var output strings.Builder
	require.NoError(t, exportData(t.Context(), []string{"--dir", directory, "--from", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, []string{"GOHUB_DATA_DIR=" + source}, &output, &output))
	content, err := os.ReadFile(filepath.Join(directory, "manifest.json"))
	require.NoError(t, err)
	var manifest struct {
		Format int  `json:"format"`
		Whole  bool `json:"whole"`
		Files  []struct {
			Name   string `json:"name"`
			Rows   int64  `json:"rows"`
			SHA256 string `json:"sha256"`
		} `json:"files"`
	}
	require.NoError(t, json.Unmarshal(content, &manifest))
	require.Equal(t, 1, manifest.Format)
	require.True(t, manifest.Whole)
	require.Equal(t, "hosts.parquet", manifest.Files[0].Name)
	require.EqualValues(t, 2, manifest.Files[0].Rows)
	require.Len(t, manifest.Files[0].SHA256, 64)
}

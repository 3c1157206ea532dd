package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/gohub-io/gohub/"

// TestImportsPointDown holds the code against the map in CONTRIBUTING.md: what each part may import of ours.
func TestImportsPointDown(t *testing.T) {
	allowed := map[string][]string{
		"proto":   {"proto"},
		"storage": {"storage", "proto", "migrations"},
		"ingest":  {"ingest", "storage", "proto"},
		"query":   {"query", "storage", "proto"},
		"live":    {"live", "storage", "proto"},
		"alert":   {"alert", "storage", "proto"},
		"auth":    {"auth", "storage", "proto"},
		"agent":   {"agent", "proto"},
		"web":     {},
	}
	for _, line := range goList(t, `{{.ImportPath}} {{join .Imports " "}}`, "./../../...") {
		words := strings.Fields(line)
		part, _, _ := strings.Cut(strings.TrimPrefix(words[0], module), "/")
		may, limited := allowed[part]
		if !limited {
			continue
		}
		for _, imported := range words[1:] {
			other, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			other, _, _ = strings.Cut(other, "/")
			require.Contains(t, may, other, "%s imports %s", words[0], imported)
		}
	}
}

// TestOnlyStorageSpeaksSQL lists who reaches a database driver: storage, and cmd/server that chooses one.
func TestOnlyStorageSpeaksSQL(t *testing.T) {
	for _, part := range []string{"ingest", "query", "live", "alert", "auth", "agent", "proto/..."} {
		for _, dependency := range goList(t, `{{join .Deps "\n"}}`, "./../../"+part) {
			for _, driver := range []string{"github.com/jackc/pgx", "modernc.org/sqlite"} {
				require.False(t, strings.HasPrefix(dependency, driver), "%s reaches %s", part, dependency)
			}
		}
	}
}

// TestOnlyTheRelaySpeaksNATS: what has no part in a cluster carries nothing for one.
func TestOnlyTheRelaySpeaksNATS(t *testing.T) {
	for _, part := range []string{"ingest", "query", "live", "alert", "auth", "agent", "storage/...", "proto/...", "cmd/agent"} {
		for _, dependency := range goList(t, `{{join .Deps "\n"}}`, "./../../"+part) {
			require.False(t, strings.HasPrefix(dependency, "github.com/nats-io"), "%s reaches %s", part, dependency)
		}
	}
}

// TestModulesThatAreImportedAreNotIndirect is what `go mod tidy` would find, without the network that it needs.
func TestModulesThatAreImportedAreNotIndirect(t *testing.T) {
	content, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	var indirect []string
	for line := range strings.Lines(string(content)) {
		if requirement, found := strings.CutSuffix(strings.TrimSpace(line), "// indirect"); found {
			indirect = append(indirect, strings.Fields(requirement)[0])
		}
	}
	require.NotEmpty(t, indirect)
	for _, imported := range goList(t, `{{join .Imports "\n"}}{{"\n"}}{{join .TestImports "\n"}}{{"\n"}}{{join .XTestImports "\n"}}`, "./../../...") {
		for _, path := range indirect {
			require.False(t, imported == path || strings.HasPrefix(imported, path+"/"), "%s is imported, and go.mod says that %s is indirect: run go mod tidy", imported, path)
		}
	}
}

func goList(t *testing.T, format string, packages ...string) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", format}, packages...)...).Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}

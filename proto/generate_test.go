package proto

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGeneratedCodeIsFresh generates everything aside and compares. It needs the dashboard's packages, which `make
// test` installs: they bring buf and the TypeScript generator.
func TestGeneratedCodeIsFresh(t *testing.T) {
	tools, err := filepath.Abs("../web/node_modules/.bin")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(tools, "buf")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v; `make test` installs it", err)
		}
		t.Skip("web/node_modules is not installed; `make web` installs it")
	}
	out := t.TempDir()
	// The output folders in buf.gen.yaml are relative to the output base: proto's own place in the tree.
	base := filepath.Join(out, "proto")
	command := exec.CommandContext(t.Context(), "buf", "generate", "--output", base)
	command.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	if command.Path = filepath.Join(tools, "buf"); command.Err != nil {
		command.Err = nil // found by its path, not on PATH
	}
	output, err := command.CombinedOutput()
	require.NoError(t, err, string(output))

	compared := 0
	err = filepath.WalkDir(out, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(out, path)
		require.NoError(t, err)
		fresh, err := os.ReadFile(path)
		require.NoError(t, err)
		checkedIn, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err, "run `make generate`")
		require.Equal(t, string(fresh), string(checkedIn), "%s is stale: run `make generate`", name)
		compared++
		return nil
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, compared, 18)
}

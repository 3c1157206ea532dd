package storagetest

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// tally counts what became of the suite's cases on one driver, so that a run shows that it tested what it should.
type tally struct {
	on                      string
	passed, failed, skipped int
}

// name learns which database it is, from the first store that opens.
func (c *tally) name(t *testing.T, s storage.Store) {
	if c.on != "" {
		return
	}
	description, err := s.Describe(t.Context())
	require.NoError(t, err)
	c.on = description.Driver + " " + description.Version
}

func (c *tally) add(t *testing.T) {
	switch {
	case t.Failed():
		c.failed++
	case t.Skipped():
		c.skipped++
	default:
		c.passed++
	}
}

// tell logs one line, and appends it to the file that GOHUB_TEST_SUMMARY names: go test shows no log of a package that
// passes.
func (c *tally) tell(t *testing.T) {
	if c.on == "" {
		return
	}
	line := fmt.Sprintf("storage conformance: %d passed, %d failed, %d skipped on %s", c.passed, c.failed, c.skipped, c.on)
	t.Log(line)
	name := os.Getenv("GOHUB_TEST_SUMMARY")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer file.Close()
	_, err = fmt.Fprintln(file, line)
	require.NoError(t, err)
}

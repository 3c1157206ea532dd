package chaos

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, as the program that a test started for its agents, these.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == AgentCommand {
		if err := RunAgents(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

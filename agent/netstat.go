package agent

import (
	"strings"
)

// parseNetstat counts the TCP sockets in the output of macOS' `netstat -an -p tcp`: lines of protocol, queues, two
// addresses and the state.
func parseNetstat(output string) (connections, established, listening uint32) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[0], "tcp") {
			continue
		}
		switch fields[5] {
		case "LISTEN":
			listening++
			continue
		case "ESTABLISHED":
			established++
		}
		connections++
	}
	return connections, established, listening
}

package agent

import (
	"os"
	"strings"

	"github.com/google/uuid"
)

// bootID names the run of the operating system; it is zero if that can not be told.
func bootID() [16]byte {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // zero says the same as an error
	id, _ := uuid.Parse(strings.TrimSpace(string(text)))
	return id
}

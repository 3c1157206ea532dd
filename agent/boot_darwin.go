package agent

import (
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// bootID names the run of the operating system; it is zero if that can not be told.
func bootID() [16]byte {
	text, _ := unix.Sysctl("kern.bootsessionuuid") // zero says the same as an error
	id, _ := uuid.Parse(text)
	return id
}

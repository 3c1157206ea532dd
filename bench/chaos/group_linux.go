package chaos

import "syscall"

// ownGroup keeps a terminal's Ctrl-C from a process, and has it killed when this one dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

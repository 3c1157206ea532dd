package bench

import "syscall"

// ownGroup keeps a terminal's Ctrl-C from the process, and has it killed when the benchmark dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

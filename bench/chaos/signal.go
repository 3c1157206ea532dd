package chaos

import "syscall"

// freeze stops a process where it is, without its doing; thaw has it go on.
func freeze(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }
func thaw(pid int) error   { return syscall.Kill(pid, syscall.SIGCONT) }

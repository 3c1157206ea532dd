package rig

import "syscall"

// Freeze stops a process where it is, without its doing; Thaw has it go on.
func Freeze(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }

// Thaw is documented with Freeze.
func Thaw(pid int) error { return syscall.Kill(pid, syscall.SIGCONT) }

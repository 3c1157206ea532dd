//go:build !linux

package bench

import "syscall"

// ownGroup does nothing here: what the benchmark reads from /proc is Linux's alone.
func ownGroup() *syscall.SysProcAttr { return nil }

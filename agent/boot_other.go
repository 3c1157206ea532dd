//go:build !linux && !darwin

package agent

// bootID names the run of the operating system; it is zero as it can not be told here.
func bootID() [16]byte { return [16]byte{} }

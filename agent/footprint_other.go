//go:build !linux

package agent

// unmapProgram does nothing: these systems trim what is unused by themselves, or have no call for it.
func unmapProgram() error { return nil }

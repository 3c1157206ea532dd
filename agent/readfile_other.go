//go:build !linux

package agent

import "os"

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }

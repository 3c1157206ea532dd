package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// identityFile holds the agent's UUID, in the state directory.
const identityFile = "agent-id"

// ErrStateDir says that the state directory cannot be used. The error's text names it and the cause.
var ErrStateDir = errors.New("state directory cannot be used")

// LoadIdentity returns the UUID that names this agent for ever. It is made on the first call for a directory, which is
// created if need be, and written so that a crash leaves either none or a whole one. Errors wrap ErrStateDir.
func LoadIdentity(directory string) (string, error) {
	path := filepath.Join(directory, identityFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		id, err := uuid.Parse(strings.TrimSpace(string(text)))
		if err != nil {
			return "", fmt.Errorf("%w: %s holds no UUID (%w); restore it, or delete it to make this machine a new host", ErrStateDir, path, err)
		}
		return id.String(), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make agent id: %w", err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	if err := writeFileAtomic(path, []byte(id.String()+"\n")); err != nil {
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	return id.String(), nil
}

// writeFileAtomic makes a file of mode 0600 that, after a crash, is there whole or not at all.
func writeFileAtomic(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // err says what went wrong first
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	if directory, openErr := os.Open(filepath.Dir(path)); openErr == nil {
		_ = directory.Sync() // not every system can; the name is then as durable as it gets
		_ = directory.Close()
	}
	return nil
}

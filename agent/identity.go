package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// Files in the state directory: the agent's UUID, and the fingerprint of the machine that it was made on.
const (
	identityFile    = "agent-id"
	fingerprintFile = "machine"
)

// ErrStateDir says that the state directory cannot be used. The error's text names it and the cause.
var ErrStateDir = errors.New("state directory cannot be used")

// LoadIdentity returns the UUID that names this agent for ever. It is made on the first call for a directory, which is
// created if need be, and written so that a crash leaves either none or a whole one. Errors wrap ErrStateDir.
//
// A directory that was copied to another machine, which the fingerprint tells, gets a new UUID: the machine is a host of
// its own. The UUID is written before the fingerprint, so that a crash between makes yet another one, never two machines
// with the same. What the spool in the directory holds stays with the UUID that it was taken under: see OpenDiskSpool.
func LoadIdentity(directory string, machine Fingerprint, log *slog.Logger) (string, error) {
	path := filepath.Join(directory, identityFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id, err := makeIdentity(directory)
		if err != nil {
			return "", err
		}
		keepFingerprint(directory, machine, log)
		return id, nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%w: %s holds no UUID (%w); restore it, or delete it to make this machine a new host", ErrStateDir, path, err)
	}
	text, err = os.ReadFile(filepath.Join(directory, fingerprintFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("can not tell whether the state directory was copied from another machine", "error", err)
		return id.String(), nil
	}
	known := parseFingerprint(string(text))
	if machine.differs(known) {
		fresh, err := makeIdentity(directory)
		if err != nil {
			return "", err
		}
		log.Warn("the state directory comes from another machine: this one goes on as a host of its own, under a new agent id",
			"state_dir", directory, "old_agent_id", id.String(), "agent_id", fresh,
			"hint", "if the machine is the same with other hardware, put the old agent id back into the file agent-id and restart the agent")
		keepFingerprint(directory, machine, log)
		return fresh, nil
	}
	if both := machine.with(known); both.String() != known.String() {
		keepFingerprint(directory, both, log)
	}
	return id.String(), nil
}

// makeIdentity makes a UUID and writes it.
func makeIdentity(directory string) (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make agent id: %w", err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	if err := writeFileAtomic(filepath.Join(directory, identityFile), []byte(id.String()+"\n")); err != nil {
		return "", fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	return id.String(), nil
}

// keepFingerprint writes it. A disk that takes nothing must not stop the agent: the next start writes it.
func keepFingerprint(directory string, machine Fingerprint, log *slog.Logger) {
	if len(machine) == 0 {
		return
	}
	if err := writeFileAtomic(filepath.Join(directory, fingerprintFile), []byte(machine.String())); err != nil {
		log.Warn("can not note which machine this is; a copy of the state directory will not be told from it", "error", err, "state_dir", directory)
	}
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

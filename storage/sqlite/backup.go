package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Find returns an error if a directory has no database.
func Find(directory string) error {
	if _, err := os.Stat(filepath.Join(directory, FileName)); err != nil {
		return fmt.Errorf("find the database: %w", err)
	}
	return nil
}

// Backup writes what is committed in the database of a directory into a new file, which is a database itself. A server may work
// on the database meanwhile: reading does not hold it up, and what it commits after the start is not in the file.
func Backup(ctx context.Context, directory, file string) (err error) {
	path := filepath.Join(directory, FileName)
	if err := Find(directory); err != nil {
		return fmt.Errorf("back %s up: %w", path, err)
	}
	switch _, err := os.Stat(file); {
	case err == nil:
		return fmt.Errorf("the file %s is there already; choose another one", file)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("back %s up: %w", path, err)
	}
	temporary := file + ".part"
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(temporary))
		}
	}()
	if err := vacuumInto(ctx, path, temporary); err != nil {
		return fmt.Errorf("back %s up into %s: %w", path, temporary, err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("name the backup: %w", err)
	}
	return nil
}

// vacuumInto writes the database at a path into a file, to the disk.
func vacuumInto(ctx context.Context, path, file string) (err error) {
	// SQLite refuses a file that is not empty, as one that a killed backup has left, and would let others read a new one.
	created, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, created.Close()) }()
	db, err := openFile(path, 1)
	if err != nil {
		return classify(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO $1", file); err != nil {
		return classify(err)
	}
	return created.Sync()
}

func remove(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

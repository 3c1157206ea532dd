package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// ErrSchemaNewer: the database was migrated by a newer server than this one.
var ErrSchemaNewer = errors.New("the database's schema is newer than this server")

// Migrate brings the database up to the newest migration in the directory of files. It fails with ErrSchemaNewer
// rather than work on a schema that it does not know, and names the version of a migration that stopped half-way.
func Migrate(files fs.FS, directory string, target database.Driver) error {
	source, err := iofs.New(files, directory)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	newest, err := newestVersion(files, directory)
	if err != nil {
		return err
	}
	migrations, err := migrate.NewWithInstance("embedded", source, directory, target)
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	version, dirty, err := migrations.Version()
	switch {
	case errors.Is(err, migrate.ErrNilVersion):
	case err != nil:
		return fmt.Errorf("read the schema's version: %w", err)
	case dirty:
		return fmt.Errorf("migration %d stopped half-way; repair the schema, then set it in schema_migrations", version)
	case version > newest:
		return fmt.Errorf("%w: it has version %d, this server knows up to %d; start a newer gohub-server", ErrSchemaNewer, version, newest)
	}
	if err := migrations.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}

func newestVersion(files fs.FS, directory string) (uint, error) {
	source, err := iofs.New(files, directory)
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	defer source.Close()
	version, err := source.First()
	for err == nil {
		var next uint
		if next, err = source.Next(version); err == nil {
			version = next
		}
	}
	if !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	return version, nil
}

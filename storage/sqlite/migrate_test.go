package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/migrations"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// migrateTo takes the schema of a file that no server uses to a version; 0 is before the first.
func migrateTo(t *testing.T, path string, version uint) {
	t.Helper()
	db, err := openFile(path, 1)
	require.NoError(t, err)
	defer db.Close()
	target, err := migratesqlite.WithInstance(db, &migratesqlite.Config{})
	require.NoError(t, err)
	source, err := iofs.New(migrations.SQLite, "sqlite")
	require.NoError(t, err)
	steps, err := migrate.NewWithInstance("embedded", source, "sqlite", target)
	require.NoError(t, err)
	if version == 0 {
		require.NoError(t, steps.Down())
		return
	}
	require.NoError(t, steps.Migrate(version))
}

// TestSchemaGoesDownAndUp: whatever a server made of the catalogue is gone in the end, and a server starts.
func TestSchemaGoesDownAndUp(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, FileName)
	open := func() *Store {
		store, err := Open(directory, storage.Options{Idle: true})
		require.NoError(t, err)
		return store
	}
	require.NoError(t, open().Close())
	migrateTo(t, path, 0)
	db, err := openFile(path, 1)
	require.NoError(t, err)
	defer db.Close()
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> 'schema_migrations'").Scan(&left))
	require.Zero(t, left)
	require.NoError(t, open().Close())
}

// TestRollupsStayWhereTheSchemaGoesDown goes back to before retention noted what is gone, and up again.
func TestRollupsStayWhereTheSchemaGoesDown(t *testing.T) {
	database := newDatabase(t)
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		path := store.(*Store).path
		require.NoError(t, store.Close())
		migrateTo(t, path, 4)
		return database.Open(t, options)
	})
}

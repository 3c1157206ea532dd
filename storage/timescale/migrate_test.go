package timescale

import (
	"testing"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/migrations"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// migrateTo takes the schema of a database that no server uses to a version; 0 is before the first.
func migrateTo(t *testing.T, url string, version uint) {
	t.Helper()
	steps := migrator(t, url)
	defer steps.Close()
	if version == 0 {
		require.NoError(t, steps.Down())
		return
	}
	require.NoError(t, steps.Migrate(version))
}

// migrator is of a database that no server uses. Closing it closes its connections.
func migrator(t *testing.T, url string) *migrate.Migrate {
	t.Helper()
	config, err := pgxv5.ParseConfig(url)
	require.NoError(t, err)
	target, err := pgx.WithInstance(stdlib.OpenDB(*config), &pgx.Config{})
	require.NoError(t, err)
	source, err := iofs.New(migrations.TimescaleDB, "timescaledb")
	require.NoError(t, err)
	steps, err := migrate.NewWithInstance("embedded", source, "timescaledb", target)
	require.NoError(t, err)
	return steps
}

// TestSchemaGoesDownAndUp: whatever a server made of the catalogue is gone in the end, and a server starts.
func TestSchemaGoesDownAndUp(t *testing.T) {
	onBothEditions(t, func(t *testing.T, url string) {
		require.NoError(t, openAt(t, url).Close())
		migrateTo(t, url, 0)
		left := databaseAt(url).Select(t, `SELECT count(*) FROM pg_class AS c WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('analysis'))
			AND relkind IN ('r', 'v', 'm', 'S') AND relname <> 'schema_migrations' AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')`)
		require.Zero(t, left[0][0])
		require.NoError(t, openAt(t, url).Close())
	})
}

// TestWithoutGenerationsRollupsAreMadeOfSamples takes a database of the Community edition back to before there were generations.
func TestWithoutGenerationsRollupsAreMadeOfSamples(t *testing.T) {
	url := storagetest.CommunityURL(t)
	database := databaseAt(url)
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		require.NoError(t, store.Close())
		migrateTo(t, url, 4)
		return database.Open(t, options)
	})
	require.Positive(t, database.Select(t, "SELECT count(*) FROM host_samples_1m_g1")[0][0])
}

// TestMovedTablesComeBack takes a database back that was moved to the Community edition, and moves it again.
func TestMovedTablesComeBack(t *testing.T) {
	url := storagetest.CommunityURL(t)
	database, reopen := madeAsApache(url)
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		require.NoError(t, store.(*Store).AdoptCommunity(t.Context()))
		require.NoError(t, store.RollUp(t.Context()))
		require.NoError(t, store.Close())
		migrateTo(t, url, 4)
		store = reopen(t, options)
		require.Zero(t, mustRead(t, store.(*Store).reads).numbered, "rollups are tables")
		require.NoError(t, store.RollUp(t.Context()))
		require.NoError(t, store.(*Store).AdoptCommunity(t.Context()))
		return store
	})
	require.Positive(t, database.Select(t, "SELECT count(*) FROM host_samples_1m_g0")[0][0])
}

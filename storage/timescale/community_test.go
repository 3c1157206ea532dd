package timescale

import (
	"slices"
	"testing"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// madeAsApache is a database of the Community edition that is made as the Apache edition's are. reopen opens it as the product does.
func madeAsApache(url string) (database storagetest.Database, reopen func(t *testing.T, options storage.Options) storage.Store) {
	database = databaseAt(url)
	reopen = database.Open
	database.Open = func(t *testing.T, options storage.Options) storage.Store {
		store, err := open(t.Context(), url, options, true)
		require.NoError(t, err)
		return store
	}
	return database, reopen
}

// TestAdoptedRollupsAnswerAsBefore makes a database as the Apache edition's is, and moves it.
func TestAdoptedRollupsAnswerAsBefore(t *testing.T) {
	database, reopen := madeAsApache(storagetest.CommunityURL(t))
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		require.NoError(t, store.Close())
		store = reopen(t, options)
		all, err := readGenerations(t.Context(), store.(*Store).reads)
		require.NoError(t, err)
		require.Zero(t, all.numbered, "a database keeps the kind that it has")
		require.NoError(t, store.(*Store).AdoptCommunity(t.Context()))
		require.ErrorIs(t, store.(*Store).AdoptCommunity(t.Context()), ErrAdopted)
		return store
	})
	rows := database.Select(t, "SELECT count(*) FROM host_samples_1m_g0 UNION ALL SELECT count(*) FROM host_samples_1m_g1 ORDER BY 1")
	require.Positive(t, rows[0][0])
	rows = database.Select(t, "SELECT count(*) FROM host_samples_1m UNION ALL SELECT count(*) FROM analysis.hosts_1m")
	require.Equal(t, rows[0], rows[1], "analysts see what there is")
}

func TestApacheEditionAdoptsNothing(t *testing.T) {
	store := openAt(t, storagetest.DatabaseURL(t))
	defer store.Close()
	require.ErrorContains(t, store.AdoptCommunity(t.Context()), "Apache edition")
}

// TestNewMetricMakesAGeneration makes a database with a catalogue that lacks a metric, and opens it with the one that has it.
func TestNewMetricMakesAGeneration(t *testing.T) {
	url := storagetest.CommunityURL(t)
	database := databaseAt(url)
	database.Ahead = true // families without a new metric have what Coverage was taken back from
	whole := database.Open
	database.Open = func(t *testing.T, options storage.Options) storage.Store {
		store, err := open(t.Context(), url, options, true)
		require.NoError(t, err)
		older := *catalogue.Host()
		older.Metrics = slices.DeleteFunc(slices.Clone(older.Metrics), func(m *catalogue.Metric) bool { return m.Name == "load1" })
		require.NoError(t, pgxv5.BeginFunc(t.Context(), store.writes, func(tx pgxv5.Tx) error {
			for family := range mustRead(t, tx).of {
				for _, r := range storage.Resolutions[1:] {
					_, err := tx.Exec(t.Context(), "DROP TABLE "+r.Relation(family)+" CASCADE")
					require.NoError(t, err)
				}
				if family == catalogue.Host() {
					family = &older
				}
				require.NoError(t, store.makeAggregates(t.Context(), tx, family, []generation{{number: unnumbered}}))
			}
			return nil
		}))
		return store
	}
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		require.NoError(t, store.Close())
		for range 2 { // the second finds all there
			store = whole(t, options)
			all := mustRead(t, store.(*Store).reads)
			require.Len(t, all.of[catalogue.Host()], 2)
			require.Equal(t, len(all.of)+1, all.numbered)
			require.NoError(t, store.Close())
		}
		return whole(t, options)
	})
	require.NotEmpty(t, database.Select(t, "SELECT load1_count FROM host_samples_1m WHERE load1_count = 0 AND load1_avg IS NULL"))
	last := database.Select(t, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'host_samples_1m'::regclass AND attname LIKE 'load1%' AND attnum > 100")
	require.EqualValues(t, 5, last[0][0], "columns of a new metric are the last, so that what reads the view stays")
}

func mustRead(t *testing.T, q querier) generations {
	all, err := readGenerations(t.Context(), q)
	require.NoError(t, err)
	return all
}

// TestCompressedRollupsAnswerAsBefore compresses every chunk, and sends rows for their time.
func TestCompressedRollupsAnswerAsBefore(t *testing.T) {
	database := databaseAt(storagetest.CommunityURL(t))
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, _ storage.Options) storage.Store {
		all := mustRead(t, store.(*Store).reads)
		compressed := 0
		for family, some := range all.of {
			for _, relation := range []string{family.StoredTable(), some[0].relation(family, storage.Minute), some[0].relation(family, storage.Hour)} {
				tag, err := store.(*Store).writes.Exec(t.Context(), "SELECT compress_chunk(chunk) FROM show_chunks($1::text::regclass) AS chunk", relation)
				require.NoError(t, err, relation)
				compressed += int(tag.RowsAffected())
			}
		}
		require.Greater(t, compressed, 20)
		return store
	})
	jobs := database.Select(t, "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'")
	require.EqualValues(t, len(catalogue.Families()), jobs[0][0], "a policy for each table of samples")
}

// TestProcessesAreCompressedByName: what comes and goes is one segment a host, in which what repeats most comes first.
func TestProcessesAreCompressedByName(t *testing.T) {
	store := openAt(t, storagetest.CommunityURL(t))
	defer store.Close()
	var order string
	require.NoError(t, store.reads.QueryRow(t.Context(), `
		SELECT string_agg(concat_ws(' ', attname, CASE WHEN segmentby_column_index > 0 THEN 'segment' WHEN orderby_asc THEN 'up' ELSE 'down' END),
			', ' ORDER BY segmentby_column_index NULLS LAST, orderby_column_index)
		FROM timescaledb_information.compression_settings WHERE hypertable_name = 'process_samples_packed'`).Scan(&order))
	require.Equal(t, "host_id segment, name up, pid up, time down", order)
}

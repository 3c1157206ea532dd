package timescale

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestSamplesAreReadAsTheyCame stores random samples, some of them packed, and reads them bit for bit: as they were stored, of
// compressed chunks, after the way down and up again, and of another database that they are imported into.
func TestSamplesAreReadAsTheyCame(t *testing.T) { onBothEditions(t, samplesAreReadAsTheyCame) }

func samplesAreReadAsTheyCame(t *testing.T, url string) {
	store := openAt(t, url)
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: time.Now()})
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	samples := map[int64]*catalogue.Sample{}
	var batches []*storage.Batch
	for range 100 {
		sample := storagetest.Mixed(random)
		if samples[sample.TimeUnixMillis] == nil {
			samples[sample.TimeUnixMillis] = storagetest.Flat(sample)
			seq := uint64(len(batches))
			batches = append(batches, &storage.Batch{Host: host.ID, Epoch: 7, Prev: seq, Seq: seq + 1, ReceivedAt: time.Now(), Rows: storagetest.Rows(host.ID, time.Now(), sample)})
		}
	}
	_, err := store.Append(t.Context(), batches)
	require.NoError(t, err)
	check := func() {
		t.Helper()
		for _, family := range catalogue.Families() {
			requireSamples(t, store, family, host.ID, samples)
		}
	}
	check()
	exec := func(statement string) {
		t.Helper()
		_, err := store.writes.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, table := range []string{"host_samples_packed", "filesystem_samples_packed"} {
		var packed, plain int
		column := map[bool]string{true: "memory_used_bytes", false: "used_bytes"}[strings.HasPrefix(table, "host")]
		require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT count("+column+"_mib), count("+column+") FROM "+table).Scan(&packed, &plain))
		require.Positive(t, packed)
		require.Positive(t, plain)
	}
	compressAll(t, store)
	check()
	require.NoError(t, store.Close())
	migrateTo(t, url, 8)
	store = openAt(t, url)
	defer func() { require.NoError(t, store.Close()) }()
	check()
	for _, family := range catalogue.Families() { // rows of before and packed ones together
		var rows [][]storage.Cell
		require.NoError(t, store.ReadRows(t.Context(), storage.Table{Family: family}, []storage.HostID{host.ID}, everything, func(row []storage.Cell) error {
			rows = append(rows, append([]storage.Cell(nil), row...))
			return nil
		}))
		exec("DELETE FROM " + family.StoredTable() + " WHERE time > '2026-05-17 12:05:00Z'")
		require.NoError(t, pgxv5.BeginFunc(t.Context(), store.writes, func(tx pgxv5.Tx) error {
			stored, err := store.importRows(t.Context(), tx, storage.Table{Family: family}, rows)
			require.Less(t, stored, int64(len(rows)))
			require.Positive(t, stored)
			return err
		}))
	}
	check()
	var packed, plain int
	require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT count(cpu_percent_x16), count(cpu_percent) FROM process_samples_packed").Scan(&packed, &plain))
	require.Positive(t, packed)
	require.Positive(t, plain)
}

var everything = storage.Span{From: time.Unix(0, 0), To: time.Unix(1<<40, 0)}

// requireSamples holds the rows of a family against samples, by their times.
func requireSamples(t *testing.T, store *Store, family *catalogue.Family, host storage.HostID, samples map[int64]*catalogue.Sample) {
	t.Helper()
	table, read := storage.Table{Family: family}, 0
	first := len(table.Columns()) - len(family.Metrics)
	require.NoError(t, store.ReadRows(t.Context(), table, []storage.HostID{host}, everything, func(row []storage.Cell) error {
		read++
		sample := samples[time.UnixMicro(row[storage.TimeColumn].Int).UnixMilli()]
		require.NotNil(t, sample)
		for i, metric := range family.Metrics {
			bits, there := family.Row(sample, 0).Bits(metric)
			cell := row[first+i]
			require.Equal(t, there, cell.Valid, metric.Name)
			if there {
				require.Equal(t, bits, cellBits(cell, table.Columns()[first+i].Kind), "%s: %v", metric.Name, cell)
			}
		}
		return nil
	}))
	require.Equal(t, len(samples), read, family.Name)
}

// asBefore opens a database as a server did that packed nothing: its samples and its aggregates are of plain columns.
func asBefore(t *testing.T, url string, options storage.Options) *Store {
	store, err := Open(t.Context(), url, options)
	require.NoError(t, err)
	store.plainBefore = math.MaxInt64
	require.NoError(t, pgxv5.BeginFunc(t.Context(), store.writes, func(tx pgxv5.Tx) error {
		for family, some := range mustRead(t, tx).of {
			if some[0].isTable() {
				continue
			}
			plain := *family
			plain.Metrics = nil
			for _, metric := range family.Metrics {
				one := *metric
				one.Packing = catalogue.Unpacked
				plain.Metrics = append(plain.Metrics, &one)
			}
			for i := len(storage.Resolutions) - 1; i > 0; i-- {
				_, err := tx.Exec(t.Context(), "DROP VIEW "+storage.Resolutions[i].Relation(family)+" CASCADE")
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), "DROP MATERIALIZED VIEW "+some[0].relation(family, storage.Resolutions[i]))
				require.NoError(t, err)
			}
			_, err := tx.Exec(t.Context(), "DELETE FROM rollup_generations WHERE family = $1", family.Name)
			require.NoError(t, err)
			require.NoError(t, store.makeAggregates(t.Context(), tx, &plain, []generation{{number: unnumbered}}))
		}
		_, err := tx.Exec(t.Context(), "UPDATE rollup_generations SET packed = false; UPDATE rollup_progress SET generations = (SELECT count(*) FROM rollup_generations)")
		return err
	}))
	return store
}

// TestDatabaseOfBeforeAnswersAsBefore upgrades a database, twice with the way back between, whose chunks are compressed where they
// can be. Generations of before go on counting for the time before the day.
func TestDatabaseOfBeforeAnswersAsBefore(t *testing.T) {
	onBothEditions(t, func(t *testing.T, url string) {
		database := databaseAt(url)
		database.Ahead = true
		whole := database.Open
		database.Open = func(t *testing.T, options storage.Options) storage.Store { return asBefore(t, url, options) }
		storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
			for range 2 {
				compressAll(t, store.(*Store))
				all := mustRead(t, store.(*Store).reads)
				require.NoError(t, store.Close())
				const counts = "SELECT count(*), sum(cpu_usage_percent_count), avg(cpu_usage_percent_avg), max(memory_used_bytes_max) FROM host_samples_1m WHERE time < '%s'"
				before := storage.Day.Floor(options.Now()).Format(time.RFC3339)
				held := database.Select(t, fmt.Sprintf(counts, before))
				require.Positive(t, held[0][0])
				read := database.Select(t, "SELECT cpu_usage_percent, memory_used_bytes FROM host_samples ORDER BY host_id, time")
				migrateTo(t, url, 8)
				requireSame(t, held, database.Select(t, fmt.Sprintf(counts, before)))
				requireSame(t, read, database.Select(t, "SELECT cpu_usage_percent, memory_used_bytes FROM host_samples ORDER BY host_id, time"))
				store = whole(t, options)
				require.NoError(t, store.RollUp(t.Context()))
				if all.numbered > 0 {
					require.Len(t, mustRead(t, store.(*Store).reads).of[catalogue.Host()], 2)
					require.Equal(t, storage.Day.Floor(options.Now()).UnixMilli(), store.(*Store).plainBefore)
				} else {
					require.Zero(t, store.(*Store).plainBefore)
				}
			}
			return store
		})
		stored := database.Select(t, "SELECT count(memory_used_bytes_mib), count(memory_used_bytes) FROM host_samples_packed")
		require.Positive(t, stored[0][0])
		require.Positive(t, stored[0][1])
	})
}

// TestPackedDatabaseGoesBack: without what is packed, samples and rollups are as they were.
func TestPackedDatabaseGoesBack(t *testing.T) {
	onBothEditions(t, func(t *testing.T, url string) {
		database := databaseAt(url)
		database.Ahead = true
		storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
			compressAll(t, store.(*Store))
			require.NoError(t, store.Close())
			read := database.Select(t, "SELECT cpu_usage_percent, memory_used_bytes FROM host_samples ORDER BY host_id, time")
			migrateTo(t, url, 8)
			requireSame(t, read, database.Select(t, "SELECT cpu_usage_percent, memory_used_bytes FROM host_samples ORDER BY host_id, time"))
			return database.Open(t, options)
		})
	})
}

// TestClockThatIsBehindAtTheUpgradeHidesNoRollups upgrades a database two days before its last rollup, by the clock.
func TestClockThatIsBehindAtTheUpgradeHidesNoRollups(t *testing.T) {
	url := storagetest.CommunityURL(t)
	database := databaseAt(url)
	database.Ahead = true
	database.Open = func(t *testing.T, options storage.Options) storage.Store { return asBefore(t, url, options) }
	storagetest.RunChangedRollups(t, database, func(t *testing.T, store storage.Store, options storage.Options) storage.Store {
		require.NoError(t, store.Close())
		behind := options
		behind.Now = func() time.Time { return options.Now().Add(-48 * time.Hour) }
		opened, err := Open(t.Context(), url, behind)
		require.NoError(t, err)
		require.Equal(t, storage.Day.Floor(options.Now()).UnixMilli(), opened.plainBefore)
		require.NoError(t, opened.Close())
		return databaseAt(url).Open(t, options)
	})
}

// TestWayDownKeepsRollupsThatOutlivedTheirSamples has retention drop samples.
func TestWayDownKeepsRollupsThatOutlivedTheirSamples(t *testing.T) {
	address := storagetest.CommunityURL(t)
	database := databaseAt(address)
	begin := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	now := begin
	store := database.Open(t, storage.Options{Idle: true, Now: func() time.Time { return now }})
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: begin})
	for n := range uint64(2) {
		at := begin.Add(-time.Hour + time.Duration(n)*10*24*time.Hour)
		sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli(), Host: &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(3)}}
		_, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 7, Prev: n, Seq: n + 1, ReceivedAt: at, Rows: storagetest.Rows(host.ID, at, sample)}})
		require.NoError(t, err)
		require.NoError(t, store.RollUp(t.Context()))
		now = now.Add(10 * 24 * time.Hour)
		require.NoError(t, store.RollUp(t.Context()))
	}
	require.NoError(t, store.Close())
	require.EqualValues(t, 2, database.Select(t, "SELECT count(*) FROM host_samples_1m")[0][0])
	steps := migrator(t, address)
	require.ErrorContains(t, steps.Migrate(8), "would be lost on the way down")
	steps.Close() // its session is in the transaction that failed
	steps = migrator(t, address)
	require.NoError(t, steps.Force(9), "nothing was done")
	steps.Close()
	require.EqualValues(t, 2, database.Select(t, "SELECT count(*) FROM host_samples_1m")[0][0])
	migrateTo(t, address+"&gohub.discard_rollups=on", 8)
}

// requireSame compares numbers of which some are NULL.
func requireSame(t *testing.T, want, got [][]float64) {
	t.Helper()
	require.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
}

// compressAll compresses what the edition can.
func compressAll(t *testing.T, store *Store) {
	t.Helper()
	var community bool
	require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT current_setting('timescaledb.license') = 'timescale'").Scan(&community))
	if !community {
		return
	}
	for _, family := range catalogue.Families() {
		relations := []string{family.StoredTable()}
		for _, g := range mustRead(t, store.reads).of[family] {
			relations = append(relations, g.relation(family, storage.Minute), g.relation(family, storage.Hour))
		}
		for _, relation := range relations {
			_, err := store.writes.Exec(t.Context(), "SELECT compress_chunk(chunk, if_not_compressed => true) FROM show_chunks($1::text::regclass) AS chunk", relation)
			require.NoError(t, err, relation)
		}
	}
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
	"github.com/gohub-io/gohub/storage/timescale"
)

// database is a store under test.
type database interface {
	storage.Store
	storage.Archive
}

// opener opens an empty database, which ends with the test.
type opener func(t *testing.T, options storage.Options) database

func openSQLite(t *testing.T, options storage.Options) database {
	store, err := sqlite.Open(t.TempDir(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func openTimescale(t *testing.T, options storage.Options) database {
	store, err := timescale.Open(t.Context(), storagetest.DatabaseURL(t), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// onBoth runs a test with each database as the one that is moved to.
func onBoth(t *testing.T, run func(t *testing.T, open opener)) {
	for name, open := range map[string]opener{"SQLite": openSQLite, "TimescaleDB": openTimescale} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, open)
		})
	}
}

// now is the clock of the tests, and begin the day of the first sample: most are older than samples are kept.
var (
	begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now   = begin.Add(10*24*time.Hour + 12*time.Hour + 34*time.Minute)
)

func options() storage.Options {
	return storage.Options{Idle: true, Now: func() time.Time { return now }}
}

// agents are the hosts of fill.
var agents = []uuid.UUID{uuid.MustParse("11111111-1111-4111-8111-111111111111"), uuid.MustParse("22222222-2222-4222-8222-222222222222")}

const every = time.Hour

// sampleAt has every family, and NULLs in every other.
func sampleAt(at time.Time, n int) *gohubv1.Sample {
	sample := &gohubv1.Sample{TimeUnixMillis: at.UnixMilli()}
	if n%2 == 0 {
		storagetest.Fill(sample)
	}
	if sample.Host == nil {
		sample.Host = &gohubv1.HostMetrics{}
	}
	sample.Host.CpuUsagePercent = proto.Float32(float32(n%101) + 0.1)
	sample.Networks = append(sample.Networks, &gohubv1.NetworkMetrics{Interface: "eth0\"\\,\u202e", ReceiveBytesTotal: proto.Uint64(math.MaxInt64 - uint64(n))})
	return sample
}

// fill stores samples of two hosts from begin to now, and rolls them up. Those of the second begin later.
func fill(ctx context.Context, store database) error {
	for h, agent := range agents {
		facts := &gohubv1.HostFacts{Hostname: "web", Os: "linux", Labels: map[string]string{"site": "ams"}}
		registration := storage.Registration{AgentID: agent, Epoch: 7, Facts: facts, At: begin.Add(time.Duration(h) * time.Hour)}
		registered, err := store.Register(ctx, []storage.Registration{registration})
		if err != nil {
			return err
		}
		host := registered[0].Host.ID
		if err := store.SetHostLabels(ctx, host, map[string]string{"role": "db"}); err != nil {
			return err
		}
		for day, seq := 0, uint64(0); day <= 10; day++ {
			var samples []*gohubv1.Sample
			from := begin.AddDate(0, 0, day)
			for at := from.Add(time.Duration(h) * time.Hour); at.Before(from.AddDate(0, 0, 1)) && at.Before(now); at = at.Add(every) {
				samples = append(samples, sampleAt(at, int(at.Sub(begin)/every)+h))
			}
			batch := &storage.Batch{Host: host, Epoch: 7, Prev: seq, Seq: seq + 1, Checksum: 5, ReceivedAt: now, Rows: storagetest.Rows(host, from, samples...)}
			if outcomes, err := store.Append(ctx, []*storage.Batch{batch}); err != nil || outcomes[0] != storage.Stored {
				return fmt.Errorf("append: %v: %w", outcomes, err)
			}
			seq++
		}
	}
	return store.RollUp(ctx)
}

// filled is a database as fill leaves it, and exported an export of all of it. Tests read both, and change neither.
var (
	filled   database
	exported string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	directory, err := os.MkdirTemp("", "gohub-archive-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	store, err := sqlite.Open(filepath.Join(directory, "data"), options())
	if err != nil {
		panic(err)
	}
	defer store.Close()
	filled, exported = store, filepath.Join(directory, "export")
	if err := fill(context.Background(), filled); err != nil {
		panic(err)
	}
	if _, err := Export(context.Background(), filled, all(exported)); err != nil {
		panic(err)
	}
	return m.Run()
}

// exportAll exports everything into a new directory.
func exportAll(t *testing.T, store database) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "export")
	_, err := Export(t.Context(), store, all(directory))
	require.NoError(t, err)
	return directory
}

func all(directory string) ExportOptions {
	return ExportOptions{Directory: directory, Resolutions: storage.Resolutions[:], Now: now}
}

// content is all rows of a database, by table, with agents' places instead of hosts.
func content(t *testing.T, store database) map[string][][]storage.Cell {
	t.Helper()
	hosts, err := store.Hosts(t.Context())
	require.NoError(t, err)
	rows := map[string][][]storage.Cell{}
	for place, agent := range agents {
		for _, host := range hosts {
			if host.AgentID != agent {
				continue
			}
			for _, table := range storage.Tables(storage.Resolutions[:]...) {
				err := store.ReadRows(t.Context(), table, []storage.HostID{host.ID}, storage.Span{From: begin.AddDate(-1, 0, 0), To: now.AddDate(1, 0, 0)}, func(row []storage.Cell) error {
					row = append([]storage.Cell(nil), row...)
					row[storage.HostColumn].Int = int64(place)
					rows[table.Name()] = append(rows[table.Name()], row)
					return nil
				})
				require.NoError(t, err)
			}
		}
	}
	return rows
}

// requireSame holds two contents against each other. Averages may differ in their last digits: each database sums up in its own
// order.
func requireSame(t *testing.T, want, got map[string][][]storage.Cell) {
	t.Helper()
	for _, table := range storage.Tables(storage.Resolutions[:]...) {
		require.Equal(t, len(want[table.Name()]), len(got[table.Name()]), table.Name())
		for n, row := range want[table.Name()] {
			for i, column := range table.Columns() {
				other := got[table.Name()][n][i]
				if row[i] == other {
					continue
				}
				if column.Kind == storage.Float64 && row[i].Valid && other.Valid {
					require.InEpsilon(t, 1+math.Abs(row[i].Float), 1+math.Abs(other.Float), 1e-12, "%s row %d: %s", table.Name(), n, column.Name)
					continue
				}
				require.Equal(t, row[i], other, "%s row %d: %s", table.Name(), n, column.Name)
			}
		}
	}
}

// answers are range queries over the whole time, each at the coarsest resolutions that have it.
func answers(t *testing.T, store database) (all [][]storage.Series) {
	t.Helper()
	coverage, err := store.Coverage(t.Context())
	require.NoError(t, err)
	var metrics []*catalogue.Metric
	for _, name := range []string{"cpu_usage_percent", "memory_used_bytes", "network_receive_bytes_total", "filesystem_used_percent"} {
		metric, known := catalogue.MetricByName(name)
		require.True(t, known)
		metrics = append(metrics, metric)
	}
	for _, r := range []storage.Resolution{storage.Minute, storage.Hour, storage.Day} {
		require.True(t, coverage[r].Until.Equal(r.Floor(now.Add(-storage.RollupLag))), "%s is rolled up until %s", r, coverage[r].Until)
		series, err := store.Range(t.Context(), storage.RangeQuery{
			Metrics: metrics, From: begin, To: coverage[r].Until, Step: r.Step(), MaxRows: 1_000_000,
			Parts: []storage.Part{{Resolution: r, From: begin, To: coverage[r].Until}},
		})
		require.NoError(t, err)
		for i := range series {
			series[i].Host, series[i].Avg = 0, nil
		}
		require.NotEmpty(t, series)
		all = append(all, series)
	}
	return all
}

func TestMoveToAnotherDatabaseAndBack(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	source := filled
	want := content(t, source)
	require.Greater(t, len(want["network_samples"]), 2*len(want["core_samples"]), "there are NULLs")
	require.Equal(t, begin.UnixMicro(), want["host_samples_1m"][0][storage.TimeColumn].Int)
	require.Greater(t, want["host_samples"][0][storage.TimeColumn].Int, begin.AddDate(0, 0, 3).UnixMicro(), "old samples are gone")

	between := openTimescale(t, options())
	storagetest.Register(t, between, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: &gohubv1.HostFacts{}, At: begin}) // ids differ
	_, err := Import(t.Context(), between, exported, nil)
	require.NoError(t, err)
	requireSame(t, want, content(t, between))
	require.Equal(t, answers(t, source), answers(t, between))

	back := openSQLite(t, options())
	_, err = Import(t.Context(), back, exportAll(t, between), nil)
	require.NoError(t, err)
	requireSame(t, want, content(t, back))
	require.Equal(t, answers(t, source), answers(t, back))

	// What the hosts are, and how far their agents' batches are stored, moves too.
	from, err := source.ArchivedHosts(t.Context())
	require.NoError(t, err)
	to, err := back.ArchivedHosts(t.Context())
	require.NoError(t, err)
	require.Len(t, to, 3)
	for i, host := range from {
		moved := to[i+1]
		require.Equal(t, host.AgentID, moved.AgentID)
		require.Equal(t, host.FirstSeen, moved.FirstSeen)
		require.Equal(t, map[string]string{"role": "db"}, moved.Labels)
		require.True(t, proto.Equal(host.Facts, moved.Facts))
		require.Equal(t, map[uint64]storage.Cursor{7: {Seq: 11, Checksum: 5}}, moved.Cursors)
	}
}

// interrupted runs until a context is cancelled after some steps, again and again, and returns how often it was.
func interrupted(t *testing.T, steps int, run func(ctx context.Context, progress func(Progress)) error) (times int) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		left := steps
		err := run(ctx, func(Progress) {
			if left--; left == 0 {
				cancel()
			}
		})
		cancel()
		if err == nil {
			return times
		}
		require.ErrorIs(t, err, context.Canceled)
		times++
	}
}

func TestInterruptedExportAndImportGoOn(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		source := filled
		directory := filepath.Join(t.TempDir(), "export")
		require.Greater(t, interrupted(t, 9, func(ctx context.Context, progress func(Progress)) error {
			options := all(directory)
			options.Progress = progress
			_, err := Export(ctx, source, options)
			return err
		}), 5)
		target := open(t, options())
		require.Greater(t, interrupted(t, 9, func(ctx context.Context, progress func(Progress)) error {
			_, err := Import(ctx, target, directory, progress)
			return err
		}), 5)
		requireSame(t, content(t, source), content(t, target))
	})
}

func TestImportTwiceStoresOnce(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		source, target := filled, open(t, options())
		first, err := Import(t.Context(), target, exported, nil)
		require.NoError(t, err)
		require.Positive(t, first.Stored)
		again, err := Import(t.Context(), target, exported, nil)
		require.NoError(t, err)
		require.Zero(t, again.ImportCounts)
		require.Zero(t, again.Files)
		// Another export has other files with the same rows.
		other := all(filepath.Join(t.TempDir(), "other"))
		other.From = begin.Add(5*24*time.Hour + 7*time.Hour)
		_, err = Export(t.Context(), source, other)
		require.NoError(t, err)
		overlapping, err := Import(t.Context(), target, other.Directory, nil)
		require.NoError(t, err)
		require.Zero(t, overlapping.Stored)
		require.Positive(t, overlapping.Present)
		requireSame(t, content(t, source), content(t, target))
	})
}

// TestImportBehindWhatIsRolledUp imports a host's past into a database that has its present already.
func TestImportBehindWhatIsRolledUp(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		source, target := filled, open(t, options())
		want := content(t, source)
		past := all(filepath.Join(t.TempDir(), "past"))
		past.To = begin.Add(9*24*time.Hour + 3*time.Hour + 21*time.Minute)
		_, err := Export(t.Context(), source, past)
		require.NoError(t, err)
		present := all(filepath.Join(t.TempDir(), "present"))
		present.From, present.Resolutions = past.To, []storage.Resolution{storage.Raw}
		_, err = Export(t.Context(), source, present)
		require.NoError(t, err)
		_, err = Import(t.Context(), target, present.Directory, nil)
		require.NoError(t, err)
		coverage, err := target.Coverage(t.Context())
		require.NoError(t, err)
		require.False(t, coverage[storage.Day].Until.IsZero())
		_, err = Import(t.Context(), target, past.Directory, nil)
		require.NoError(t, err)
		requireSame(t, want, content(t, target))
	})
}

// TestPositionsTellOfImports: who keeps samples in memory learns by them that others are stored, unless they are too old for that.
func TestPositionsTellOfImports(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		target := open(t, options())
		bring := func(from, to time.Time, resolution storage.Resolution) (moved []bool) {
			before := map[storage.HostID]uint64{}
			positions, err := target.Positions(t.Context(), nil)
			require.NoError(t, err)
			for _, p := range positions {
				before[p.Host] = p.Imports
			}
			part := all(filepath.Join(t.TempDir(), "part"))
			part.From, part.To, part.Resolutions = from, to, []storage.Resolution{resolution}
			_, err = Export(t.Context(), filled, part)
			require.NoError(t, err)
			_, err = Import(t.Context(), target, part.Directory, nil)
			require.NoError(t, err)
			positions, err = target.Positions(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, positions, len(agents))
			for _, p := range positions {
				require.EqualValues(t, 11, p.Seqs, "an import is no batch")
				moved = append(moved, p.Imports > before[p.Host])
			}
			return moved
		}
		told := now.Add(-storage.ImportsTold)
		require.Equal(t, []bool{false, false}, bring(begin, told, storage.Raw))
		require.Equal(t, []bool{true, true}, bring(told, told.Add(3*time.Hour), storage.Raw))
		require.Equal(t, []bool{false, false}, bring(told, told.Add(2*time.Hour), storage.Raw), "they are there")
		require.Equal(t, []bool{true, true}, bring(told.Add(4*time.Hour), told.Add(6*time.Hour), storage.Minute))
	})
}

// TestCoarserRollupsAreMadeOfImportedOnes imports minutes only.
func TestCoarserRollupsAreMadeOfImportedOnes(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		source, target := filled, open(t, options())
		minutes := all(filepath.Join(t.TempDir(), "minutes"))
		minutes.Resolutions = []storage.Resolution{storage.Minute}
		_, err := Export(t.Context(), source, minutes)
		require.NoError(t, err)
		_, err = Import(t.Context(), target, minutes.Directory, nil)
		require.NoError(t, err)
		want := content(t, source)
		for _, table := range storage.Tables(storage.Raw) {
			delete(want, table.Name())
		}
		requireSame(t, want, content(t, target))
	})
}

func TestSamplesThatAreNotKeptAreLeftOut(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	source := openSQLite(t, storage.Options{Idle: true, Now: options().Now, Retention: &storage.Retention{}})
	require.NoError(t, fill(t.Context(), source))
	target := openSQLite(t, options())
	done, err := Import(t.Context(), target, exportAll(t, source), nil)
	require.NoError(t, err)
	require.Positive(t, done.Expired)
	requireSame(t, content(t, filled), content(t, target))
}

func TestDamagedFileIsNamedAndNothingIsImported(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	directory := exportAll(t, filled)
	path := filepath.Join(directory, "host_samples_1h", "2026-03.parquet")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, c := range []struct {
		name  string
		spoil func() error
	}{
		{"a byte flipped", func() error {
			damaged := append([]byte(nil), content...)
			damaged[len(damaged)/2] ^= 1
			return os.WriteFile(path, damaged, 0o600)
		}},
		{"cut short", func() error { return os.WriteFile(path, content[:len(content)-1], 0o600) }},
		{"missing", func() error { return os.Remove(path) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, c.spoil())
			target := openSQLite(t, options())
			_, err := Import(t.Context(), target, directory, nil)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, "host_samples_1h/2026-03.parquet")
			hosts, err := target.Hosts(t.Context())
			require.NoError(t, err)
			require.Empty(t, hosts)
		})
	}
}

func TestUnfinishedOrOtherExportIsRefused(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	source := filled
	directory := filepath.Join(t.TempDir(), "export")
	ctx, cancel := context.WithCancel(t.Context())
	started := all(directory)
	started.Progress = func(Progress) { cancel() }
	_, err := Export(ctx, source, started)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Import(t.Context(), openSQLite(t, options()), directory, nil)
	require.ErrorContains(t, err, "not finished")
	other := all(directory)
	other.Resolutions = []storage.Resolution{storage.Day}
	_, err = Export(t.Context(), source, other)
	require.ErrorIs(t, err, ErrOtherExport)
	_, err = Export(t.Context(), source, all(directory))
	require.NoError(t, err)
	_, err = Export(t.Context(), source, all(directory))
	require.ErrorIs(t, err, ErrOtherExport, "it is whole")
}

func TestExportOfChosenHostsAndTimes(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	source := filled
	chosen := all(filepath.Join(t.TempDir(), "export"))
	chosen.From, chosen.To = begin.AddDate(0, 0, 8), begin.AddDate(0, 0, 9)
	chosen.Select = func(hosts []storage.ArchivedHost) ([]storage.ArchivedHost, error) { return hosts[1:], nil }
	_, err := Export(t.Context(), source, chosen)
	require.NoError(t, err)
	target := openSQLite(t, options())
	_, err = Import(t.Context(), target, chosen.Directory, nil)
	require.NoError(t, err)
	hosts, err := target.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, agents[1], hosts[0].AgentID)
	rows := content(t, target)["host_samples"]
	require.Equal(t, 23*int(time.Hour/every), len(rows))
	require.Equal(t, begin.AddDate(0, 0, 8).Add(time.Hour).UnixMicro(), rows[0][storage.TimeColumn].Int)
}

// TestTwoImportsOfOneFile has one go on while the other is at it.
func TestTwoImportsOfOneFile(t *testing.T) {
	t.Parallel() // most of the time is waiting for disks
	onBoth(t, func(t *testing.T, open opener) {
		target := open(t, options())
		part := storage.ImportPart{Digest: "d", Name: "n", Table: storage.Table{Family: catalogue.Host()}, To: 5}
		_, err := target.ImportRows(t.Context(), part)
		require.NoError(t, err)
		_, err = target.ImportRows(t.Context(), part)
		require.True(t, errors.Is(err, storage.ErrImportedElsewhere), "%v", err)
		progress, err := target.Imported(t.Context(), "d")
		require.NoError(t, err)
		require.Equal(t, storage.ImportProgress{Rows: 5}, progress)
	})
}

package timescale

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func openNew(t *testing.T) storage.Store { return openAt(t, storagetest.DatabaseURL(t)) }

func openAt(t *testing.T, url string) *Store {
	store, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	return store
}

func TestConformance(t *testing.T) { storagetest.Run(t, openNew) }

func TestConformanceCommunity(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return openAt(t, storagetest.CommunityURL(t)) })
}

func TestHostsAreBounded(t *testing.T) {
	bounded := func(url string) storage.Store {
		store, err := Open(t.Context(), url, storage.Options{Idle: true, MaxHosts: storagetest.MaxHosts})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	}
	url := storagetest.DatabaseURL(t)
	storagetest.RunHostBound(t, bounded(url), bounded(url))
}

// TestKnownHostsDoNotWaitForNewOnes holds the lock of those that count hosts: a fleet that comes back needs neither.
func TestKnownHostsDoNotWaitForNewOnes(t *testing.T) {
	store := openAt(t, storagetest.DatabaseURL(t))
	defer store.Close()
	known := storage.Registration{AgentID: uuid.New(), Epoch: 1, At: time.Now(), Facts: &gohubv1.HostFacts{Hostname: "web-1"}}
	first, _ := storagetest.Register(t, store, known)
	counting, err := store.writes.Begin(t.Context())
	require.NoError(t, err)
	_, err = counting.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1, $2)", locks, lockHosts)
	require.NoError(t, err)
	known.Epoch = 2
	again, _ := storagetest.Register(t, store, known)
	require.Equal(t, first.ID, again.ID)
	require.NoError(t, counting.Rollback(t.Context()))
}

// onBothEditions runs a test on each database that tests have. What needs two sessions at once can not be among them.
func onBothEditions(t *testing.T, run func(t *testing.T, url string)) {
	t.Run("Server", func(t *testing.T) { run(t, storagetest.DatabaseURL(t)) })
	t.Run("Community", func(t *testing.T) { run(t, storagetest.CommunityURL(t)) })
}

func TestDescribeTellsTheEdition(t *testing.T) {
	store := openAt(t, storagetest.CommunityURL(t))
	defer store.Close()
	description, err := store.Describe(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^2\.\d+\S* Community edition on PostgreSQL \d+\.\d+$`, description.Version)
}

func TestSampleTablesAreHypertables(t *testing.T) { onBothEditions(t, sampleTablesAreHypertables) }

func sampleTablesAreHypertables(t *testing.T, url string) {
	store := openAt(t, url)
	defer store.Close()
	rows, err := store.reads.Query(t.Context(), `
		SELECT hypertable_name FROM timescaledb_information.hypertables UNION ALL SELECT view_name FROM timescaledb_information.continuous_aggregates`)
	require.NoError(t, err)
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, family := range catalogue.Families() {
		for _, resolution := range storage.Resolutions {
			if resolution == storage.Raw || storage.RolledUp(family) {
				relation := resolution.Relation(family)
				require.True(t, slices.Contains(there, relation) || slices.Contains(there, relation+"_g1") || slices.Contains(there, relation+"_packed"), relation)
			}
		}
	}
}

func TestOpenSaysWhatIsUnreachable(t *testing.T) {
	_, err := Open(t.Context(), "postgres://gohub:secret-password@127.0.0.1:1/gohub?connect_timeout=2", storage.Options{})
	require.ErrorIs(t, err, storage.ErrUnavailable)
	require.ErrorContains(t, err, "127.0.0.1:1/gohub")
	require.NotContains(t, err.Error(), "secret-password")
}

func TestOpenRefusesNewerSchema(t *testing.T) { onBothEditions(t, openRefusesNewerSchema) }

func openRefusesNewerSchema(t *testing.T, url string) {
	store := openAt(t, url)
	_, err := store.reads.Exec(t.Context(), "UPDATE schema_migrations SET version = 9999")
	require.NoError(t, err)
	require.NoError(t, store.Close())
	_, err = Open(t.Context(), url, storage.Options{Idle: true})
	require.ErrorIs(t, err, storage.ErrSchemaNewer)
}

func TestAppendGoesOnAfterItsConnectionsWereCut(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	store, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	killer, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	defer killer.Close()
	require.NoError(t, store.Ping(t.Context()))
	_, err = killer.reads.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return store.Ping(t.Context()) == nil }, 10*time.Second, 10*time.Millisecond)
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		version, bound string
		want           bool
	}{{"2.12.1", "2.13", true}, {"2.13.0", "2.13", false}, {"2.19.3", "2.13", false}, {"1.7", "2.13", true}, {"3.0-dev", "2.13", false}, {"", "2.13", true}} {
		require.Equal(t, c.want, olderThan(c.version, c.bound), c.version)
	}
}

// TestFrozenServerHoldsNoLockThatOthersNeed stops one server between its COPY and its commit. Another one takes over its
// agent meanwhile; woken, the first finds that it has lost.
func TestFrozenServerHoldsNoLockThatOthersNeed(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	frozen, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	defer frozen.Close()
	other, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	defer other.Close()
	host, _ := storagetest.Register(t, frozen, storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: time.Now()})
	batch := func(prev, seq uint64) []*storage.Batch {
		rows := storagetest.Rows(host.ID, time.Now(), &gohubv1.Sample{TimeUnixMillis: time.Now().UnixMilli(), Host: &gohubv1.HostMetrics{}})
		return []*storage.Batch{{Host: host.ID, Epoch: 7, Prev: prev, Seq: seq, ReceivedAt: time.Now(), Rows: rows}}
	}
	// The first row makes the chunk, which locks the hypertable until its transaction ends.
	_, err = other.Append(t.Context(), batch(0, 1))
	require.NoError(t, err)
	batches := batch(1, 2)

	connection, err := frozen.writes.Acquire(t.Context())
	require.NoError(t, err)
	defer connection.Release()
	// What commit does, with a long pause before its last step.
	_, moves := expect(batches)
	wire := connection.Conn().PgConn()
	_, err = wire.Exec(t.Context(), "BEGIN").ReadAll()
	require.NoError(t, err)
	require.NoError(t, copyAll(t.Context(), wire, batches, 0))
	taken, err := other.Append(t.Context(), batches)
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Stored}, taken)
	require.ErrorIs(t, advance(t.Context(), wire, moves), errCursorMoved)
	_, err = wire.Exec(t.Context(), "ROLLBACK").ReadAll()
	require.NoError(t, err)
	again, err := frozen.Append(t.Context(), batches)
	require.NoError(t, err)
	require.Equal(t, []storage.Outcome{storage.Duplicate}, again)
	var rows int
	require.NoError(t, other.reads.QueryRow(t.Context(), "SELECT count(*) FROM host_samples").Scan(&rows))
	require.Equal(t, 2, rows)
}

// TestRowsAreWhatPostgreSQLWouldWrite holds the encoder against the database: what was copied in must come out by COPY … TO …
// BINARY byte for byte.
func TestRowsAreWhatPostgreSQLWouldWrite(t *testing.T) {
	onBothEditions(t, rowsAreWhatPostgreSQLWouldWrite)
}

func rowsAreWhatPostgreSQLWouldWrite(t *testing.T, url string) {
	store := openAt(t, url)
	defer store.Close()
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: time.Now()})
	full := &gohubv1.Sample{TimeUnixMillis: 1779019200123}
	storagetest.Fill(full)
	full.Disks = append(full.Disks, &gohubv1.DiskMetrics{Device: ""}, &gohubv1.DiskMetrics{Device: "ü/\"\n", BusyPercent: proto.Float32(0)})
	empty := &gohubv1.Sample{TimeUnixMillis: 0, Host: &gohubv1.HostMetrics{}}
	extreme := &gohubv1.Sample{TimeUnixMillis: 946684799999, Host: &gohubv1.HostMetrics{
		Load1: proto.Float32(-math.MaxFloat32), Load5: proto.Float32(math.SmallestNonzeroFloat32), Load15: proto.Float32(float32(math.Copysign(0, -1))),
		Processes: proto.Uint32(math.MaxInt32), MemoryTotalBytes: proto.Uint64(math.MaxInt64), MemoryUsedBytes: proto.Uint64(0),
	}}
	received := time.UnixMicro(1779019201234567)
	rows := storagetest.Rows(host.ID, received, full, empty, extreme)
	batch := &storage.Batch{Host: host.ID, Epoch: 7, Seq: 1, ReceivedAt: received, Rows: rows}
	_, err := store.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	connection, err := store.reads.Acquire(t.Context())
	require.NoError(t, err)
	defer connection.Release()
	written := map[storage.Form][]byte{}
	for form, tuples := range rows.Segments {
		written[form] = append(written[form], tuples...)
	}
	for _, form := range storage.Forms() {
		family := catalogue.Families()[form.Place]
		if written[form] == nil {
			require.NotEqual(t, family.Packs(), form.Packed, family.Name)
			continue
		}
		of := " WHERE true"
		if family.Packs() { // a row that is not packed has a value that can not be
			var plain []string
			for _, metric := range family.Metrics {
				if metric.Packing != catalogue.Unpacked {
					plain = append(plain, metric.Column)
				}
			}
			of = fmt.Sprintf(" WHERE (num_nonnulls(%s) = 0) = %v", strings.Join(plain, ", "), form.Packed)
		}
		// One chunk an epoch, so the order of insertion within each is the table's; by time they are as they were given.
		order := map[bool]string{true: " ORDER BY array_position(ARRAY[1779019200123, 0, 946684799999], (extract(epoch FROM time) * 1000)::bigint)"}[family.Single()]
		var out bytes.Buffer
		_, err := connection.Conn().PgConn().CopyTo(t.Context(), &out, "COPY (SELECT "+strings.Join(form.Columns(), ", ")+" FROM "+family.StoredTable()+of+order+") TO STDOUT BINARY")
		require.NoError(t, err)
		require.Equal(t, copyHeader+string(written[form])+copyTrailer, out.String(), form.Columns())
	}
	require.NotNil(t, written[storage.Form{Place: catalogue.Host().Place()}])
}

func TestChunksAreMadeAheadAndLeaveNoRows(t *testing.T) {
	onBothEditions(t, chunksAreMadeAheadAndLeaveNoRows)
}

func chunksAreMadeAheadAndLeaveNoRows(t *testing.T, url string) {
	store := openAt(t, url)
	defer store.Close()
	later := time.Now().Add(100 * 24 * time.Hour)
	require.NoError(t, store.makeChunks(t.Context(), later))
	require.NoError(t, store.makeChunks(t.Context(), later))
	for _, family := range catalogue.Families() {
		var chunks, rows int
		require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = $1 AND range_end > $2",
			family.StoredTable(), later).Scan(&chunks))
		require.Equal(t, 2, chunks, family.Table)
		require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT count(*) FROM "+family.Table).Scan(&rows))
		require.Zero(t, rows, family.Table)
	}
}

// TestCancelledRangeEndsInTheDatabase holds a query up by a lock, cancels it, and sees it gone while the lock is still held.
func TestCancelledRangeEndsInTheDatabase(t *testing.T) {
	store := openNew(t).(*Store)
	defer store.Close()
	lock, err := store.writes.Begin(t.Context())
	require.NoError(t, err)
	defer lock.Rollback(context.Background()) //nolint:errcheck // the test is over
	_, err = lock.Exec(t.Context(), "LOCK TABLE host_samples_packed IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	waiting := func() (count int) {
		// Not in the transaction, which sees the activity of its first look for good.
		err := store.small.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active' AND query LIKE '%host_samples%'`).Scan(&count)
		require.NoError(t, err)
		return count
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := store.Range(ctx, storage.RangeQuery{
			Metrics: catalogue.Host().Metrics[:1], From: time.Now().Add(-time.Hour), To: time.Now(), Step: time.Minute, MaxRows: 10,
		})
		failed <- err
	}()
	require.Eventually(t, func() bool { return waiting() == 1 }, 10*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.Eventually(t, func() bool { return waiting() == 0 }, 10*time.Second, time.Millisecond)
}

// TestDatabaseEndsStatementsByItself: a server that is frozen or cut off leaves no query running for ever.
func TestDatabaseEndsStatementsByItself(t *testing.T) {
	store := openNew(t).(*Store)
	defer store.Close()
	var reads, writes string
	require.NoError(t, store.reads.QueryRow(t.Context(), "SHOW statement_timeout").Scan(&reads))
	require.NoError(t, store.writes.QueryRow(t.Context(), "SHOW statement_timeout").Scan(&writes))
	require.Equal(t, "45s", reads)
	require.Equal(t, "0", writes)
	_, err := store.reads.Exec(t.Context(), "SET statement_timeout = 1; SELECT pg_sleep(10)")
	require.ErrorIs(t, classify(err), context.DeadlineExceeded)
}

// TestWhatIsSmallDoesNotWaitForQueries holds every connection that queries have.
func TestWhatIsSmallDoesNotWaitForQueries(t *testing.T) {
	store := openNew(t).(*Store)
	defer store.Close()
	require.EqualValues(t, 8+readsBesideQueries, store.reads.Config().MaxConns)
	for range store.reads.Config().MaxConns {
		connection, err := store.reads.Acquire(t.Context())
		require.NoError(t, err)
		defer connection.Release()
	}
	storagetest.RunSmall(t, store)
}

func TestURLMayBoundTheConnections(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	store, err := open(t.Context(), url+"&pool_max_conns=2", storage.Options{Idle: true}, false)
	require.NoError(t, err)
	defer store.Close()
	require.EqualValues(t, 2, store.reads.Config().MaxConns)
	require.EqualValues(t, 2, store.writes.Config().MaxConns)
}

package timescale

import (
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestRollups(t *testing.T) {
	storagetest.RunRollups(t, func(t *testing.T) storagetest.Database { return databaseAt(storagetest.DatabaseURL(t)) })
}

// TestRollupsCommunity has continuous aggregates.
func TestRollupsCommunity(t *testing.T) {
	storagetest.RunRollups(t, func(t *testing.T) storagetest.Database {
		database := databaseAt(storagetest.CommunityURL(t))
		// A refresh is no part of the transaction that moves the progress.
		database.Ahead = true
		return database
	})
}

func TestFailingRollupsFallBehind(t *testing.T) {
	exec := func(statement string) func(storage.Store) {
		return func(store storage.Store) {
			_, err := store.(*Store).writes.Exec(t.Context(), statement)
			require.NoError(t, err)
		}
	}
	storagetest.RunFailingRollups(t, databaseAt(storagetest.DatabaseURL(t)),
		exec("ALTER TABLE host_samples_1h RENAME COLUMN load1_avg TO load1_away"), exec("ALTER TABLE host_samples_1h RENAME COLUMN load1_away TO load1_avg"))
}

// databaseAt gives the suite of rollups a database.
func databaseAt(url string) storagetest.Database {
	return storagetest.Database{
		Open: func(t *testing.T, options storage.Options) storage.Store {
			store, err := Open(t.Context(), url, options)
			require.NoError(t, err)
			return store
		},
		Select: func(t *testing.T, query string) [][]float64 {
			connection, err := pgxv5.Connect(t.Context(), url)
			require.NoError(t, err)
			defer connection.Close(t.Context())
			rows, err := connection.Query(t.Context(), query)
			require.NoError(t, err)
			defer rows.Close()
			var all [][]float64
			for rows.Next() {
				values, err := rows.Values()
				require.NoError(t, err)
				row := make([]float64, len(values))
				for i, value := range values {
					switch value := value.(type) {
					case nil:
						row[i] = math.NaN()
					case float64:
						row[i] = value
					case float32:
						row[i] = float64(value)
					case int32:
						row[i] = float64(value)
					case int64:
						row[i] = float64(value)
					default:
						t.Fatalf("%v is a %T", value, value)
					}
				}
				all = append(all, row)
			}
			require.NoError(t, rows.Err())
			return all
		},
		Millis: func(expression string) string { return "(extract(epoch FROM " + expression + ") * 1000)::bigint" },
	}
}

// TestRowsOfAnOpenTransactionAreNotMissed has rows copied before their time is rolled up, and committed after.
func TestRowsOfAnOpenTransactionAreNotMissed(t *testing.T) {
	url := storagetest.DatabaseURL(t)
	store, err := Open(t.Context(), url, storage.Options{Idle: true})
	require.NoError(t, err)
	defer store.Close()
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 7, Facts: &gohubv1.HostFacts{}, At: time.Now()})
	at := time.Now().Add(-time.Hour).Truncate(time.Minute)
	batch := func(seq uint64) []*storage.Batch {
		sample := &gohubv1.Sample{TimeUnixMillis: at.Add(time.Duration(seq) * time.Second).UnixMilli(), Host: &gohubv1.HostMetrics{Processes: proto.Uint32(1)}}
		return []*storage.Batch{{Host: host.ID, Epoch: 7, Prev: seq - 1, Seq: seq, ReceivedAt: at, Rows: storagetest.Rows(host.ID, at, sample)}}
	}
	_, err = store.Append(t.Context(), batch(1))
	require.NoError(t, err)

	connection, err := store.writes.Acquire(t.Context())
	require.NoError(t, err)
	defer connection.Release()
	wire := connection.Conn().PgConn()
	_, moves := expect(batch(2))
	_, err = wire.Exec(t.Context(), "BEGIN").ReadAll()
	require.NoError(t, err)
	require.NoError(t, copyAll(t.Context(), wire, batch(2), 0))
	require.NoError(t, store.RollUp(t.Context()))
	require.NoError(t, advance(t.Context(), wire, moves))

	count := func() (count int) {
		require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT processes_count FROM host_samples_1m WHERE host_id = $1", int32(host.ID)).Scan(&count))
		return count
	}
	require.Equal(t, 1, count())
	require.NoError(t, store.RollUp(t.Context()))
	require.Equal(t, 2, count())
}

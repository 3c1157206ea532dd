package timescale

import (
	"math"
	"testing"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestRollups(t *testing.T) {
	storagetest.RunRollups(t, func(t *testing.T) storagetest.Database { return databaseAt(storagetest.DatabaseURL(t)) })
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

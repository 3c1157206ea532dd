package sqlite

import (
	"database/sql"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

func TestRollups(t *testing.T) { storagetest.RunRollups(t, newDatabase) }

func TestFailingRollupsFallBehind(t *testing.T) {
	exec := func(statement string) func(storage.Store) {
		return func(store storage.Store) {
			_, err := store.(*Store).write.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
	}
	storagetest.RunFailingRollups(t, newDatabase(t),
		exec("CREATE TRIGGER broken BEFORE INSERT ON host_samples_1h BEGIN SELECT raise(ABORT, 'no'); END"), exec("DROP TRIGGER broken"))
}

// newDatabase gives the suite of rollups a database.
func newDatabase(t *testing.T) storagetest.Database {
	directory := t.TempDir()
	return storagetest.Database{
		Open: func(t *testing.T, options storage.Options) storage.Store {
			store, err := Open(directory, options)
			require.NoError(t, err)
			return store
		},
		Select: func(t *testing.T, query string) [][]float64 {
			db, err := openFile(filepath.Join(directory, FileName), 1)
			require.NoError(t, err)
			defer db.Close()
			rows, err := db.QueryContext(t.Context(), query)
			require.NoError(t, err)
			defer rows.Close()
			columns, err := rows.Columns()
			require.NoError(t, err)
			var all [][]float64
			for rows.Next() {
				values, targets := make([]sql.NullFloat64, len(columns)), make([]any, len(columns))
				for i := range values {
					targets[i] = &values[i]
				}
				require.NoError(t, rows.Scan(targets...))
				row := make([]float64, len(values))
				for i, value := range values {
					row[i] = math.NaN()
					if value.Valid {
						row[i] = value.Float64
					}
				}
				all = append(all, row)
			}
			require.NoError(t, rows.Err())
			return all
		},
		Millis: func(expression string) string { return expression },
	}
}

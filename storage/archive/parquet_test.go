package archive

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// TestOthersReadTheFiles reads as a program does that knows the columns' names only.
func TestOthersReadTheFiles(t *testing.T) {
	type sample struct {
		Time   time.Time `parquet:"time,timestamp(microsecond)"`
		Host   int32     `parquet:"host_id"`
		CPU    *float32  `parquet:"cpu_usage_percent,optional"`
		Memory *int64    `parquet:"memory_used_bytes,optional"`
	}
	day := begin.AddDate(0, 0, 8)
	samples, err := parquet.ReadFile[sample](filepath.Join(exported, "host_samples", day.Format(time.DateOnly)+".parquet"))
	require.NoError(t, err)
	require.Equal(t, (24+23)*int(time.Hour/every), len(samples))
	for i, one := range samples {
		n := int(one.Time.Sub(begin)/every) + int(one.Host) - 1
		require.InDelta(t, float64(n%101)+0.1, *one.CPU, 1e-4, "row %d", i)
		require.Equal(t, n%2 == 0, one.Memory != nil, "row %d: it has memory_used_bytes, or it is NULL", i)
	}
	type host struct {
		ID       int32  `parquet:"host_id"`
		Agent    string `parquet:"agent_id"`
		Hostname string `parquet:"hostname"`
		Labels   string `parquet:"labels"`
	}
	hosts, err := parquet.ReadFile[host](filepath.Join(exported, "hosts.parquet"))
	require.NoError(t, err)
	require.Equal(t, host{1, agents[0].String(), "web", `{"role":"db","site":"ams"}`}, hosts[0])
}

func TestColumnsAreInTheOrderOfTheCatalogue(t *testing.T) {
	file, err := os.Open(filepath.Join(exported, "host_samples_1d", "2026.parquet"))
	require.NoError(t, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(t, err)
	opened, err := parquet.OpenFile(file, info.Size())
	require.NoError(t, err)
	var names []string
	for _, field := range opened.Schema().Fields() {
		names = append(names, field.Name())
	}
	require.Equal(t, storage.Table{Family: catalogue.Host(), Resolution: storage.Day}.ColumnNames(), names)
}

// columns of a file of one number, as many tests need.
var numbers = []storage.TableColumn{{Name: "n", Kind: storage.Int64}, {Name: "label", Kind: storage.Text, Nullable: true}}

func writeNumbers(t *testing.T, count int64) (directory string) {
	directory = t.TempDir()
	entry, err := writeFile(directory, "n.parquet", numbers, func(yield func([]storage.Cell) error) error {
		for n := range count {
			if err := yield([]storage.Cell{{Valid: true, Int: n}, {Valid: n%3 == 0, Text: "x"}}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, count, entry.Rows)
	return directory
}

// TestReadingFromAnyRow crosses the borders of groups.
func TestReadingFromAnyRow(t *testing.T) {
	const count = 2*groupRows + 1234
	directory := writeNumbers(t, count)
	for _, from := range []int64{0, 1, writeAtOnce, groupRows - 1, groupRows, 2 * groupRows, count - 1, count} {
		next := from
		require.NoError(t, readFile(directory, "n.parquet", numbers, from, func(row []storage.Cell) error {
			if row[0].Int != next || row[1].Valid != (next%3 == 0) {
				t.Fatalf("from %d: row %d is %+v", from, next, row)
			}
			next++
			return nil
		}))
		require.EqualValues(t, count, next)
	}
}

// TestFilesOfOtherVersions have columns more or less.
func TestFilesOfOtherVersions(t *testing.T) {
	directory := writeNumbers(t, 1)
	read := func(columns ...storage.TableColumn) (row []storage.Cell, err error) {
		err = readFile(directory, "n.parquet", columns, 0, func(cells []storage.Cell) error {
			row = append(row, cells...)
			return nil
		})
		return row, err
	}
	row, err := read(append([]storage.TableColumn{{Name: "new", Kind: storage.Float32, Nullable: true}, {Name: "new_count", Kind: storage.Int32}}, numbers...)...)
	require.NoError(t, err)
	require.Equal(t, []storage.Cell{{}, {Valid: true}, {Valid: true}, {Valid: true, Text: "x"}}, row)
	_, err = read(numbers[0])
	require.ErrorContains(t, err, "the column label is not known here")
	_, err = read(storage.TableColumn{Name: "n", Kind: storage.Text}, numbers[1])
	require.ErrorContains(t, err, "the column n has another type")
}

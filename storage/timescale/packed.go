package timescale

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// A family that packs has its samples in Family.StoredTable, each metric with a Packing in one of two columns: a row has all of
// its values in those of whole numbers, or all in the plain ones. Family.Table is a view that gives the values back, for all who
// read. Whoever writes, drops or compresses names the table.

// packedDialect reads samples from the table, where there is no view: a continuous aggregate can not stand on one.
var packedDialect = func() storage.RollupDialect {
	d := dialect
	d.Value = value
	return d
}()

// value is a metric of a row of the table. No step of it rounds.
func value(metric *catalogue.Metric) string {
	switch metric.Packing {
	case catalogue.Unpacked:
		return metric.Column
	case catalogue.MiB:
		return fmt.Sprintf("coalesce(CASE WHEN %[1]s < 0 THEN %[1]s * (-1024)::bigint ELSE %[1]s * 1048576::bigint END, %[2]s)", metric.PackedColumn(), metric.Column)
	default:
		return fmt.Sprintf("coalesce(%s::real / %d::real, %s)", metric.PackedColumn(), metric.Packing.Parts(), metric.Column)
	}
}

// makeSamplesView makes the view of a family that packs, where it is not as it should be. As that of rollups, it keeps the order
// of its columns.
func makeSamplesView(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family) error {
	if !family.Packs() {
		return nil
	}
	values := map[string]string{}
	for _, metric := range family.Metrics {
		values[metric.Column] = value(metric) + " AS " + metric.Column
	}
	there, err := columnsOf(ctx, tx, family.Table)
	if err != nil {
		return err
	}
	columns := names(there)
	for _, name := range family.Columns() {
		if !slices.Contains(columns, name) {
			columns = append(columns, name)
		}
	}
	for i, name := range columns {
		if expression, ok := values[name]; ok {
			columns[i] = expression
		}
	}
	view := storage.View{Name: family.Table, Query: "SELECT " + strings.Join(columns, ", ") + " FROM " + family.StoredTable()}
	var comment string
	if err := tx.QueryRow(ctx, "SELECT coalesce(obj_description(to_regclass($1), 'pg_class'), '')", view.Name).Scan(&comment); err != nil || comment == mark(view) {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE OR REPLACE VIEW "+view.Name+" AS "+view.Query); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "COMMENT ON VIEW "+view.Name+" IS '"+mark(view)+"'")
	return err
}

// storedTable is where rows of a table are written to.
func storedTable(table storage.Table) string {
	if table.Resolution == storage.Raw {
		return table.Family.StoredTable()
	}
	return table.Name()
}

// storedColumns are all columns of storedTable.
func storedColumns(table storage.Table) []string {
	columns := table.ColumnNames()
	if table.Resolution == storage.Raw {
		for _, metric := range table.Family.Metrics {
			if metric.Packing != catalogue.Unpacked {
				columns = append(columns, metric.PackedColumn())
			}
		}
	}
	return columns
}

// copyCells copies rows of a table into another with the columns of storedTable. Those of a time before plainBefore, in Unix
// milliseconds, are not packed.
func copyCells(ctx context.Context, connection *pgconn.PgConn, into string, table storage.Table, rows [][]storage.Cell, plainBefore int64) error {
	columns := table.Columns()
	packings := make([]catalogue.Packing, len(columns))
	if table.Resolution == storage.Raw {
		for i, metric := range table.Family.Metrics {
			packings[len(columns)-len(table.Family.Metrics)+i] = metric.Packing
		}
	}
	packs := table.Resolution == storage.Raw && table.Family.Packs()
	var plain, packed []byte
	for _, row := range rows {
		if packs && row[storage.TimeColumn].Int >= 1000*plainBefore {
			if longer, ok := appendCells(packed, columns, packings, row); ok {
				packed = longer
				continue
			}
		}
		plain, _ = appendCells(plain, columns, nil, row)
	}
	if len(packed) > 0 {
		if err := copyBinary(ctx, connection, into, table.Family.PackedColumns(), net.Buffers{packed}); err != nil {
			return err
		}
	}
	if len(plain) == 0 {
		return nil
	}
	return copyBinary(ctx, connection, into, table.ColumnNames(), net.Buffers{plain})
}

// appendCells appends a row as a tuple of a binary COPY, packed where there are packings. It is false if it can not be.
func appendCells(dst []byte, columns []storage.TableColumn, packings []catalogue.Packing, row []storage.Cell) ([]byte, bool) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(columns)))
	for i, column := range columns {
		if packings == nil || packings[i] == catalogue.Unpacked || !row[i].Valid {
			dst = appendCell(dst, row[i], column.Kind)
			continue
		}
		whole, ok := packings[i].Pack(cellBits(row[i], column.Kind))
		if !ok {
			return dst, false
		}
		dst = appendInt32(dst, uint32(whole))
	}
	return dst, true
}

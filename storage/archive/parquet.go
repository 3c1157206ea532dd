package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/gohub-io/gohub/storage"
)

const (
	// groupRows is how many rows a group has, and so about how much of a file is in memory: some tens of megabytes for the widest
	// table before they are compressed.
	groupRows = 100_000
	// writeAtOnce and readAtOnce are rows that go to and come from the library in one call.
	writeAtOnce = 512
	readAtOnce  = 512
)

// inOrder is a group whose columns are in an order of ours: the library's goes by name.
type inOrder struct {
	parquet.Group
	names []string
}

// Fields implements parquet.Node.
func (g inOrder) Fields() []parquet.Field {
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return slices.Index(g.names, a.Name()) - slices.Index(g.names, b.Name()) })
	return fields
}

// schemaOf is that of a file with the columns.
func schemaOf(name string, columns []storage.TableColumn) *parquet.Schema {
	root := inOrder{Group: parquet.Group{}}
	for _, column := range columns {
		node := nodeOf(column.Kind)
		if column.Nullable {
			node = parquet.Optional(node)
		}
		root.Group[column.Name] = node
		root.names = append(root.names, column.Name)
	}
	return parquet.NewSchema(name, root)
}

// nodeOf encodes such that columns of one host, one after the other in time, get small: numbers as differences, labels as
// numbers of a dictionary.
func nodeOf(kind storage.CellKind) parquet.Node {
	switch kind {
	case storage.Timestamp:
		return parquet.Encoded(parquet.Timestamp(parquet.Microsecond), &parquet.DeltaBinaryPacked)
	case storage.Int32:
		return parquet.Encoded(parquet.Leaf(parquet.Int32Type), &parquet.DeltaBinaryPacked)
	case storage.Int64:
		return parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	case storage.Float32:
		return parquet.Leaf(parquet.FloatType)
	case storage.Float64:
		return parquet.Leaf(parquet.DoubleType)
	default:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	}
}

// value is a cell in the column at a place.
func value(cell storage.Cell, column storage.TableColumn, place int) parquet.Value {
	if !cell.Valid {
		return parquet.NullValue().Level(0, 0, place)
	}
	var v parquet.Value
	switch column.Kind {
	case storage.Timestamp, storage.Int64:
		v = parquet.Int64Value(cell.Int)
	case storage.Int32:
		v = parquet.Int32Value(int32(cell.Int))
	case storage.Float32:
		v = parquet.FloatValue(float32(cell.Float))
	case storage.Float64:
		v = parquet.DoubleValue(cell.Float)
	default:
		v = parquet.ByteArrayValue([]byte(cell.Text))
	}
	level := 0
	if column.Nullable {
		level = 1
	}
	return v.Level(0, level, place)
}

// cell is the other way.
func cell(v parquet.Value, kind storage.CellKind) storage.Cell {
	c := storage.Cell{Valid: !v.IsNull()}
	switch {
	case !c.Valid:
	case kind == storage.Int32:
		c.Int = int64(v.Int32())
	case kind == storage.Timestamp || kind == storage.Int64:
		c.Int = v.Int64()
	case kind == storage.Float32:
		c.Float = float64(v.Float())
	case kind == storage.Float64:
		c.Float = v.Double()
	default:
		c.Text = string(v.ByteArray())
	}
	return c
}

// writeFile writes the rows that fill yields, and returns what the manifest says of the file. Where there is no row there is no
// file.
func writeFile(directory, name string, columns []storage.TableColumn, fill func(yield func([]storage.Cell) error) error) (fileEntry, error) {
	entry := fileEntry{Name: name}
	path := filepath.Join(directory, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return entry, fmt.Errorf("make a folder of the export: %w", err)
	}
	sum := sha256.New()
	err := replace(path, func(file io.Writer) error {
		counter := &counting{to: io.MultiWriter(file, sum)}
		writer := parquet.NewWriter(counter, schemaOf(filepath.Base(filepath.Dir(path)), columns),
			parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(groupRows), parquet.CreatedBy("gohub-server", "", ""))
		batch := make([]parquet.Row, 0, writeAtOnce)
		flush := func() error {
			_, err := writer.WriteRows(batch)
			batch = batch[:0]
			return err
		}
		err := fill(func(row []storage.Cell) error {
			batch = batch[:len(batch)+1]
			last := &batch[len(batch)-1]
			*last = (*last)[:0]
			for i, column := range columns {
				*last = append(*last, value(row[i], column, i))
			}
			entry.Rows++
			if len(batch) < cap(batch) {
				return nil
			}
			return flush()
		})
		if err != nil {
			return err // what is written is thrown away
		}
		if err := errors.Join(flush(), writer.Close()); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		entry.Bytes = counter.bytes
		return nil
	})
	if err != nil {
		return entry, err
	}
	if entry.Rows == 0 {
		entry.Bytes = 0
		if err := os.Remove(path); err != nil {
			return entry, fmt.Errorf("remove a file without rows: %w", err)
		}
		return entry, nil
	}
	entry.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return entry, nil
}

type counting struct {
	to    io.Writer
	bytes int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}

// readFile yields the rows of a file from a row on, with the cells of the columns. What the file has no column for is NULL, or 0
// where there must be a value: it is from before there was such a metric. A column that is not known is an error.
func readFile(directory, name string, columns []storage.TableColumn, from int64, yield func([]storage.Cell) error) error {
	file, err := os.Open(filepath.Join(directory, filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	opened, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return fmt.Errorf("%w: read %s: %w", ErrDamaged, name, err)
	}
	places, err := placesOf(opened.Schema(), columns)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	for _, group := range opened.RowGroups() {
		if from >= group.NumRows() {
			from -= group.NumRows()
			continue
		}
		if err := readGroup(group, columns, places, from, yield); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		from = 0
	}
	return nil
}

// placesOf says of each column of the file which of ours it is.
func placesOf(schema *parquet.Schema, columns []storage.TableColumn) ([]int, error) {
	var places []int
	for _, field := range schema.Fields() {
		i := slices.IndexFunc(columns, func(column storage.TableColumn) bool { return column.Name == field.Name() })
		if i < 0 {
			return nil, fmt.Errorf("the column %s is not known here; use a gohub-server as new as the one that made the export", field.Name())
		}
		if !field.Leaf() || field.Repeated() || field.Type().Kind() != nodeOf(columns[i].Kind).Type().Kind() {
			return nil, fmt.Errorf("the column %s has another type than here; use a gohub-server as new as the one that made the export", field.Name())
		}
		places = append(places, i)
	}
	for _, needed := range []string{"time", "host_id"} {
		if _, has := schema.Lookup(needed); !has && slices.ContainsFunc(columns, func(column storage.TableColumn) bool { return column.Name == needed }) {
			return nil, fmt.Errorf("%w: there is no column %s", ErrDamaged, needed)
		}
	}
	return places, nil
}

func readGroup(group parquet.RowGroup, columns []storage.TableColumn, places []int, from int64, yield func([]storage.Cell) error) (err error) {
	rows := group.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	if err := rows.SeekToRow(from); err != nil {
		return err
	}
	blank := make([]storage.Cell, len(columns))
	for i, column := range columns {
		blank[i].Valid = !column.Nullable
	}
	cells := make([]storage.Cell, len(columns))
	buffer := make([]parquet.Row, readAtOnce)
	for {
		n, err := rows.ReadRows(buffer)
		for _, row := range buffer[:n] {
			copy(cells, blank)
			for _, v := range row {
				place := places[v.Column()]
				cells[place] = cell(v, columns[place].Kind)
				if !cells[place].Valid && !columns[place].Nullable {
					return fmt.Errorf("%w: the column %s has no value in a row", ErrDamaged, columns[place].Name)
				}
			}
			if err := yield(cells); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

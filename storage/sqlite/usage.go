package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/shirou/gopsutil/v3/disk"

	"github.com/gohub-io/gohub/storage"
)

// Usage implements storage.Store. It reads a page of the file in so many, all of them for the sizes of tables.
func (s *Store) Usage(ctx context.Context) (usage storage.Usage, err error) {
	describe := func(err error) error { return fmt.Errorf("tell what the database takes: %w", classify(err)) }
	err = s.read.QueryRowContext(ctx, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").Scan(&usage.TotalBytes)
	if err != nil {
		return usage, describe(err)
	}
	sizes, err := s.sizes(ctx)
	if err != nil {
		return usage, describe(err)
	}
	for _, table := range storage.Tables(storage.Resolutions[:]...) {
		one := storage.RelationUsage{Table: table, Bytes: sizes[table.Name()], Keep: s.options.Retention.Of(table.Resolution)}
		// Rows lie about in the order of their times, and the index is by host: the first and the last one tell.
		for order, at := range map[string]*time.Time{"": &one.Oldest, " DESC": &one.Newest} {
			var millis int64
			err := s.read.QueryRowContext(ctx, "SELECT time FROM "+table.Name()+" ORDER BY rowid"+order+" LIMIT 1").Scan(&millis)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return usage, describe(err)
			}
			if err == nil {
				*at = time.UnixMilli(millis).UTC()
			}
		}
		usage.Relations = append(usage.Relations, one)
	}
	there, err := disk.UsageWithContext(ctx, filepath.Dir(s.path))
	if err != nil {
		return usage, fmt.Errorf("look how full the disk of %s is: %w", s.path, err)
	}
	usage.Disk = &storage.Disk{Size: int64(there.Total), Free: int64(there.Free)}
	return usage, nil
}

// sizes returns the bytes of every table with its indexes.
func (s *Store) sizes(ctx context.Context) (map[string]int64, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) WHERE aggregate = TRUE GROUP BY tbl_name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sizes := map[string]int64{}
	for rows.Next() {
		var table string
		var bytes int64
		if err := rows.Scan(&table, &bytes); err != nil {
			return nil, err
		}
		sizes[table] = bytes
	}
	return sizes, rows.Err()
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/bench/measure"
	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/archive"
	"github.com/gohub-io/gohub/storage/timescale"
)

// runDisk stores the samples of an export of real machines on TimescaleDB's Community edition, as of so many machines, has them
// compressed as the product does, and tells the bytes a value. The database must be empty, and stays filled.
func runDisk(ctx context.Context, o *Options, report *measure.Report) (err error) {
	if o.From == "" || o.DatabaseURL == "sqlite" {
		return errors.New("disk needs the directory of an export of samples (--from) and an empty database of the Community edition (--database-url)")
	}
	db := &database{url: o.DatabaseURL, admin: o.DatabaseURL}
	// A database may last for as long as someone is connected.
	connection, err := connect(ctx, db)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	store, err := timescale.Open(ctx, db.url, storage.Options{Idle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	described, err := store.Describe(ctx)
	if err != nil {
		return err
	}
	if !strings.Contains(described.Version, "Community") {
		return fmt.Errorf("%s does not compress; the Community edition does", described.Version)
	}
	report.Environment["database"] = described.Version
	if _, err := archive.Import(ctx, store, o.From, func(archive.Progress) {}); err != nil {
		return err
	}
	// Chunks of before the recording are of no use, and its first one would be cut short.
	var shift time.Duration
	err = connection.QueryRow(ctx, `
		SELECT coalesce((SELECT min(time) FROM `+catalogue.Host().StoredTable()+`) - min(range_start), '0') FROM timescaledb_information.chunks
		WHERE hypertable_schema = current_schema() AND hypertable_name = $1`, catalogue.Host().StoredTable()).Scan(&shift)
	if err != nil {
		return fmt.Errorf("find where the recording begins: %w", err)
	}
	table := measure.Table{
		Title: "Samples on disk", Columns: []string{"samples of", "rows", "values", "bytes a value as rows", "compressed"},
		Notes: []string{fmt.Sprintf("%s, as of %d machines, from the beginning of a chunk; compressed by series, with indexes; no value is a reading that there was not", o.From, o.Hosts)},
	}
	var all kept
	for _, family := range catalogue.Families() {
		one, err := compressFamily(ctx, connection, family, shift, o.Hosts)
		if err != nil {
			return fmt.Errorf("samples of %s: %w", family.Name, err)
		}
		if one.rows > 0 {
			table.Rows = append(table.Rows, one.row(family.Name))
			all = kept{all.rows + one.rows, all.values + one.values, all.before + one.before, all.after + one.after}
		}
	}
	table.Rows = append(table.Rows, all.row("all"))
	report.Tables = append(report.Tables, table)
	perValue := float64(all.after) / float64(all.values)
	report.Target("disk_bytes_per_value", perValue, "<=", 1.5)
	report.Target("disk_bytes_per_value_moonshot", perValue, "<=", 0.6)
	return nil
}

// kept is what samples take, before they are compressed and after.
type kept struct{ rows, values, before, after int64 }

func (k kept) row(name string) []string {
	each := func(bytes int64) string { return measure.Number(float64(bytes) / float64(k.values)) }
	return []string{name, fmt.Sprint(k.rows), fmt.Sprint(k.values), each(k.before), each(k.after)}
}

// compressFamily multiplies the samples of a family, moves them back in time, and compresses them.
func compressFamily(ctx context.Context, connection *pgx.Conn, family *catalogue.Family, back time.Duration, machines int) (k kept, err error) {
	times := []string{"time"}
	if family == catalogue.Host() {
		times = append(times, "received_at")
	}
	var columns, values []string
	for _, column := range append(family.Columns(), family.PackedColumns()...) {
		if column == "host_id" || slices.Contains(columns, column) {
			continue
		}
		columns = append(columns, column)
		if slices.Contains(times, column) {
			column += " - $1::interval"
		}
		values = append(values, column)
	}
	stored := family.StoredTable()
	if _, err := connection.Exec(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE recorded AS SELECT * FROM %s; TRUNCATE %s", stored, stored)); err != nil {
		return k, err
	}
	// Ids that no registered host has.
	_, err = connection.Exec(ctx, fmt.Sprintf("INSERT INTO %s (host_id, %s) SELECT host_id + 10000 * copy, %s FROM recorded, generate_series(1, %d) AS copy",
		stored, strings.Join(columns, ", "), strings.Join(values, ", "), machines), back)
	if err == nil {
		_, err = connection.Exec(ctx, "DROP TABLE recorded")
	}
	if err != nil {
		return k, err
	}
	var counts []string
	for _, metric := range family.Metrics {
		counts = append(counts, "count("+metric.Column+")")
	}
	err = connection.QueryRow(ctx, "SELECT count(*), "+strings.Join(counts, " + ")+" FROM "+family.Table).Scan(&k.rows, &k.values)
	if err != nil || k.rows == 0 {
		return k, err
	}
	if _, err := connection.Exec(ctx, "SELECT compress_chunk(chunk) FROM show_chunks($1::text::regclass) AS chunk", stored); err != nil {
		return k, fmt.Errorf("compress: %w", err)
	}
	err = connection.QueryRow(ctx, "SELECT before_compression_total_bytes, after_compression_total_bytes FROM hypertable_compression_stats($1::text::regclass)", stored).
		Scan(&k.before, &k.after)
	return k, err
}

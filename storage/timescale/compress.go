package timescale

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// What ALTER calls what is compressed.
const (
	table     = "TABLE"
	aggregate = "MATERIALIZED VIEW"
)

const (
	// compressRaw is the age at which samples are compressed. Rows of before reach compressed chunks too, at more cost: it is
	// longer than most outages, and short of the least retention.
	compressRaw = 36 * time.Hour
	// compressForever is the age for rollups where samples are kept for ever.
	compressForever = 30 * 24 * time.Hour
)

// compressOld compresses what continuous aggregates have of the time for which no sample can come late any more, chunk by chunk.
func (r *roller) compressOld(ctx context.Context) error {
	age := compressForever
	if raw := r.retention.Raw; raw > 0 {
		age = raw + 24*time.Hour
	}
	for family, some := range r.of {
		for _, g := range some {
			for _, resolution := range storage.Resolutions[1:] {
				if g.isTable() {
					continue
				}
				_, err := r.connection.Exec(ctx, `
					SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass, if_not_compressed => true)
					FROM timescaledb_information.chunks AS c JOIN timescaledb_information.continuous_aggregates AS a
						ON c.hypertable_schema = a.materialization_hypertable_schema AND c.hypertable_name = a.materialization_hypertable_name
					WHERE view_schema = current_schema() AND view_name = $1 AND NOT is_compressed AND range_end < $2`,
					g.relation(family, resolution), r.now.Add(-age))
				if err != nil {
					return fmt.Errorf("compress %s: %w", g.relation(family, resolution), err)
				}
			}
		}
	}
	return nil
}

// compress has a hypertable or a continuous aggregate of a family be compressed once it is old. A segment is one series, so that
// a query of a host reads that host's alone. Samples are compressed by the database's own workers. Those take a continuous
// aggregate only where they refresh it as well, so aggregates are compressed by who rolls up. What was set before stays.
func compress(ctx context.Context, tx pgxv5.Tx, family *catalogue.Family, kind, relation string, after time.Duration) error {
	var set bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
			WHERE hypertable_schema = current_schema() AND hypertable_name = $1 AND compression_enabled)`, relation).Scan(&set)
	if err != nil || set {
		return err
	}
	segment, order := []string{"host_id"}, []string{"time DESC"}
	var labels []string
	for _, label := range family.Labels {
		labels = append(labels, label.Name)
	}
	if family.Ephemeral {
		// Its instances come and go: a segment each would be of few rows. Names repeat more than ids do, and the contract has ids first. What it
		// has after these, as the user of a process, comes with them: in the order it would cost bounds and index entries only.
		order = append(order, labels[:min(len(labels), 2)]...)
		slices.Reverse(order)
	} else {
		segment = append(segment, labels...)
	}
	_, err = tx.Exec(ctx, "ALTER "+kind+" "+relation+" SET (timescaledb.compress = true, timescaledb.compress_segmentby = '"+
		strings.Join(segment, ", ")+"', timescaledb.compress_orderby = '"+strings.Join(order, ", ")+"')")
	if err == nil && kind == table {
		_, err = tx.Exec(ctx, "SELECT add_compression_policy($1::text::regclass, $2::text::interval, if_not_exists => true)",
			relation, fmt.Sprintf("%d hours", int(after.Hours())))
	}
	if err != nil {
		return fmt.Errorf("have %s be compressed: %w", relation, err)
	}
	return nil
}

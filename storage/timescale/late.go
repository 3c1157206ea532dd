package timescale

import (
	"context"
	"fmt"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/storage"
)

// lateAtOnce is about how many stretches of hosts one transaction makes anew: each note of late rows is one, or, of a spool that
// was full for days, hundreds.
const lateAtOnce = 10_000

// late makes those buckets anew whose rows came after they had been made.
func (r *roller) late(ctx context.Context, resolution storage.Resolution) error {
	for {
		done, err := r.someLate(ctx, resolution)
		if err != nil || done == 0 {
			return err
		}
	}
}

func (r *roller) someLate(ctx context.Context, resolution storage.Resolution) (done int, err error) {
	rows, err := r.connection.Query(ctx, `
		SELECT id, host_id, from_time, to_time FROM rollup_late WHERE resolution = $1 AND from_time < $2 ORDER BY id LIMIT $3`,
		resolution, r.until[resolution], lateAtOnce)
	if err != nil {
		return 0, err
	}
	var (
		ids       []int64
		late      []storage.Late
		id        int64
		host      int32
		span      storage.Span
		stretches time.Duration
	)
	_, err = pgxv5.ForEachRow(rows, []any{&id, &host, &span.From, &span.To}, func() error {
		if stretches > lateAtOnce {
			return nil
		}
		stretches += 1 + span.To.Sub(span.From)/storage.RollupStep(resolution)
		ids = append(ids, id)
		late = append(late, storage.Late{Host: storage.HostID(host), Span: span})
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	// Where the finer rows are gone, or are about to be, a bucket made anew would have less than it has.
	work := storage.Gather(late, storage.RollupStep(resolution), r.resume[resolution], r.until[resolution])
	if err := r.refreshLate(ctx, resolution, work); err != nil {
		return 0, err
	}
	return len(ids), pgxv5.BeginFunc(ctx, r.connection, func(tx pgxv5.Tx) error {
		if err := r.remake(ctx, tx, resolution, work); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM rollup_late WHERE id = ANY($1)", ids)
		return err
	})
}

// refreshLate has continuous aggregates made anew where late rows are. Of the time between them TimescaleDB knows that nothing
// changed, so one span is enough.
func (r *roller) refreshLate(ctx context.Context, resolution storage.Resolution, work []storage.LateWork) error {
	if len(work) == 0 || r.numbered == 0 {
		return nil
	}
	all := work[0].Span
	for _, one := range work {
		if one.Span.From.Before(all.From) {
			all.From = one.Span.From
		}
		if one.Span.To.After(all.To) {
			all.To = one.Span.To
		}
	}
	return r.refresh(ctx, resolution, all)
}

// remake replaces buckets, and notes that they are late for the next coarser resolution.
func (r *roller) remake(ctx context.Context, tx pgxv5.Tx, resolution storage.Resolution, work []storage.LateWork) error {
	if len(work) == 0 {
		return nil
	}
	// One statement a family, however many stretches there are: to plan it takes longer than to make a bucket.
	const stretches = "unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS late (host, since, till)"
	gather := func(g generation) (hosts []int32, since, till []time.Time) {
		for _, one := range work {
			part, counts := g.clip(one.Span)
			for _, host := range one.Hosts {
				if counts {
					hosts, since, till = append(hosts, int32(host)), append(since, part.From), append(till, part.To)
				}
			}
		}
		return hosts, since, till
	}
	for family, some := range r.of {
		for _, g := range some {
			hosts, since, till := gather(g)
			if !g.isTable() || len(hosts) == 0 {
				continue
			}
			relation := g.relation(family, resolution)
			_, err := tx.Exec(ctx, "DELETE FROM "+relation+" USING "+stretches+" WHERE host_id = host AND time >= since AND time < till", hosts, since, till)
			if err != nil {
				return fmt.Errorf("from %s: %w", relation, err)
			}
			_, err = tx.Exec(ctx, "INSERT INTO "+relation+" ("+strings.Join(names(catalogued(family)), ", ")+") SELECT made.* FROM "+stretches+" CROSS JOIN LATERAL ("+
				dialect.Select(family, resolution, "host_id = host AND time >= since AND time < till")+") AS made", hosts, since, till)
			if err != nil {
				return fmt.Errorf("into %s: %w", relation, err)
			}
		}
	}
	if resolution == storage.Day {
		return nil
	}
	hosts, since, till := gather(generation{})
	_, err := tx.Exec(ctx, `
		INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
		SELECT resolution, host, since, till FROM `+stretches+`, rollup_progress WHERE resolution = $4 AND until > since`, hosts, since, till, resolution+1)
	return err
}

package timescale

import (
	"context"
	"fmt"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// generation is a family's relations of rollups that count for a stretch of time. Where rollups are tables there is one, of the
// number unnumbered, for all time. Where they are continuous aggregates, NAME_1m is a view of NAME_1m_g1, NAME_1m_g2 and so on.
type generation struct {
	number int
	// from and to bound the time for which it counts, to excluded; a zero time bounds nothing.
	from, to time.Time
	// packed: it is made of both columns of what is packed. A migration that adds such columns takes it back for their family.
	packed bool
}

const (
	// unnumbered: the relation of a resolution is itself the table.
	unnumbered = -1
	// moved: the tables of a database that was moved to continuous aggregates since.
	moved = 0
)

// isTable says whether rows are put into the generation by statements, rather than by a refresh.
func (g generation) isTable() bool { return g.number <= moved }

// relation is the generation's table or continuous aggregate.
func (g generation) relation(family *catalogue.Family, r storage.Resolution) string {
	if g.number == unnumbered {
		return r.Relation(family)
	}
	return fmt.Sprintf("%s_g%d", r.Relation(family), g.number)
}

// clip is what of a span the generation counts for, if there is something.
func (g generation) clip(span storage.Span) (storage.Span, bool) {
	if !g.from.IsZero() && span.From.Before(g.from) {
		span.From = g.from
	}
	if !g.to.IsZero() && span.To.After(g.to) {
		span.To = g.to
	}
	return span, span.From.Before(span.To)
}

// generations has those of every family that is rolled up, the oldest first.
type generations struct {
	of map[*catalogue.Family][]generation
	// numbered is how many the database tells of.
	numbered int
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, arguments ...any) (pgxv5.Rows, error)
}

func readGenerations(ctx context.Context, q querier) (generations, error) {
	all := generations{of: map[*catalogue.Family][]generation{}}
	named := map[string][]generation{}
	rows, err := q.Query(ctx, `
		SELECT family, generation, CASE WHEN isfinite(from_time) THEN from_time END, packed FROM rollup_generations ORDER BY family, generation`)
	if err != nil {
		return all, fmt.Errorf("read the generations of rollups: %w", err)
	}
	var name string
	var number int
	var from *time.Time
	var packed bool
	_, err = pgxv5.ForEachRow(rows, []any{&name, &number, &from, &packed}, func() error {
		next := generation{number: number, packed: packed}
		if from != nil {
			next.from = from.UTC()
		}
		some := named[name]
		if len(some) > 0 {
			some[len(some)-1].to = next.from
		}
		named[name] = append(some, next)
		all.numbered++
		return nil
	})
	if err != nil {
		return all, fmt.Errorf("read the generations of rollups: %w", err)
	}
	for _, family := range catalogue.Families() {
		if some := named[family.Name]; len(some) > 0 {
			all.of[family] = some
		} else if storage.RolledUp(family) {
			all.of[family] = []generation{{number: unnumbered}}
		}
	}
	return all, nil
}

// plainBefore is the time, in Unix milliseconds, before which some aggregate is made of plain columns alone.
func (g generations) plainBefore() (millis int64) {
	for family, some := range g.of {
		for _, one := range some {
			if family.Packs() && !one.isTable() && !one.packed && !one.to.IsZero() {
				millis = max(millis, one.to.UnixMilli())
			}
		}
	}
	return millis
}

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// rangeDialect: times are Unix milliseconds, and lists are JSON.
var rangeDialect = storage.RangeDialect{
	Placeholder: func(n int) string { return "?" + strconv.Itoa(n) },
	Time:        func(t time.Time) any { return t.UnixMilli() },
	Width:       func(width time.Duration) any { return width.Milliseconds() },
	Hosts:       func(hosts []storage.HostID) any { return encode(hosts) },
	Pairs: func(hosts []storage.HostID, groups []int32) []any {
		pairs := make([][2]int64, len(hosts))
		for i := range hosts {
			pairs[i] = [2]int64{int64(hosts[i]), int64(groups[i])}
		}
		return []any{encode(pairs)}
	},
	Times:      func(times []time.Time) any { return encodeTimes(times) },
	Bucket:     func(width string) string { return "time / " + width + " * " + width },
	BucketOf:   func(times string) string { return "gohub_bucket(time, " + times + ")" },
	Instant:    func(time string) string { return "CAST(" + time + " AS INTEGER)" },
	Millis:     func(bucket string) string { return bucket },
	AmongHosts: func(hosts string) string { return "host_id IN (SELECT value FROM json_each(" + hosts + "))" },
	// The index of the sample tables begins with the host.
	EveryHost: "host_id IN (SELECT host_id FROM hosts)",
	// Without a limit, which is none, SQLite would go through the whole list for each row: a table of its own it finds hosts in.
	PairsTable: func(pairs []string) string {
		return "(SELECT value ->> 0 AS host_id, value ->> 1 AS grp FROM json_each(" + pairs[0] + ") LIMIT -1) AS groups"
	},
	Texts: func(texts []storage.Relabelling, _ int) []any {
		rows := make([][]string, len(texts))
		for i, text := range texts {
			rows[i] = append([]string{text.From, text.To}, text.Parts...)
		}
		return []any{encode(rows)}
	},
	TextsTable: func(texts []string, parts int) string {
		return "(SELECT value ->> 0 AS labels, value ->> 1 AS becomes" + partColumns("own", parts, 2) + " FROM json_each(" + texts[0] + ")) AS texts"
	},
	HostParts: func(hosts []storage.HostID, all [][]string, parts int) []any {
		rows := make([][]any, len(hosts))
		for i, host := range hosts {
			rows[i] = append(make([]any, 0, 1+parts), host)
			for _, part := range all[i] {
				rows[i] = append(rows[i], part)
			}
		}
		return []any{encode(rows)}
	},
	HostPartsTable: func(all []string, parts int) string {
		return "(SELECT value ->> 0 AS host_id" + partColumns("part", parts, 1) + " FROM json_each(" + all[0] + ") LIMIT -1) AS host_parts"
	},
	Quantile: func(expression, quantile string) string {
		return "gohub_quantile(" + expression + ", " + quantile + ")"
	},
	Collate: " COLLATE BINARY",
}

// partColumns are the columns of parts, which are in a list behind so many others.
func partColumns(name string, parts, behind int) string {
	var columns strings.Builder
	for i := range parts {
		fmt.Fprintf(&columns, ", value ->> %d AS %s%d", behind+i, name, i)
	}
	return columns.String()
}

// encode writes numbers or texts as JSON, which can not fail.
func encode(numbers any) string {
	text, err := json.Marshal(numbers)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", numbers, err))
	}
	return string(text)
}

// Range implements storage.Store.
func (s *Store) Range(ctx context.Context, q storage.RangeQuery) ([]storage.Series, error) {
	var all []storage.Series
	for _, selection := range q.Selections() {
		series, err := s.selectRange(ctx, selection)
		if err != nil {
			return nil, fmt.Errorf("range of %s: %w", selection.Family.Name, classify(err))
		}
		all = append(all, series...)
	}
	return all, nil
}

// CustomLabels implements storage.Store.
func (s *Store) CustomLabels(ctx context.Context, q storage.RangeQuery) ([]string, error) {
	selection := q.Selections()[0]
	sql, args := selection.LabelsSQL(rangeDialect)
	rows, err := s.read.QueryContext(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list the labels of %s: %w", q.Custom, classify(err))
	}
	defer rows.Close()
	all, err := selection.CollectLabels(rows)
	return all, classify(err)
}

func (s *Store) selectRange(ctx context.Context, selection storage.Selection) ([]storage.Series, error) {
	sql, args := selection.SQL(rangeDialect)
	rows, err := s.read.QueryContext(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return selection.Collect(rows)
}

package timescale

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/gohub-io/gohub/storage"
)

// viewDialect reads facts as protojson writes them: names in camel case, 64-bit numbers as text, no zeros.
var viewDialect = storage.ViewDialect{
	HostsView: "analysis.hosts",
	Time:      "s.time",
	Hosts: `SELECT host_id, facts->>'hostname' AS hostname, facts->>'os' AS os, facts->>'platform' AS platform,
		facts->>'platformVersion' AS platform_version, facts->>'kernelVersion' AS kernel_version, facts->>'arch' AS arch,
		facts->>'cpuModel' AS cpu_model, (facts->>'cpuCores')::integer AS cpu_cores, (facts->>'memoryBytes')::numeric AS memory_bytes,
		facts->>'agentVersion' AS agent_version,
		(SELECT coalesce(jsonb_object_agg(name, value) FILTER (WHERE value <> ''), '{}') FROM (
			SELECT name, value FROM host_labels WHERE host_labels.host_id = hosts.host_id
			UNION ALL
			SELECT key, value FROM jsonb_each_text(facts->'labels')
			WHERE NOT EXISTS (SELECT FROM host_labels WHERE host_labels.host_id = hosts.host_id AND name = key)
		) AS merged (name, value)) AS labels,
		first_seen FROM hosts`,
}

// makeViews makes the views of analysts in the schema analysis, where they are not as they should be. A view's comment has its
// text's hash: the database keeps a view as a tree, and gives it back in words of its own.
func (s *Store) makeViews(ctx context.Context) error {
	return pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, $2)", locks, lockSchema); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace('analysis') IS NOT NULL").Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA analysis"); err != nil {
				return fmt.Errorf("create the schema analysis: %w", err)
			}
		}
		views := viewDialect.Views()
		marks, err := viewMarks(ctx, tx)
		if err != nil {
			return err
		}
		current := len(marks) == len(views)
		for _, view := range views {
			current = current && marks[view.Name] == mark(view)
		}
		if current {
			return nil
		}
		return remakeViews(ctx, tx, marks)
	})
}

// remakeViews makes the views that should be, where there are those of marks: in place if it can, so that what people have made on
// them stays, and where not, it drops them before.
func remakeViews(ctx context.Context, tx pgxv5.Tx, marks map[string]string) error {
	views := viewDialect.Views()
	if len(marks) == len(views) {
		err := pgxv5.BeginFunc(ctx, tx, func(tx pgxv5.Tx) error { return replaceViews(ctx, tx, views) })
		if err == nil || tx.Conn().IsClosed() {
			return err
		}
	}
	// All are made anew, as most stand on the one of hosts, and in place a view can get columns at its end only. Default
	// privileges, which sql-user sets, let analysts read the new ones.
	if len(marks) > 0 {
		var names []string
		for name := range marks {
			names = append(names, pgxv5.Identifier{"analysis", name}.Sanitize())
		}
		if _, err := tx.Exec(ctx, "DROP VIEW "+strings.Join(names, ", ")); err != nil {
			var failure *pgconn.PgError
			if errors.As(err, &failure) && failure.Detail != "" {
				err = fmt.Errorf("%w: %s", err, failure.Detail) // what stands on them
			}
			return fmt.Errorf("drop the views of schema analysis, to make them anew: %w", err)
		}
	}
	return replaceViews(ctx, tx, views)
}

func replaceViews(ctx context.Context, tx pgxv5.Tx, views []storage.View) error {
	for _, view := range views {
		name := "analysis." + view.Name
		if _, err := tx.Exec(ctx, "CREATE OR REPLACE VIEW "+name+" AS "+view.Query); err != nil {
			return fmt.Errorf("make the view %s: %w", name, err)
		}
		if _, err := tx.Exec(ctx, "COMMENT ON VIEW "+name+" IS '"+mark(view)+"'"); err != nil {
			return fmt.Errorf("mark the view %s: %w", name, err)
		}
	}
	return nil
}

// mark tells views of this text.
func mark(view storage.View) string {
	sum := sha256.Sum256([]byte(view.Query))
	return markPrefix + hex.EncodeToString(sum[:8])
}

const markPrefix = "made by gohub-server, "

// viewMarks returns the comments of the views that a server made, by name.
func viewMarks(ctx context.Context, tx pgxv5.Tx) (map[string]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
		WHERE relnamespace = to_regnamespace('analysis') AND relkind = 'v' AND obj_description(oid, 'pg_class') LIKE $1`, markPrefix+"%")
	if err != nil {
		return nil, err
	}
	marks := map[string]string{}
	var name, comment string
	_, err = pgxv5.ForEachRow(rows, []any{&name, &comment}, func() error {
		marks[name] = comment
		return nil
	})
	return marks, err
}

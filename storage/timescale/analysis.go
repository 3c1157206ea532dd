package timescale

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	pgxv5 "github.com/jackc/pgx/v5"

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

// makeViews makes the views of analysts in the schema analysis, those whose text is not what it was. A view's comment has
// the text's hash: the database keeps a view as a tree, and gives it back in words of its own.
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
		for _, view := range viewDialect.Views() {
			if err := makeView(ctx, tx, view); err != nil {
				return fmt.Errorf("make the view analysis.%s: %w", view.Name, err)
			}
		}
		return nil
	})
}

func makeView(ctx context.Context, tx pgxv5.Tx, view storage.View) error {
	sum := sha256.Sum256([]byte(view.Query))
	mark := "made by gohub-server, " + hex.EncodeToString(sum[:8])
	var comment string
	name := "analysis." + view.Name
	err := tx.QueryRow(ctx, "SELECT coalesce(obj_description(to_regclass($1), 'pg_class'), '')", name).Scan(&comment)
	if err != nil || comment == mark {
		return err
	}
	// Where columns came between the others the view can not be replaced, only made anew. Default privileges, which sql-user
	// sets, let analysts read the new one. Only the view of hosts has others above it: they are made after it.
	replaced := pgxv5.BeginFunc(ctx, tx, func(tx pgxv5.Tx) error {
		_, err := tx.Exec(ctx, "CREATE OR REPLACE VIEW "+name+" AS "+view.Query)
		return err
	})
	if replaced != nil {
		if _, err := tx.Exec(ctx, "DROP VIEW IF EXISTS "+name); err != nil {
			return errors.Join(replaced, err)
		}
		if _, err := tx.Exec(ctx, "CREATE VIEW "+name+" AS "+view.Query); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "COMMENT ON VIEW "+name+" IS '"+mark+"'")
	return err
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gohub-io/gohub/storage"
)

var viewDialect = storage.ViewDialect{
	HostsView: "analysis_hosts",
	// The text is for people, the number for conditions, which an index serves.
	Time: "strftime('%Y-%m-%dT%H:%M:%fZ', s.time / 1000.0, 'unixepoch') AS time, s.time AS time_unix_millis",
	Hosts: `SELECT host_id, facts->>'hostname' AS hostname, facts->>'os' AS os, facts->>'platform' AS platform,
		facts->>'platformVersion' AS platform_version, facts->>'kernelVersion' AS kernel_version, facts->>'arch' AS arch,
		facts->>'cpuModel' AS cpu_model, facts->>'cpuCores' AS cpu_cores, CAST(facts->>'memoryBytes' AS INTEGER) AS memory_bytes,
		facts->>'agentVersion' AS agent_version,
		(SELECT json_group_object(name, value) FROM (
			SELECT name, value FROM host_labels WHERE host_labels.host_id = hosts.host_id
			UNION ALL
			SELECT key, value FROM json_each(facts, '$.labels')
			WHERE NOT EXISTS (SELECT 1 FROM host_labels WHERE host_labels.host_id = hosts.host_id AND name = key)
		) WHERE value <> '') AS labels,
		strftime('%Y-%m-%dT%H:%M:%fZ', first_seen / 1000.0, 'unixepoch') AS first_seen FROM hosts`,
}

// makeViews makes the views of analysts, those whose text is not what it was.
func makeViews(ctx context.Context, tx *sql.Tx) error {
	for _, view := range viewDialect.Views() {
		name := "analysis_" + view.Name
		text := "CREATE VIEW " + name + " AS " + view.Query
		var was string
		err := tx.QueryRowContext(ctx, "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = $1", name).Scan(&was)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if was == text {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DROP VIEW IF EXISTS "+name); err != nil {
			return fmt.Errorf("replace the view %s: %w", name, err)
		}
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("make the view %s: %w", name, err)
		}
	}
	return nil
}

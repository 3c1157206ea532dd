package timescale

import (
	"context"
	"errors"
	"fmt"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/storage"
)

// SetHostLabels implements storage.Store.
func (s *Store) SetHostLabels(ctx context.Context, host storage.HostID, labels map[string]string) error {
	var names, values []string
	for name, value := range labels {
		names, values = append(names, name), append(values, value)
	}
	err := pgxv5.BeginFunc(ctx, s.writes, func(tx pgxv5.Tx) error {
		// Two that label a host at once take turns, so that what is left is what one of them set.
		var locked int32
		err := tx.QueryRow(ctx, "SELECT host_id FROM hosts WHERE host_id = $1 FOR NO KEY UPDATE", int32(host)).Scan(&locked)
		if errors.Is(err, pgxv5.ErrNoRows) {
			return storage.ErrNotFound
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM host_labels WHERE host_id = $1", locked); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO host_labels (host_id, name, value) SELECT $1, * FROM unnest($2::text[], $3::text[])", locked, names, values)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("label host %d: %w", host, err)
	}
	if err != nil {
		return fmt.Errorf("label host %d: %w", host, classify(err))
	}
	return nil
}

func (s *Store) attachLabels(ctx context.Context, hosts []storage.Host) error {
	rows, err := s.small.Query(ctx, "SELECT host_id, name, value FROM host_labels")
	if err != nil {
		return fmt.Errorf("list host labels: %w", classify(err))
	}
	defer rows.Close()
	return classify(storage.AttachLabels(rows, hosts))
}

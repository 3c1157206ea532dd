package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/gohub-io/gohub/storage"
)

// SetHostLabels implements storage.Store.
func (s *Store) SetHostLabels(ctx context.Context, host storage.HostID, labels map[string]string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var known bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM hosts WHERE host_id = $1)", host).Scan(&known); err != nil {
			return fmt.Errorf("find host %d: %w", host, err)
		}
		if !known {
			return fmt.Errorf("label host %d: %w", host, storage.ErrNotFound)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM host_labels WHERE host_id = $1", host); err != nil {
			return fmt.Errorf("clear the labels of host %d: %w", host, err)
		}
		for name, value := range labels {
			if _, err := tx.ExecContext(ctx, "INSERT INTO host_labels (host_id, name, value) VALUES ($1, $2, $3)", host, name, value); err != nil {
				return fmt.Errorf("save the label %s of host %d: %w", name, host, err)
			}
		}
		return nil
	})
}

func (s *Store) attachLabels(ctx context.Context, hosts []storage.Host) error {
	rows, err := s.small.QueryContext(ctx, "SELECT host_id, name, value FROM host_labels")
	if err != nil {
		return fmt.Errorf("list host labels: %w", classify(err))
	}
	defer rows.Close()
	return classify(storage.AttachLabels(rows, hosts))
}

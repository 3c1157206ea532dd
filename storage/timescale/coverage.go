package timescale

import (
	"context"

	"github.com/gohub-io/gohub/storage"
)

// Coverage implements storage.Store: there are no rollups yet.
func (s *Store) Coverage(context.Context) ([]storage.Coverage, error) { return nil, nil }

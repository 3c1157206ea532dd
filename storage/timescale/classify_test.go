package timescale

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

func TestFailuresAreToldApartByTheirCode(t *testing.T) {
	kinds := []error{storage.ErrUnavailable, storage.ErrBadData, storage.ErrMisconfigured, context.DeadlineExceeded}
	for code, want := range map[string]error{
		"08006": storage.ErrUnavailable, "40P01": storage.ErrUnavailable, "53100": storage.ErrUnavailable, "55P03": storage.ErrUnavailable,
		"57P01": storage.ErrUnavailable, "58030": storage.ErrUnavailable,
		"22P02": storage.ErrBadData, "23505": storage.ErrBadData, "54000": storage.ErrBadData,
		"28P01": storage.ErrMisconfigured, "42501": storage.ErrMisconfigured, "42P01": storage.ErrMisconfigured, "25006": storage.ErrMisconfigured,
		"57014": context.DeadlineExceeded,
		"0A000": nil, "P0001": nil, "XX000": nil,
	} {
		err := classify(&pgconn.PgError{Code: code})
		for _, kind := range kinds {
			require.Equal(t, want != nil && errors.Is(want, kind), errors.Is(err, kind), "%s as %v", code, kind)
		}
	}
}

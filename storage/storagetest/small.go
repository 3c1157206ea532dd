package storagetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/storage"
)

// RunSmall checks that what is small is answered by a store whose connections for queries are all taken.
func RunSmall(t *testing.T, s storage.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, s.Ping(ctx))
	session := storage.Session{TokenHash: [32]byte{1}, User: "admin", ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, s.SaveSession(ctx, session))
	_, err := s.FindSession(ctx, session.TokenHash, time.Now())
	require.NoError(t, err)
	require.NoError(t, s.DeleteSession(ctx, session.TokenHash, time.Now()))
	require.NoError(t, s.SaveAlerts(ctx, nil, nil))
	_, err = s.Alerts(ctx)
	require.NoError(t, err)
	_, err = s.Positions(ctx, nil)
	require.NoError(t, err)
	_, err = s.Hosts(ctx)
	require.NoError(t, err)
	_, err = s.Coverage(ctx)
	require.NoError(t, err)
}

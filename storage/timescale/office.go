package timescale

import (
	"context"
	"fmt"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/storage"
)

// An office is an advisory lock of a session that does nothing else: it is free when the session ends, which PostgreSQL finds out
// by itself. The holder looks every renewEvery whether its session lives, and holds the office for officeLease from the last time
// that it did. Who gets the lock waits as long, so two never hold the office at once.
const (
	lockOffice  = 4
	renewEvery  = time.Second
	officeLease = 4 * time.Second
	// renewTimeout is less than what is left of a lease that is renewed in time.
	renewTimeout = 2 * time.Second
)

var _ storage.Shared = (*Store)(nil)

// Identity implements storage.Shared. TimescaleDB gives every database a name at random.
func (s *Store) Identity(ctx context.Context) (string, error) {
	var name string
	err := s.small.QueryRow(ctx, "SELECT value FROM _timescaledb_catalog.metadata WHERE key = 'uuid'").Scan(&name)
	if err != nil {
		return "", fmt.Errorf("read the database's identity: %w", classify(err))
	}
	return name, nil
}

// Lead implements storage.Shared.
func (s *Store) Lead(ctx context.Context, office *storage.Office) {
	failing := false
	for ctx.Err() == nil {
		err := s.campaign(ctx, office)
		office.Hold(time.Time{})
		if err != nil && ctx.Err() == nil && !failing {
			s.options.Logger.Warn("can not tell which server leads; trying again", "error", err)
		}
		failing = err != nil
		wait(ctx, renewEvery)
	}
}

// campaign waits for the lock on a connection of its own, and holds the office while the connection lives.
func (s *Store) campaign(ctx context.Context, office *storage.Office) (err error) {
	config := s.writes.Config().ConnConfig.Copy()
	config.RuntimeParams["application_name"] = "gohub-server office"
	// Of a server that vanished without a word, PostgreSQL notices within some ten seconds.
	config.RuntimeParams["tcp_keepalives_idle"] = "5"
	config.RuntimeParams["tcp_keepalives_interval"] = "2"
	config.RuntimeParams["tcp_keepalives_count"] = "3"
	opening, cancel := context.WithTimeout(ctx, 2*renewTimeout)
	connection, err := pgxv5.ConnectConfig(opening, config)
	cancel()
	if err != nil {
		return fmt.Errorf("connect to campaign: %w", classify(err))
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		_ = connection.Close(closing) // its end is all that counts
	}()
	var since time.Time // when the lock was taken, zero before
	for ctx.Err() == nil {
		asked := time.Now()
		asking, cancel := context.WithTimeout(ctx, renewTimeout)
		if since.IsZero() {
			var taken bool
			if err = connection.QueryRow(asking, "SELECT pg_try_advisory_lock($1, $2)", locks, lockOffice).Scan(&taken); taken {
				since = time.Now()
			}
		} else {
			_, err = connection.Exec(asking, "SELECT 1")
		}
		cancel()
		if err != nil {
			return fmt.Errorf("hold the office: %w", classify(err))
		}
		if !since.IsZero() && asked.Sub(since) >= officeLease {
			if !office.Held() {
				s.options.Logger.Info("this server leads: it evaluates the alerts and tells people of them")
			}
			office.Hold(asked.Add(officeLease))
		}
		wait(ctx, renewEvery)
	}
	return nil
}

// wait returns after a time, or when ctx ends.
func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Gaps implements storage.Store.
func (s *Store) Gaps(ctx context.Context, host storage.HostID, from, to time.Time, limit int) ([]*gohubv1.Gap, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT from_time, to_time, reason, samples FROM gaps
		WHERE host_id = $1 AND to_time >= $2 AND from_time < $3 ORDER BY from_time, to_time LIMIT $4`,
		host, from.UnixMilli(), to.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("list gaps: %w", classify(err))
	}
	defer rows.Close()
	gaps, err := storage.CollectGaps(rows)
	return gaps, classify(err)
}

// Quarantine implements storage.Store.
func (s *Store) Quarantine(ctx context.Context, host storage.HostID, limit int) ([]storage.Quarantined, error) {
	rows, err := s.read.QueryContext(ctx, `
		SELECT received_at, host_id, epoch, seq, reason, coalesce(length(sample), 0), CASE WHEN length(sample) <= $3 THEN sample END FROM quarantine
		WHERE $1 = 0 OR host_id = $1 ORDER BY received_at DESC, rowid DESC LIMIT $2`, host, limit, storage.MaxListed)
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", classify(err))
	}
	defer rows.Close()
	all, err := storage.CollectQuarantine(rows)
	return all, classify(err)
}

// Positions implements storage.Store.
func (s *Store) Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error) {
	query, args := "SELECT host_id, epoch, seq FROM cursors ORDER BY host_id", []any(nil)
	if len(hosts) > 0 {
		query, args = "SELECT host_id, epoch, seq FROM cursors WHERE host_id IN (SELECT value FROM json_each($1)) ORDER BY host_id", []any{encode(hosts)}
	}
	rows, err := s.small.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", classify(err))
	}
	defer rows.Close()
	positions, err := storage.CollectPositions(rows)
	return positions, classify(err)
}

// LatestSamples implements storage.Store.
func (s *Store) LatestSamples(ctx context.Context, since time.Time) ([]storage.Latest, error) {
	metrics := catalogue.Host().Metrics
	columns := make([]string, len(metrics))
	for i, metric := range metrics {
		columns[i] = metric.Column
	}
	// SQLite takes the bare columns from the row that has the max.
	rows, err := s.read.QueryContext(ctx, "SELECT host_id, max(time), "+strings.Join(columns, ", ")+
		" FROM "+catalogue.Host().Table+" WHERE time >= $1 GROUP BY host_id ORDER BY host_id", since.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read the latest samples: %w", classify(err))
	}
	defer rows.Close()
	var all []storage.Latest
	values := make([]sql.NullFloat64, len(metrics))
	for rows.Next() {
		var (
			latest storage.Latest
			at     int64
			dest   = []any{&latest.Host, &at}
		)
		for i := range values {
			dest = append(dest, &values[i])
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("scan a latest sample: %w", err)
		}
		latest.Time = time.UnixMilli(at).UTC()
		latest.Values = make([]float64, len(metrics))
		for i, value := range values {
			latest.Values[i] = math.NaN()
			if value.Valid {
				latest.Values[i] = value.Float64
			}
		}
		all = append(all, latest)
	}
	return all, classify(rows.Err())
}

// SaveAlerts implements storage.Store.
func (s *Store) SaveAlerts(ctx context.Context, alerts []*gohubv1.Alert, gone []string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		for _, alert := range alerts {
			body, err := protojson.Marshal(alert)
			if err != nil {
				return fmt.Errorf("encode alert %s: %w", alert.GetId(), err)
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO alerts (alert_id, alert) VALUES ($1, $2) ON CONFLICT (alert_id) DO UPDATE SET alert = excluded.alert",
				alert.GetId(), string(body))
			if err != nil {
				return fmt.Errorf("save alert %s: %w", alert.GetId(), err)
			}
		}
		for _, id := range gone {
			if _, err := tx.ExecContext(ctx, "DELETE FROM alerts WHERE alert_id = $1", id); err != nil {
				return fmt.Errorf("delete alert %s: %w", id, err)
			}
		}
		return nil
	})
}

// Alerts implements storage.Store.
func (s *Store) Alerts(ctx context.Context) ([]*gohubv1.Alert, error) {
	rows, err := s.small.QueryContext(ctx, "SELECT alert FROM alerts ORDER BY alert_id")
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", classify(err))
	}
	defer rows.Close()
	var alerts []*gohubv1.Alert
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan alert: %w", err)
		}
		alert := &gohubv1.Alert{}
		if err := lenient.Unmarshal([]byte(body), alert); err != nil {
			return nil, fmt.Errorf("decode alert: %w", err)
		}
		alerts = append(alerts, alert)
	}
	return alerts, classify(rows.Err())
}

// SaveSession implements storage.Store.
func (s *Store) SaveSession(ctx context.Context, session storage.Session) error {
	_, err := s.write.ExecContext(ctx, "INSERT INTO sessions (token_hash, user_name, expires_at) VALUES ($1, $2, $3)",
		session.TokenHash[:], session.User, session.ExpiresAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("save session: %w", classify(err))
	}
	return nil
}

// FindSession implements storage.Store.
func (s *Store) FindSession(ctx context.Context, tokenHash [32]byte, now time.Time) (storage.Session, error) {
	session := storage.Session{TokenHash: tokenHash}
	var expires int64
	err := s.small.QueryRowContext(ctx, "SELECT user_name, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > $2",
		tokenHash[:], now.UnixMilli()).Scan(&session.User, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return session, storage.ErrNotFound
	}
	session.ExpiresAt = time.UnixMilli(expires).UTC()
	return session, classify(err)
}

// LivingSessions implements storage.Store.
func (s *Store) LivingSessions(ctx context.Context, tokenHashes [][32]byte, now time.Time) ([][32]byte, error) {
	asked := make([]string, len(tokenHashes))
	for i, hash := range tokenHashes {
		asked[i] = hex.EncodeToString(hash[:])
	}
	rows, err := s.small.QueryContext(ctx, "SELECT token_hash FROM sessions WHERE token_hash IN (SELECT unhex(value) FROM json_each($1)) AND expires_at > $2",
		encode(asked), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("look which sessions live: %w", classify(err))
	}
	defer rows.Close()
	var living [][32]byte
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("scan a session: %w", err)
		}
		var hash [32]byte
		copy(hash[:], raw)
		living = append(living, hash)
	}
	return living, classify(rows.Err())
}

// DeleteSession implements storage.Store.
func (s *Store) DeleteSession(ctx context.Context, tokenHash [32]byte, now time.Time) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM sessions WHERE token_hash = $1 OR expires_at <= $2", tokenHash[:], now.UnixMilli())
	if err != nil {
		return fmt.Errorf("delete session: %w", classify(err))
	}
	return nil
}

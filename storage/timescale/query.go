package timescale

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	pgxv5 "github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Gaps implements storage.Store.
func (s *Store) Gaps(ctx context.Context, host storage.HostID, from, to time.Time, limit int) ([]*gohubv1.Gap, error) {
	rows, err := s.reads.Query(ctx, `
		SELECT (extract(epoch FROM from_time) * 1000)::bigint, (extract(epoch FROM to_time) * 1000)::bigint, reason, samples FROM gaps
		WHERE host_id = $1 AND to_time >= $2 AND from_time < $3 ORDER BY from_time, to_time LIMIT $4`,
		int32(host), from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("list gaps: %w", classify(err))
	}
	defer rows.Close()
	gaps, err := storage.CollectGaps(rows)
	return gaps, classify(err)
}

// Quarantine implements storage.Store.
func (s *Store) Quarantine(ctx context.Context, host storage.HostID, limit int) ([]storage.Quarantined, error) {
	rows, err := s.reads.Query(ctx, `
		SELECT (extract(epoch FROM received_at) * 1000)::bigint, host_id, epoch, seq, reason, coalesce(length(sample), 0), CASE WHEN length(sample) <= $3 THEN sample END FROM quarantine
		WHERE $1 = 0 OR host_id = $1 ORDER BY received_at DESC LIMIT $2`, int32(host), limit, storage.MaxListed)
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", classify(err))
	}
	defer rows.Close()
	all, err := storage.CollectQuarantine(rows)
	return all, classify(err)
}

// pruneQuarantine drops what is over storage.MaxQuarantine.
func (s *Store) pruneQuarantine(ctx context.Context) error {
	_, err := s.writes.Exec(ctx, `
		DELETE FROM quarantine WHERE received_at < (SELECT received_at FROM quarantine ORDER BY received_at DESC OFFSET $1 LIMIT 1)`,
		storage.MaxQuarantine)
	if err != nil {
		return fmt.Errorf("prune the quarantine: %w", classify(err))
	}
	return nil
}

// Positions implements storage.Store.
func (s *Store) Positions(ctx context.Context, hosts []storage.HostID) ([]storage.Position, error) {
	sql, args := "SELECT host_id, epoch, seq FROM cursors ORDER BY host_id", []any(nil)
	if len(hosts) > 0 {
		sql, args = "SELECT host_id, epoch, seq FROM cursors WHERE host_id = ANY ($1::integer[]) ORDER BY host_id", []any{integers(hosts)}
	}
	rows, err := s.small.Query(ctx, sql, args...)
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
		columns[i] = metric.Column + "::float8"
	}
	rows, err := s.reads.Query(ctx, `
		SELECT hosts.host_id, newest.* FROM hosts CROSS JOIN LATERAL (
			SELECT time, `+strings.Join(columns, ", ")+` FROM `+catalogue.Host().Table+` AS s
			WHERE s.host_id = hosts.host_id AND time >= $1 ORDER BY time DESC LIMIT 1
		) AS newest ORDER BY hosts.host_id`, since)
	if err != nil {
		return nil, fmt.Errorf("read the latest samples: %w", classify(err))
	}
	defer rows.Close()
	var all []storage.Latest
	values := make([]*float64, len(metrics))
	for rows.Next() {
		var latest storage.Latest
		dest := []any{&latest.Host, &latest.Time}
		for i := range values {
			dest = append(dest, &values[i])
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("scan a latest sample: %w", err)
		}
		latest.Time = latest.Time.UTC()
		latest.Values = make([]float64, len(metrics))
		for i, value := range values {
			latest.Values[i] = math.NaN()
			if value != nil {
				latest.Values[i] = *value
			}
		}
		all = append(all, latest)
	}
	return all, classify(rows.Err())
}

// SaveAlerts implements storage.Store.
func (s *Store) SaveAlerts(ctx context.Context, alerts []*gohubv1.Alert, gone []string) error {
	err := pgxv5.BeginFunc(ctx, s.small, func(tx pgxv5.Tx) error {
		batch := &pgxv5.Batch{}
		for _, alert := range alerts {
			body, err := protojson.Marshal(alert)
			if err != nil {
				return fmt.Errorf("encode alert %s: %w", alert.GetId(), err)
			}
			batch.Queue("INSERT INTO alerts (alert_id, alert) VALUES ($1, $2) ON CONFLICT (alert_id) DO UPDATE SET alert = excluded.alert",
				alert.GetId(), body)
		}
		batch.Queue("DELETE FROM alerts WHERE alert_id = ANY($1)", gone)
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("save alerts: %w", classify(err))
	}
	return nil
}

// Alerts implements storage.Store.
func (s *Store) Alerts(ctx context.Context) ([]*gohubv1.Alert, error) {
	rows, err := s.small.Query(ctx, "SELECT alert FROM alerts ORDER BY alert_id")
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", classify(err))
	}
	defer rows.Close()
	var alerts []*gohubv1.Alert
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan alert: %w", err)
		}
		alert := &gohubv1.Alert{}
		if err := lenient.Unmarshal(body, alert); err != nil {
			return nil, fmt.Errorf("decode alert: %w", err)
		}
		alerts = append(alerts, alert)
	}
	return alerts, classify(rows.Err())
}

// SaveSession implements storage.Store.
func (s *Store) SaveSession(ctx context.Context, session storage.Session) error {
	_, err := s.small.Exec(ctx, "INSERT INTO sessions (token_hash, user_name, expires_at) VALUES ($1, $2, $3)",
		session.TokenHash[:], session.User, session.ExpiresAt)
	if err != nil {
		return fmt.Errorf("save session: %w", classify(err))
	}
	return nil
}

// FindSession implements storage.Store.
func (s *Store) FindSession(ctx context.Context, tokenHash [32]byte, now time.Time) (storage.Session, error) {
	session := storage.Session{TokenHash: tokenHash}
	err := s.small.QueryRow(ctx, "SELECT user_name, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > $2",
		tokenHash[:], now).Scan(&session.User, &session.ExpiresAt)
	if errors.Is(err, pgxv5.ErrNoRows) {
		return session, storage.ErrNotFound
	}
	session.ExpiresAt = session.ExpiresAt.UTC()
	return session, classify(err)
}

// LivingSessions implements storage.Store.
func (s *Store) LivingSessions(ctx context.Context, tokenHashes [][32]byte, now time.Time) ([][32]byte, error) {
	asked := make([][]byte, len(tokenHashes))
	for i := range tokenHashes {
		asked[i] = tokenHashes[i][:]
	}
	rows, err := s.small.Query(ctx, "SELECT token_hash FROM sessions WHERE token_hash = ANY ($1::bytea[]) AND expires_at > $2", asked, now)
	if err != nil {
		return nil, fmt.Errorf("look which sessions live: %w", classify(err))
	}
	living, err := pgxv5.CollectRows(rows, func(row pgxv5.CollectableRow) (hash [32]byte, err error) {
		var raw []byte
		err = row.Scan(&raw)
		copy(hash[:], raw)
		return hash, err
	})
	if err != nil {
		return nil, fmt.Errorf("look which sessions live: %w", classify(err))
	}
	return living, nil
}

// DeleteSession implements storage.Store.
func (s *Store) DeleteSession(ctx context.Context, tokenHash [32]byte, now time.Time) error {
	if _, err := s.small.Exec(ctx, "DELETE FROM sessions WHERE token_hash = $1 OR expires_at <= $2", tokenHash[:], now); err != nil {
		return fmt.Errorf("delete session: %w", classify(err))
	}
	return nil
}

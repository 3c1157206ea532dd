package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/argon2"

	"github.com/gohub-io/gohub/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testPassword   = "correct horse"
	testAgentToken = "agent-token-0123456789"
	testAPIToken   = "api-token-0123456789"
)

// testHash is a hash of testPassword that is as cheap as the bounds allow.
var testHash = func() string {
	h := passwordHash{memory: minHashMemory, time: 1, threads: 1, salt: []byte("0123456789abcdef")}
	h.key = argon2.IDKey([]byte(testPassword), h.salt, h.time, h.memory, h.threads, keyLength)
	return h.String()
}()

// clock is a clock that a test moves.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func newClock() *clock { return &clock{time: time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

// sessions is a SessionStore in memory that behaves as storage.Store says. While err is set it is away.
type sessions struct {
	mu   sync.Mutex
	rows map[[32]byte]storage.Session
	err  error
}

func newSessions() *sessions { return &sessions{rows: make(map[[32]byte]storage.Session)} }

func (s *sessions) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sessions) all() map[[32]byte]storage.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.rows)
}

func (s *sessions) SaveSession(_ context.Context, session storage.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.rows[session.TokenHash] = session
	return nil
}

func (s *sessions) FindSession(_ context.Context, hash [32]byte, now time.Time) (storage.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return storage.Session{}, s.err
	}
	session, ok := s.rows[hash]
	if !ok || !session.ExpiresAt.After(now) {
		return storage.Session{}, storage.ErrNotFound
	}
	return session, nil
}

func (s *sessions) LivingSessions(_ context.Context, hashes [][32]byte, now time.Time) ([][32]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(hashes), func(hash [32]byte) bool { return !s.rows[hash].ExpiresAt.After(now) }), s.err
}

func (s *sessions) DeleteSession(_ context.Context, hash [32]byte, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	delete(s.rows, hash)
	maps.DeleteFunc(s.rows, func(_ [32]byte, session storage.Session) bool { return !session.ExpiresAt.After(now) })
	return nil
}

var errAway = errors.Join(storage.ErrUnavailable, errors.New("dial tcp db.internal:5432"))

// rig is an authoriser with all that a test looks at.
type rig struct {
	*Authoriser
	clock    *clock
	sessions *sessions
	registry *prometheus.Registry
	log      *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// guarded has all secrets, as a server that others can reach.
func guarded() Options {
	return Options{PasswordHash: testHash, AgentToken: testAgentToken, APIToken: testAPIToken}
}

func newRig(t *testing.T, options Options) *rig {
	t.Helper()
	r := &rig{clock: newClock(), sessions: newSessions(), registry: prometheus.NewRegistry(), log: &syncBuffer{}}
	options.Now, options.Sessions, options.Registerer = r.clock.now, r.sessions, r.registry
	options.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	if options.Static == nil {
		options.Static = func(path string) bool { return path == "/" || path == "/login/" }
	}
	var err error
	r.Authoriser, err = New(options)
	require.NoError(t, err)
	return r
}

func (r *rig) requireCount(t *testing.T, counter *prometheus.CounterVec, label string, want int) {
	t.Helper()
	require.InDelta(t, want, testutil.ToFloat64(counter.WithLabelValues(label)), 0, label)
}

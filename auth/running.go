package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// recheckEvery is how often it is looked whether another server of the cluster has ended sessions: so long may a live connection go
// on after a logout there. It takes one query for all.
const recheckEvery = 30 * time.Second

// Run ends the live connections of sessions that are no more, until ctx ends. It is a loop for a goroutine, and returns nil.
func (a *Authoriser) Run(ctx context.Context) error {
	if a.password == nil {
		return nil // there are no sessions
	}
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// While the store is away live connections stay, as the sessions do. They end with their time in any case.
			if err := a.recheck(ctx); err != nil && !errors.Is(err, context.Canceled) {
				a.denials.line().WarnContext(ctx, "can not look whether the sessions of live connections last; trying again", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *Authoriser) recheck(ctx context.Context) error {
	asked := a.running.sessions()
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recheckEvery/2)
	defer cancel()
	living, err := a.sessions.LivingSessions(ctx, asked, a.now())
	if err != nil {
		return fmt.Errorf("recheck sessions: %w", err)
	}
	lives := make(map[[sha256.Size]byte]bool, len(living))
	for _, session := range living {
		lives[session] = true
	}
	for _, session := range asked {
		if !lives[session] {
			a.running.end(session)
		}
	}
	return nil
}

// running knows the live connections of each session, so that they end with it. The zero value is ready, and safe for
// concurrent use.
type running struct {
	mu      sync.Mutex
	cancels map[[sha256.Size]byte]map[*context.CancelFunc]struct{}
}

// bound returns a context that ends when the session is logged out or its time is over. The caller calls end when done.
func (s *running) bound(parent context.Context, session [sha256.Size]byte, left time.Duration) (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeout(parent, left)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancels == nil {
		s.cancels = make(map[[sha256.Size]byte]map[*context.CancelFunc]struct{})
	}
	if s.cancels[session] == nil {
		s.cancels[session] = make(map[*context.CancelFunc]struct{})
	}
	s.cancels[session][&cancel] = struct{}{}
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.cancels[session], &cancel)
		if len(s.cancels[session]) == 0 {
			delete(s.cancels, session)
		}
	}
}

// sessions returns those that have a live connection.
func (s *running) sessions() [][sha256.Size]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.cancels))
}

// end cancels the contexts of a session.
func (s *running) end(session [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.cancels[session] {
		(*cancel)()
	}
}

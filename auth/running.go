package auth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

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

// end cancels the contexts of a session.
func (s *running) end(session [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.cancels[session] {
		(*cancel)()
	}
}

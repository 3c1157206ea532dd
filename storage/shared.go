package storage

import (
	"context"
	"sync/atomic"
	"time"
)

// Shared is what a Store has besides, if several servers can store into one database at once.
type Shared interface {
	// Identity names the database: no other has the name, wherever it is.
	Identity(ctx context.Context) (string, error)
	// Lead has this server hold an office whenever no other does, until ctx ends. It is a loop for a goroutine.
	Lead(ctx context.Context, office *Office)
}

// Office is what one server at a time holds: the one that tells people of alerts. It runs out by itself unless it is renewed, so
// that a server that was frozen or cut off does not go on while another holds it.
type Office struct {
	until atomic.Pointer[time.Time]
}

// Held tells whether this server holds the office.
func (o *Office) Held() bool {
	until := o.until.Load()
	return until != nil && time.Now().Before(*until)
}

// Hold keeps the office until a time, zero gives it up. Only Lead calls it.
func (o *Office) Hold(until time.Time) { o.until.Store(&until) }

// Package alerttest has stand-ins for what alerts are told to: an SMTP server, a Telegram Bot API server and a webhook
// receiver. Each listens on 127.0.0.1, speaks its protocol, records what it was sent, and fails on demand. For tests.
package alerttest

import (
	"context"
	"sync"
)

// box collects what a stand-in received, and lets tests wait for it.
type box[T any] struct {
	mu    sync.Mutex
	items []T
	// next is closed, and made anew, when an item comes.
	next chan struct{}
}

func newBox[T any]() *box[T] { return &box[T]{next: make(chan struct{})} }

func (b *box[T]) add(item T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, item)
	close(b.next)
	b.next = make(chan struct{})
}

func (b *box[T]) all() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]T(nil), b.items...)
}

// wait returns the first n items once they are there, or what there is when the context ends.
func (b *box[T]) wait(ctx context.Context, n int) ([]T, error) {
	for {
		b.mu.Lock()
		items, next := append([]T(nil), b.items...), b.next
		b.mu.Unlock()
		if len(items) >= n {
			return items, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return items, ctx.Err()
		}
	}
}

package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// registrar registers agents, many in one transaction: after a restart of the server a whole fleet comes back within
// seconds. It runs on one goroutine.
type registrar struct {
	sink  Sink
	calls chan *registration
}

// registration is an agent that waits for its answer: registered or err, once done is closed.
type registration struct {
	storage.Registration
	registered storage.Registered
	err        error
	done       chan struct{}
}

const (
	// maxRegistrations bounds a transaction, so that the first of a storm need not wait for the last.
	maxRegistrations = 500
	registerTimeout  = 30 * time.Second
)

func newRegistrar(sink Sink) *registrar {
	return &registrar{sink: sink, calls: make(chan *registration, maxRegistrations)}
}

// register waits for its turn and the answer as long as ctx lasts, or stop. When it fails, the answer may still come.
func (r *registrar) register(ctx, stop context.Context, one *registration) error {
	one.done = make(chan struct{})
	select {
	case r.calls <- one:
	case <-ctx.Done():
		return ctx.Err()
	case <-stop.Done():
		return errStopping
	}
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return ctx.Err()
	case <-stop.Done():
		return errStopping
	}
}

// run answers calls until ctx ends.
func (r *registrar) run(ctx context.Context) {
	var calls []*registration
	for {
		clear(calls) // their streams may end before the next come
		calls = calls[:0]
		select {
		case call := <-r.calls:
			calls = append(calls, call)
		case <-ctx.Done():
			return
		}
		for more := true; more && len(calls) < maxRegistrations; {
			select {
			case call := <-r.calls:
				calls = append(calls, call)
			default:
				more = false
			}
		}
		r.answer(ctx, calls)
	}
}

func (r *registrar) answer(ctx context.Context, calls []*registration) {
	registrations := make([]storage.Registration, len(calls))
	for i, call := range calls {
		registrations[i] = call.Registration
	}
	attempt, cancel := context.WithTimeout(ctx, registerTimeout)
	answers, err := r.sink.Register(attempt, registrations)
	cancel()
	if errors.Is(err, storage.ErrBadData) && len(calls) > 1 {
		// One agent's facts must not keep others out.
		for i := range calls {
			r.answer(ctx, calls[i:i+1])
		}
		return
	}
	for i, call := range calls {
		if call.err = err; err == nil {
			call.registered, call.err = answers[i], answers[i].Err
		}
		close(call.done)
	}
}

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
	calls chan registerCall
}

type registerCall struct {
	registration storage.Registration
	answer       chan<- registerAnswer // has room for one
}

type registerAnswer struct {
	storage.Registered
	err error
}

const (
	// maxRegistrations bounds a transaction, so that the first of a storm need not wait for the last.
	maxRegistrations = 500
	registerTimeout  = 30 * time.Second
)

func newRegistrar(sink Sink) *registrar {
	return &registrar{sink: sink, calls: make(chan registerCall, maxRegistrations)}
}

// register waits for its turn and the answer as long as ctx lasts, or stop.
func (r *registrar) register(ctx, stop context.Context, registration storage.Registration) (storage.Registered, error) {
	answer := make(chan registerAnswer, 1)
	select {
	case r.calls <- registerCall{registration, answer}:
	case <-ctx.Done():
		return storage.Registered{}, ctx.Err()
	case <-stop.Done():
		return storage.Registered{}, errStopping
	}
	select {
	case a := <-answer:
		return a.Registered, a.err
	case <-ctx.Done():
		return storage.Registered{}, ctx.Err()
	case <-stop.Done():
		return storage.Registered{}, errStopping
	}
}

// run answers calls until ctx ends.
func (r *registrar) run(ctx context.Context) {
	var calls []registerCall
	for {
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

func (r *registrar) answer(ctx context.Context, calls []registerCall) {
	registrations := make([]storage.Registration, len(calls))
	for i, call := range calls {
		registrations[i] = call.registration
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
		a := registerAnswer{err: err}
		if err == nil {
			a.Registered = answers[i]
		}
		call.answer <- a
	}
}

package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// maxQueued bounds what waits for one receiver, in events. There is at most one event an alert.
	maxQueued = 10_000
	// maxBatch bounds one message, in events: some 300 KB of JSON.
	maxBatch = 500
	// maxAge is how long a receiver may be away before what waits for it is of no use any more.
	maxAge = 24 * time.Hour
	// Between two attempts the wait doubles from the first bound to the second.
	firstWait, lastWait = time.Second, 2 * time.Minute
	// maxAfter bounds how long a receiver can ask to be left alone.
	maxAfter = 15 * time.Minute
)

// worker owns the deliveries to one address, chat or URL.
//
// Events wait by alert: while the receiver is away, a newer event of an alert takes the place of the one that waits,
// so that after an outage people get one message with what holds now.
type worker struct {
	receiver Receiver
	target   sender
	secrets  scrubber
	link     string
	log      *slog.Logger
	metrics  *metrics
	// wait blocks for a time, or until the context ends; it returns false then. Tests replace it.
	wait func(ctx context.Context, d time.Duration) bool

	// wake has room for one token: there is something to do.
	wake chan struct{}

	mu sync.Mutex
	// queue is in order of arrival.
	queue []Event

	// failing is owned by run: the last attempt did not work.
	failing bool
}

func newWorker(r Receiver, target sender, secrets scrubber, o Options, m *metrics) *worker {
	return &worker{
		receiver: r, target: target, secrets: secrets, link: o.Link, metrics: m,
		log:  o.Logger.With("receiver", r.Name),
		wait: sleep,
		wake: make(chan struct{}, 1),
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// wants applies the receiver's filter.
func (w *worker) wants(alert *gohubv1.Alert) bool {
	return w.receiver.MinSeverity == "" || alert.GetSeverity() >= w.receiver.MinSeverity.Proto()
}

// add queues events behind those that wait.
func (w *worker) add(events []Event) {
	wanted := make(map[string]Event, len(events))
	for _, event := range events {
		if w.wants(event.Alert) {
			wanted[event.Alert.GetId()] = event
		}
	}
	if len(wanted) == 0 {
		return
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = slices.DeleteFunc(w.queue, func(old Event) bool {
		newer, ok := wanted[old.Alert.GetId()]
		if ok && old.Kind == Firing && newer.Kind == Reminder {
			// Nobody was told the first time, so it is not a reminder.
			newer.Kind = Firing
			wanted[old.Alert.GetId()] = newer
		}
		return ok
	})
	for _, event := range events {
		if last, ok := wanted[event.Alert.GetId()]; ok {
			last.queued = now
			w.queue = append(w.queue, last)
			delete(wanted, event.Alert.GetId())
		}
	}
	w.bound()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// bound drops the oldest events over maxQueued. The caller holds mu.
func (w *worker) bound() {
	if over := len(w.queue) - maxQueued; over > 0 {
		w.queue = slices.Delete(w.queue, 0, over)
		w.drop(over)
	}
}

// take removes the next batch from the queue.
func (w *worker) take() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := time.Now().Add(-maxAge)
	before := len(w.queue)
	w.queue = slices.DeleteFunc(w.queue, func(event Event) bool { return event.queued.Before(oldest) })
	w.drop(before - len(w.queue))
	n := min(len(w.queue), maxBatch)
	batch := slices.Clone(w.queue[:n])
	w.queue = slices.Delete(w.queue, 0, n)
	return batch
}

// putBack returns a batch to the head of the queue, less the alerts of which there is newer news.
func (w *worker) putBack(batch []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	newer := make(map[string]bool, len(w.queue))
	for _, event := range w.queue {
		newer[event.Alert.GetId()] = true
	}
	batch = slices.DeleteFunc(batch, func(event Event) bool { return newer[event.Alert.GetId()] })
	w.queue = append(batch, w.queue...)
	w.bound()
}

func (w *worker) drop(n int) {
	if n > 0 {
		w.metrics.dropped.WithLabelValues(w.receiver.Name).Add(float64(n))
	}
}

// run delivers until ctx ends, then makes one more attempt for what is left. hard cuts that one short.
func (w *worker) run(ctx, hard context.Context) {
	backoff := firstWait
	for {
		batch := w.take()
		if len(batch) == 0 {
			select {
			case <-w.wake:
				continue
			case <-ctx.Done():
			}
			// An event may have come together with the end.
			if batch = w.take(); len(batch) == 0 {
				return
			}
		}
		pause, ok := w.deliver(hard, batch)
		if ok {
			backoff = firstWait
			continue
		}
		if ctx.Err() != nil {
			w.leave()
			return
		}
		if pause == 0 {
			// Half of it by chance, so that many workers don't come back at once.
			pause = backoff/2 + rand.N(backoff/2+1)
			backoff = min(2*backoff, lastWait)
		}
		w.wait(ctx, pause)
	}
}

// leave counts what is still undelivered when the worker ends.
func (w *worker) leave() {
	w.mu.Lock()
	left := len(w.queue)
	w.queue = nil
	w.mu.Unlock()
	w.drop(left)
	w.log.Warn("notifications left undelivered at the end", "alerts", left)
}

// deliver makes one attempt. ok means that the batch is done with; otherwise it is back in the queue, and pause is
// what the receiver asked for.
func (w *worker) deliver(ctx context.Context, batch []Event) (pause time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, w.receiver.timeout())
	defer cancel()
	err := w.secrets.clean(w.target.send(ctx, message{events: batch, link: w.link}))
	if err == nil {
		w.count(resultSent)
		if w.failing {
			w.failing = false
			w.log.Info("notifications are delivered again")
		}
		return 0, true
	}
	var kind *failure
	if errors.As(err, &kind) && kind.permanent {
		w.count(resultRejected)
		w.drop(len(batch))
		// Every message that is lost for good is worth a line.
		w.log.Error("notification rejected", "alerts", len(batch), "error", err)
		return 0, true
	}
	w.count(resultRetried)
	if !w.failing {
		w.failing = true
		w.log.Warn("notification failed, trying again", "alerts", len(batch), "error", err)
	}
	w.putBack(batch)
	if kind != nil {
		pause = min(kind.after, maxAfter)
	}
	return pause, false
}

func (w *worker) count(result string) {
	w.metrics.notifications.WithLabelValues(w.receiver.Name, result).Inc()
}

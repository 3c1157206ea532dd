package alert

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

const (
	// saveTimeout bounds one attempt to load or save.
	saveTimeout = 5 * time.Second
	// Between two attempts the wait doubles from the first bound to the second.
	firstSaveWait, lastSaveWait = time.Second, 30 * time.Second
)

// saver brings changed alerts to the store, in a goroutine of its own, so that a database that is away does not hold
// up the evaluation. Only the newest version of an alert waits.
type saver struct {
	store   Store
	log     *slog.Logger
	metrics *metrics
	// wake has room for one token: there is something to save.
	wake chan struct{}

	mu sync.Mutex
	// waiting has the alerts to save by id, nil for those to remove.
	waiting map[string]*gohubv1.Alert
}

func newSaver(store Store, log *slog.Logger, m *metrics) *saver {
	return &saver{store: store, log: log, metrics: m, wake: make(chan struct{}, 1), waiting: map[string]*gohubv1.Alert{}}
}

// add queues changed alerts. It does not block.
func (s *saver) add(changed map[string]*gohubv1.Alert) {
	if len(changed) == 0 {
		return
	}
	s.mu.Lock()
	for id, alert := range changed {
		s.waiting[id] = alert
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forget drops what waits: another has the alerts now.
func (s *saver) forget() {
	s.mu.Lock()
	clear(s.waiting)
	s.mu.Unlock()
}

// run saves until ctx ends, and then once more.
func (s *saver) run(ctx context.Context) {
	// What has begun is finished: saves live on when ctx ends, each bounded by saveTimeout.
	saving := context.WithoutCancel(ctx)
	wait, failing := firstSaveWait, false
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			if err := s.flush(saving); err != nil {
				s.log.Warn("alerts not saved at the end", "error", err)
			}
			return
		}
		err := s.flush(saving)
		if err == nil {
			if failing {
				s.log.Info("alerts are saved again")
			}
			wait, failing = firstSaveWait, false
			continue
		}
		if !failing {
			failing = true
			s.log.Warn("alerts not saved, trying again", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(2*wait, lastSaveWait)
		// Whatever else woke it meanwhile, there is something to save.
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// flush makes one attempt to save all that waits; on an error it waits again.
func (s *saver) flush(ctx context.Context) error {
	s.mu.Lock()
	batch := s.waiting
	s.waiting = map[string]*gohubv1.Alert{}
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := s.save(ctx, batch)
	if errors.Is(err, storage.ErrBadData) {
		err = s.saveSingly(ctx, batch)
	}
	if err == nil {
		return nil
	}
	s.metrics.saveErrors.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, alert := range batch {
		if _, newer := s.waiting[id]; !newer {
			s.waiting[id] = alert
		}
	}
	return err
}

// saveSingly saves what can be saved of a batch that the database refuses as a whole, and removes the saved alerts
// from it. An alert that can't be saved is given up: it lives on in memory.
func (s *saver) saveSingly(ctx context.Context, batch map[string]*gohubv1.Alert) error {
	for id, alert := range batch {
		err := s.save(ctx, map[string]*gohubv1.Alert{id: alert})
		if err != nil && !errors.Is(err, storage.ErrBadData) {
			return err
		}
		if err != nil {
			s.metrics.saveErrors.Inc()
			s.log.Error("alert can not be saved", "alert", id, "error", err)
		}
		delete(batch, id)
	}
	return nil
}

func (s *saver) save(ctx context.Context, batch map[string]*gohubv1.Alert) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	var alerts []*gohubv1.Alert
	var gone []string
	for id, alert := range batch {
		if alert == nil {
			gone = append(gone, id)
		} else {
			alerts = append(alerts, alert)
		}
	}
	return s.store.SaveAlerts(ctx, alerts, gone)
}

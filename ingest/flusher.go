package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// Sink stores what agents send.
type Sink interface {
	// Register records an agent and returns its host and the sequence number of its newest stored batch.
	Register(ctx context.Context, r storage.Registration) (storage.Host, uint64, error)
	// Append stores batches durably in one transaction and returns one outcome a batch.
	Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error)
}

// flusher empties one shard into the sink. It runs on one goroutine, which owns all its fields.
type flusher struct {
	shard   *shard
	sink    Sink
	maxRows int
	age     time.Duration
	metrics *metrics
	log     *slog.Logger

	entries []entry
	batches []*storage.Batch
	failing bool
}

// The first and the longest pause between two tries of a flush that the database could not take, and the bound of a try.
const (
	firstRetry  = 50 * time.Millisecond
	longestWait = 5 * time.Second
	// attemptTimeout is far above what a flush takes on a slow disk.
	attemptTimeout = time.Minute
)

// run flushes until stop ends, then empties the ring and returns. give bounds the work after stop: when it ends too,
// what is left stays unacknowledged, and its agents send it again.
func (f *flusher) run(stop, give context.Context) {
	for {
		f.entries = f.shard.gather(stop, f.entries[:0], f.maxRows, f.age)
		if len(f.entries) == 0 {
			return
		}
		if err := f.flush(give, f.entries); err != nil {
			f.log.Warn("gave up flushing; agents will send the batches again", "batches", len(f.entries), "error", err)
			return
		}
		f.shard.free(len(f.entries))
	}
}

// flush stores the entries and acknowledges them, trying again for as long as the database is away. Rows that the
// database refuses are found by halving, and end in quarantine. It fails only when ctx ends.
func (f *flusher) flush(ctx context.Context, entries []entry) error {
	for pause := firstRetry; ; pause = min(2*pause, longestWait) {
		err := f.try(ctx, entries)
		switch {
		case err == nil:
			f.recovered()
			return nil
		case ctx.Err() != nil:
			return err
		case errors.Is(err, storage.ErrBadData) && len(entries) > 1:
			half := len(entries) / 2
			if err := f.flush(ctx, entries[:half]); err != nil {
				return err
			}
			entries, pause = entries[half:], firstRetry
			continue
		case errors.Is(err, storage.ErrBadData):
			if f.strip(entries[0].batch, err) {
				continue
			}
		}
		f.failed(err)
		// Full jitter, so that shards and servers do not come back in step.
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// try makes one attempt, and acknowledges what it stored.
func (f *flusher) try(ctx context.Context, entries []entry) error {
	f.batches = f.batches[:0]
	for i := range entries {
		f.batches = append(f.batches, entries[i].batch)
	}
	begin := time.Now()
	outcomes, err := f.append(ctx, f.batches)
	if err != nil {
		return err
	}
	f.metrics.flushSeconds.Observe(time.Since(begin).Seconds())
	f.metrics.flushRows.Observe(float64(countRows(entries)))
	for i, outcome := range outcomes {
		batch, from := entries[i].batch, entries[i].from
		switch outcome {
		case storage.Stored:
			f.metrics.rows.Add(float64(entries[i].rows))
			f.metrics.samples.Add(float64(len(batch.Samples)))
			f.metrics.quarantined.Add(float64(len(batch.Rejected)))
			from.ack(batch.Seq)
		case storage.Duplicate:
			f.metrics.duplicates.Inc()
			from.ack(batch.Seq)
		case storage.Fenced:
			f.metrics.fenced.Inc()
			from.end(errFenced)
		}
	}
	return nil
}

// append bounds one attempt: a database that vanished without a word must not hold a shard for as long as TCP waits. What
// became of the attempt is unknown then, and the next one finds out.
func (f *flusher) append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	outcomes, err := f.sink.Append(ctx, batches)
	if err != nil {
		f.metrics.flushErrors.Inc()
	}
	return outcomes, err
}

// strip takes out of a batch what the database refuses, so that its cursor can move on: first its samples, which go to
// quarantine, whole, as they came; where they are not the cause, its gaps; last what was to be quarantined. Validation
// refuses all that the database is known to refuse, so this is for what nobody thought of. It returns false if nothing is
// left to take out.
func (f *flusher) strip(batch *storage.Batch, cause error) bool {
	log := f.log.With("host_id", batch.Host, "seq", batch.Seq, "error", cause)
	switch {
	case len(batch.Samples) > 0:
		log.Warn("the database refuses a batch; its samples go to quarantine", "samples", len(batch.Samples))
		// The database's words may hold a part of what it refused.
		reason := strings.ReplaceAll(strings.ToValidUTF8(fmt.Sprintf("refused by the database: %v", cause), "\uFFFD"), "\x00", "")
		for _, sample := range batch.Samples {
			batch.Rejected = append(batch.Rejected, storage.Rejected{Sample: sample, Reason: reason})
		}
		batch.Samples = nil
	case len(batch.Gaps) > 0:
		log.Error("the database refuses the gaps of a batch; they are dropped", "gaps", len(batch.Gaps))
		batch.Gaps = nil
	case len(batch.Rejected) > 0:
		log.Error("the database refuses to quarantine samples; they are dropped", "samples", len(batch.Rejected))
		f.metrics.dropped.Add(float64(len(batch.Rejected)))
		batch.Rejected = nil
	default:
		return false
	}
	return true
}

// failed and recovered log once a change, not once a try.
func (f *flusher) failed(err error) {
	if !f.failing {
		f.failing = true
		f.log.Error("can not store samples; they are kept and tried again, and agents are held back", "error", err)
	}
}

func (f *flusher) recovered() {
	if f.failing {
		f.failing = false
		f.log.Info("storing samples again")
	}
}

package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Sink stores what agents send.
type Sink interface {
	// Register records agents and returns their hosts and the sequence numbers of their newest stored batches.
	Register(ctx context.Context, registrations []storage.Registration) ([]storage.Registered, error)
	// Append stores batches durably in one transaction and returns one outcome a batch.
	Append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error)
}

// flusher empties one shard into the sink. It runs on one goroutine, which owns all its fields.
type flusher struct {
	shard     *shard
	sink      Sink
	gathering gathering
	budget    *budget
	metrics   *metrics
	log       *slog.Logger

	entries []*entry
	batches []*storage.Batch
	// stored are the sessions of which a batch is stored and not acknowledged.
	stored []*session
	// isolated are the hosts whose next batch the database did not take when it was alone.
	isolated map[storage.HostID]struct{}
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
		f.entries = f.shard.gather(stop, f.entries[:0], f.gathering)
		if len(f.entries) == 0 {
			return
		}
		if err := f.flushAll(give, f.entries); err != nil {
			f.log.Warn("gave up flushing; agents will send the batches again", "batches", len(f.entries), "error", err)
			return
		}
		f.shard.free(len(f.entries))
		f.release(f.entries)
	}
}

// release gives back what the entries held, and lets the streams on that wait for it.
func (f *flusher) release(entries []*entry) {
	var total int64
	for _, e := range entries {
		total += e.bytes
		e.from.budget.give(e.bytes)
		e.release()
	}
	f.budget.give(total)
}

// flush stores the entries and acknowledges them, trying again for as long as the database is away. A set that it refuses for a
// reason that is no outage is halved until the batch is found that is to blame; so is one for which the time of an attempt is too
// short. It fails only when ctx ends.
//
//	outage, misconfigured ──▶ again, for as long as it takes
//	bad data              ──▶ halves ──▶ alone ──again──▶ strip: into quarantine
//	no time               ──▶ halves ──▶ alone ──▶ again, for as long as it takes
//	anything else         ──patience times──▶ halves ──▶ alone ──▶ isolate: its agent waits
func (f *flusher) flush(ctx context.Context, entries []*entry, patience int) error {
	if len(entries) == 0 {
		return nil
	}
	code, times := "", 0 // how often the set has failed alike
	for pause := firstRetry; ; pause = min(2*pause, longestWait) {
		err := f.try(ctx, entries)
		if err == nil {
			f.recovered()
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if now := codeOf(err); now == code {
			times++
		} else {
			code, times = now, 1
		}
		trouble := troubleOf(err)
		if trouble == noTime { // a set may be halved for many minutes
			f.failed(err)
		}
		switch alone := len(entries) == 1; {
		case trouble == noTime && alone:
		case trouble == outage:
			f.failed(err)
		case trouble == unexplained && times < patience:
			f.failed(err)
		case !alone:
			if trouble == unexplained { // the halves have been tried often enough
				patience = 1
			}
			half := len(entries) / 2
			if err := f.flush(ctx, entries[:half], patience); err != nil {
				return err
			}
			entries, pause, code, times = entries[half:], firstRetry, "", 0
			continue
		case trouble == unexplained:
			f.isolate(entries[0], err)
			return nil
		case times == 1: // it may have been a race for a row of the database's own catalogue
		case f.strip(entries[0], err):
			times = 0
			continue
		default:
			f.failed(err)
		}
		// Full jitter, so that shards and servers do not come back in step.
		select {
		case <-time.After(rand.N(pause) + time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// patience is how often a set of batches may fail for a reason that nobody foresaw before it is halved.
const patience = 3

// trouble is what a failure says of what to do.
type trouble int

const (
	// outage: it passes, or a person ends it. It has nothing to do with the rows.
	outage trouble = iota
	badData
	noTime
	unexplained
)

func troubleOf(err error) trouble {
	switch {
	case errors.Is(err, storage.ErrBadData):
		return badData
	case errors.Is(err, context.DeadlineExceeded):
		return noTime
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrMisconfigured):
		return outage
	default:
		return unexplained
	}
}

// codeOf is what the database calls a failure, or else its words.
func codeOf(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return err.Error()
}

// isolate ends the stream of a batch that alone is not stored, for a reason that may pass: a chunk that is frozen, a bug of an
// extension. Its agent keeps the batch and sends it again, with its later ones behind it, which can not be stored before it.
// Until one is, its batches are flushed apart from the others'.
func (f *flusher) isolate(e *entry, cause error) {
	if _, known := f.isolated[e.batch.Host]; !known {
		f.isolated[e.batch.Host] = struct{}{}
		f.metrics.isolated.Inc()
		f.log.Error("the database can not take a batch, and not because of its values; its agent keeps it and sends it again, and the other agents go on",
			"host_id", e.batch.Host, "seq", e.batch.Seq, "error", cause)
	}
	e.from.end(errIsolated)
}

// settled takes hosts out of the isolated of which a batch was stored.
func (f *flusher) settled(entries []*entry, outcomes []storage.Outcome) {
	for i, e := range entries {
		if _, known := f.isolated[e.batch.Host]; known && outcomes[i] == storage.Stored {
			delete(f.isolated, e.batch.Host)
			f.metrics.isolated.Dec()
			f.log.Info("storing the samples of an agent again that had to wait", "host_id", e.batch.Host)
		}
	}
}

// flushAll flushes the entries, those of isolated hosts last and each host's by themselves. It may change their order, but not
// that of a host's.
func (f *flusher) flushAll(ctx context.Context, entries []*entry) error {
	if len(f.isolated) == 0 {
		return f.flush(ctx, entries, patience)
	}
	apart := func(e *entry) storage.HostID { // 0, which is no host, for all others
		if _, known := f.isolated[e.batch.Host]; known {
			return e.batch.Host
		}
		return 0
	}
	slices.SortStableFunc(entries, func(a, b *entry) int { return cmp.Compare(apart(a), apart(b)) })
	for len(entries) > 0 {
		host, n := apart(entries[0]), 1
		for n < len(entries) && apart(entries[n]) == host {
			n++
		}
		calm := patience
		if host != 0 {
			calm = 1 // it was tried often enough
		}
		if err := f.flush(ctx, entries[:n], calm); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// try makes one attempt, and acknowledges what it stored.
func (f *flusher) try(ctx context.Context, entries []*entry) error {
	f.batches = f.batches[:0]
	for i := range entries {
		f.batches = append(f.batches, &entries[i].batch)
	}
	begin := time.Now()
	outcomes, err := f.append(ctx, f.batches)
	if err != nil {
		return err
	}
	f.metrics.flushSeconds.Observe(time.Since(begin).Seconds())
	f.metrics.flushRows.Observe(float64(countInserts(entries)))
	f.count(entries, outcomes)
	f.settled(entries, outcomes)
	f.acknowledge(entries, outcomes)
	for i, e := range entries {
		switch outcomes[i] {
		case storage.Passed:
			// What is at the cursor tells whether this is stored, or another of its number: if it follows here, it is
			// acknowledged together with this. Else a new welcome tells.
			if !confirmed(entries[i+1:], outcomes[i+1:], e.from) {
				e.from.end(errFenced)
			}
		case storage.Fenced:
			e.from.end(errFenced)
		}
	}
	return nil
}

// acknowledge tells each session of the newest of its batches that is stored, once: an acknowledgement stands for all before it,
// and each wakes a goroutine here and one at the agent. That of a stream whose next batches are here already waits for theirs.
func (f *flusher) acknowledge(entries []*entry, outcomes []storage.Outcome) {
	for i, e := range entries {
		if outcomes[i] != storage.Stored && outcomes[i] != storage.Duplicate {
			continue
		}
		if e.from.stored == 0 {
			f.stored = append(f.stored, e.from)
		}
		e.from.stored = e.batch.Seq
	}
	f.stored = slices.DeleteFunc(f.stored, func(s *session) bool {
		if s.stored < s.queued.Load() && s.stored-s.acked < longestUnacknowledged && s.stream.Context().Err() == nil {
			return false
		}
		s.ack(s.stored)
		s.acked, s.stored = s.stored, 0
		return true
	})
}

// longestUnacknowledged is how many stored batches may wait for the next flush with their acknowledgement. It is less than
// agents send ahead, so that they need not pause.
const longestUnacknowledged = 8

// confirmed says whether a later batch of the stream was stored, or is what is at its cursor.
func confirmed(entries []*entry, outcomes []storage.Outcome, from *session) bool {
	for i, e := range entries {
		if e.from == from && (outcomes[i] == storage.Stored || outcomes[i] == storage.Duplicate) {
			return true
		}
	}
	return false
}

// count counts what became of the entries.
func (f *flusher) count(entries []*entry, outcomes []storage.Outcome) {
	var rows, samples, quarantined, duplicates, fenced int
	for i, e := range entries {
		switch outcomes[i] {
		case storage.Stored:
			rows, samples, quarantined = rows+e.rows, samples+e.samples, quarantined+len(e.batch.Rejected)
		case storage.Duplicate, storage.Passed:
			duplicates++
		case storage.Fenced:
			fenced++
		}
	}
	f.metrics.rows.Add(float64(rows))
	f.metrics.samples.Add(float64(samples))
	f.metrics.quarantined.Add(float64(quarantined))
	f.metrics.duplicates.Add(float64(duplicates))
	f.metrics.fenced.Add(float64(fenced))
}

// append bounds one attempt: a database that vanished without a word must not hold a shard for as long as TCP waits. What
// became of the attempt is unknown then, and the next one finds out.
func (f *flusher) append(ctx context.Context, batches []*storage.Batch) ([]storage.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	outcomes, err := f.sink.Append(ctx, batches)
	if err != nil {
		f.metrics.flushErrors.Inc()
		if timeout := ctx.Err(); timeout != nil && !errors.Is(err, timeout) { // a driver may not tell why it was cut short
			err = fmt.Errorf("%w: %w", timeout, err)
		}
	}
	return outcomes, err
}

// strip takes out of a batch what the database refuses, so that its cursor can move on: first its samples, which go to
// quarantine, whole, as they came; where they are not the cause, its gaps; last what was to be quarantined. Validation
// refuses all that the database is known to refuse, so this is for what nobody thought of. It returns false if nothing is
// left to take out.
func (f *flusher) strip(e *entry, cause error) bool {
	batch := &e.batch
	log := f.log.With("host_id", batch.Host, "seq", batch.Seq, "error", cause)
	switch {
	case e.samples > 0:
		log.Warn("the database refuses a batch; its samples go to quarantine", "samples", e.samples)
		// The database's words may hold a part of what it refused.
		reason := strings.ReplaceAll(strings.ToValidUTF8(fmt.Sprintf("refused by the database: %v", cause), "\uFFFD"), "\x00", "")
		before := e.asides()
		batch.Rejected = rejectAll(e.wire, batch.Rejected, reason)
		batch.Rows, e.rows, e.samples = storage.Rows{}, 0, 0
		f.charge(e, e.asides()-before)
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

// charge has an entry hold more of the budgets. It waits for nobody, as it is the flusher that makes room.
func (f *flusher) charge(e *entry, bytes int64) {
	e.bytes += bytes
	e.from.budget.give(-bytes)
	f.budget.give(-bytes)
}

// rejectAll adds the samples of a batch that are not rejected yet.
func rejectAll(wire string, rejected []storage.Rejected, reason string) []storage.Rejected {
	var all []storage.Rejected
	// The wire was read before, so it can be read again.
	_ = each(wire, func(field catalogue.Field) error {
		switch {
		case field.Number != batchSamples || field.Type != protowire.BytesType:
		case len(rejected) > 0 && rejected[0].Wire == kept(field.Text):
			all, rejected = append(all, rejected[0]), rejected[1:]
		default:
			all = append(all, storage.Rejected{Wire: kept(field.Text), Reason: reason})
		}
		return nil
	})
	return all
}

// maxRejectedBytes is what a sample of a large machine has. What is larger is no sample that anyone would repair, and the
// quarantine must not fill the disk.
const maxRejectedBytes = 128 << 10

// kept is what quarantine keeps of a sample: all of it, or nothing, as a part of a message can not be read.
func kept(wire string) string {
	if len(wire) > maxRejectedBytes {
		return ""
	}
	return wire
}

// failed and recovered log once a change, not once a try.
func (f *flusher) failed(err error) {
	if f.shard.failing.Swap(&err) == nil {
		f.log.Error("can not store samples; they are kept and tried again, and agents are held back", "error", err)
	}
}

func (f *flusher) recovered() {
	if f.shard.failing.Load() != nil {
		f.shard.failing.Store(nil)
		f.log.Info("storing samples again")
	}
}

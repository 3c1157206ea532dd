package agent

import (
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const testAgentID = "6f1c8a52-3a5e-4c0e-9c39-0d7c4d9c7f10"

func newTestLog() (*logBuffer, *slog.Logger) {
	buffer := &logBuffer{changed: make(chan struct{}, 1)}
	return buffer, slog.New(slog.NewTextHandler(buffer, nil))
}

func newTestSpool(t *testing.T, maxBytes int64) *MemorySpool {
	t.Helper()
	_, logger := newTestLog()
	spool, err := NewMemorySpool(MemorySpoolOptions{AgentID: testAgentID, MaxBytes: maxBytes, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	return spool
}

func TestSpoolNumbersFromOneAndKeepsContent(t *testing.T) {
	spool := newTestSpool(t, 1<<20)
	for i := range int64(5) {
		seq, err := spool.Append(&gohubv1.Sample{TimeUnixMillis: i})
		if err != nil || seq != uint64(i)+1 {
			t.Fatalf("append %d: seq %d, %v", i, seq, err)
		}
	}
	first, err := spool.Next(2)
	if err != nil {
		t.Fatal(err)
	}
	again, err := spool.Next(2)
	if err != nil {
		t.Fatal(err)
	}
	if first.Seq != 3 || first.Epoch != spool.epoch || first.AgentId != testAgentID || first.Samples[0].TimeUnixMillis != 2 || !proto.Equal(first, again) {
		t.Errorf("batch after 2 is %v, then %v", first, again)
	}
	if none, err := spool.Next(5); none != nil || err != nil {
		t.Errorf("after the newest: %v, %v", none, err)
	}
}

func TestSpoolEpochIs63RandomBits(t *testing.T) {
	a, b := newTestSpool(t, 1), newTestSpool(t, 1)
	if a.epoch == b.epoch || a.epoch == 0 || a.epoch>>63 != 0 || b.epoch>>63 != 0 {
		t.Errorf("epochs %d and %d", a.epoch, b.epoch)
	}
}

func TestFullSpoolDropsTheOldestAndCounts(t *testing.T) {
	spool := newTestSpool(t, 300)
	log, logger := newTestLog()
	spool.options.Logger = logger
	for range 50 {
		if _, err := spool.Append(&gohubv1.Sample{TimeUnixMillis: 1 << 40}); err != nil {
			t.Fatal(err)
		}
	}
	s := spool.Stats()
	if s.Bytes > 300 || s.Batches == 0 || s.Dropped+uint64(s.Batches) != 50 {
		t.Errorf("stats %+v", s)
	}
	oldest, err := spool.Next(0)
	if err != nil || oldest.Seq != s.Dropped+1 {
		t.Errorf("the oldest held is %d after %d drops (%v)", oldest.GetSeq(), s.Dropped, err)
	}
	if n := log.count("queue of unsent samples is full"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
}

func TestSpoolHoldsTheNewestWhateverItsSize(t *testing.T) {
	spool := newTestSpool(t, 1)
	for range 3 {
		if _, err := spool.Append(&gohubv1.Sample{}); err != nil {
			t.Fatal(err)
		}
	}
	if s := spool.Stats(); s.Batches != 1 || s.Dropped != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestTrimAndDiscard(t *testing.T) {
	spool := newTestSpool(t, 1<<20)
	for range 6 {
		if _, err := spool.Append(&gohubv1.Sample{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(spool.Trim(2), spool.Discard(4), spool.Trim(1), spool.Discard(99)); err != nil {
		t.Fatal(err)
	}
	var held []uint64
	for seq := uint64(0); ; {
		batch, err := spool.Next(seq)
		if err != nil {
			t.Fatal(err)
		}
		if batch == nil {
			break
		}
		seq = batch.Seq
		held = append(held, seq)
	}
	if len(held) != 3 || held[0] != 3 || held[1] != 5 || held[2] != 6 {
		t.Errorf("held %v, want 3, 5 and 6", held)
	}
	if err := spool.Trim(6); err != nil || spool.Stats() != (SpoolStats{Dropped: 1}) {
		t.Errorf("after trimming all: %+v, %v", spool.Stats(), err)
	}
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Append(); !errors.Is(err, ErrSpoolClosed) {
		t.Errorf("append after close: %v", err)
	}
}

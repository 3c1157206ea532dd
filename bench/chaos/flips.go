package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gohub-io/gohub/agent"
	"github.com/gohub-io/gohub/bench/oracle"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// A spool whose bytes are flipped holds flipTicks batches, of which a server has stored flipAcked.
const (
	flipTicks = 6
	flipAcked = 2
	flipAgent = 0
)

// flipBytes changes each byte of a spool's segment in turn, and some of its state, once of one that was closed and once of
// one whose agent was killed. What an agent then sends must be what it took, and what it can not send must be covered by a
// gap.
func flipBytes(ctx context.Context, w *world) (*oracle.Report, error) {
	total := &oracle.Report{}
	for _, closed := range []bool{true, false} {
		spool, err := w.makeSpool(closed)
		if err != nil {
			return total, err
		}
		for name, content := range spool.files {
			stride := 1
			if !strings.HasSuffix(name, ".seg") {
				stride = 7 // the state is a multiple of what it says in length
			}
			if w.options.Short {
				stride *= 60
			}
			for at := w.random.IntN(stride); at < len(content); at += stride {
				if ctx.Err() != nil {
					return total, ctx.Err()
				}
				w.faults++
				bit := byte(1) << w.random.IntN(8)
				report, err := w.flip(spool, name, at, bit)
				if err != nil {
					return total, fmt.Errorf("bit %#x of byte %d of %s flipped (closed before: %t): %w", bit, at, name, closed, err)
				}
				add(total, report, fmt.Sprintf("bit %#x of byte %d of %s (closed before: %t): ", bit, at, name, closed))
			}
		}
	}
	return total, nil
}

// add sums reports up.
func add(total, one *oracle.Report, where string) {
	total.Produced += one.Produced
	total.Stored += one.Stored
	total.Told += one.Told
	total.Missing += one.Missing
	total.Doubled += one.Doubled
	total.Spurious += one.Spurious
	total.Corrupt += one.Corrupt
	const most = 8
	for _, example := range one.Examples[:min(len(one.Examples), most-min(most, len(total.Examples)))] {
		total.Examples = append(total.Examples, where+example)
	}
}

// flipSpool is a spool as files.
type flipSpool struct {
	files map[string][]byte
	epoch uint64
}

func openFlipSpool(plan *oracle.Plan, directory string) (*agent.DiskSpool, error) {
	return agent.OpenDiskSpool(agent.DiskSpoolOptions{
		AgentID: plan.AgentID(flipAgent), Directory: directory, MaxBytes: agent.MinSpoolBytes, MemoryBytes: agent.MinSpoolBytes,
		SyncEvery: time.Minute, Logger: discard,
	})
}

// makeSpool fills a spool and reads its files, after a Close or, as a kill would leave them, before.
func (w *world) makeSpool(closed bool) (*flipSpool, error) {
	directory := filepath.Join(w.directory, fmt.Sprintf("spool-%t", closed))
	spool, err := openFlipSpool(&w.plan, directory)
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	made := &flipSpool{files: map[string][]byte{}}
	if made.epoch, err = spool.Begin(); err != nil {
		return nil, err
	}
	for tick := range flipTicks {
		if _, err := spool.Append(w.plan.Sample(flipAgent, tick)); err != nil {
			return nil, err
		}
		if tick == flipAcked {
			if err := spool.Trim(flipAcked); err != nil {
				return nil, err
			}
		}
	}
	if closed {
		if err := spool.Close(); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if made.files[entry.Name()], err = os.ReadFile(filepath.Join(directory, entry.Name())); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// flip opens the spool with one byte changed, and checks what an agent would send of it.
func (w *world) flip(made *flipSpool, name string, at int, bit byte) (report *oracle.Report, err error) {
	directory := filepath.Join(w.directory, "flipped")
	if err := os.RemoveAll(directory); err != nil {
		return nil, err
	}
	if err := os.Mkdir(directory, 0o700); err != nil {
		return nil, err
	}
	for file, content := range made.files {
		if file == name {
			content = []byte(string(content))
			content[at] ^= bit
		}
		if err := os.WriteFile(filepath.Join(directory, file), content, 0o600); err != nil {
			return nil, err
		}
	}
	spool, err := openFlipSpool(&w.plan, directory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	ledger := &oracle.Ledger{}
	ledger.Done(flipAgent, 0, flipTicks+2)
	s := &flipServer{check: oracle.NewCheck(&w.plan, ledger), cursors: map[uint64]uint64{made.epoch: flipAcked}, agentID: w.plan.AgentID(flipAgent)}
	for tick := range flipAcked {
		s.store(w.plan.Sample(flipAgent, tick))
	}
	// Twice: the first new batch may be what tells of a loss that was found by sending what is old.
	for tick := flipTicks; tick < flipTicks+2; tick++ {
		if err := s.drain(spool); err != nil {
			return nil, err
		}
		if _, err := spool.Append(w.plan.Sample(flipAgent, tick)); err != nil {
			return nil, err
		}
	}
	if err := s.drain(spool); err != nil {
		return nil, err
	}
	return s.check.Report(), nil
}

// flipServer is what a server does, by its contract.
type flipServer struct {
	check   *oracle.Check
	cursors map[uint64]uint64
	agentID string
}

func (s *flipServer) store(sample *gohubv1.Sample) {
	for _, row := range oracle.RowsOf(s.agentID, sample) {
		s.check.Row(row)
	}
}

// drain takes all that a spool holds.
func (s *flipServer) drain(spool *agent.DiskSpool) error {
	const streams = 20 // far more than there are epochs
	for range streams {
		epoch, err := spool.Begin()
		if err != nil {
			return err
		}
		err = spool.Resume(s.cursors[epoch], 0)
		if err == nil {
			err = s.stream(spool, epoch)
		}
		if !errors.Is(err, agent.ErrEpochDone) {
			return err
		}
	}
	return fmt.Errorf("the spool has another epoch after each of %d streams", streams)
}

func (s *flipServer) stream(spool *agent.DiskSpool, epoch uint64) error {
	for {
		batch, err := spool.Next(s.cursors[epoch])
		if err != nil || batch == nil {
			return err
		}
		if batch.GetEpoch() != epoch || batch.GetSeq() <= s.cursors[epoch] {
			return fmt.Errorf("after batch %d of epoch %d comes %d of %d", s.cursors[epoch], epoch, batch.GetSeq(), batch.GetEpoch())
		}
		for _, sample := range batch.GetSamples() {
			s.store(sample)
		}
		for _, gap := range batch.GetGaps() {
			s.check.Gap(oracle.Gap{AgentID: s.agentID, From: gap.GetFromUnixMillis(), To: gap.GetToUnixMillis(), Samples: int(gap.GetSamples())})
		}
		s.cursors[epoch] = batch.GetSeq()
		if err := spool.Trim(batch.GetSeq()); err != nil {
			return err
		}
	}
}

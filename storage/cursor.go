package storage

import "fmt"

// Spool names one numbering of one host's batches.
type Spool struct {
	Host  HostID
	Epoch uint64
}

// ImportEpoch is that of the spool whose cursor counts what imports have stored of a host. No agent has it.
const ImportEpoch = 0

// Cursor says how far a spool's batches are stored.
type Cursor struct {
	// Seq is the sequence number of the newest stored batch, 0 if there is none, and Checksum what came with it.
	Seq      uint64
	Checksum uint32
}

// Judge decides which batches may be stored, given the stored cursors of their spools, which must still be the same when the
// caller commits. It advances the cursors in place over the batches that it lets pass, and returns one outcome a batch. The
// batches of a spool without a cursor are fenced.
func Judge(cursors map[Spool]Cursor, batches []*Batch) []Outcome {
	outcomes := make([]Outcome, len(batches))
	for i, batch := range batches {
		spool := batch.Spool()
		cursor, known := cursors[spool]
		if !known {
			outcomes[i] = Fenced
			continue
		}
		if outcomes[i] = cursor.Judge(batch); outcomes[i] == Stored {
			cursors[spool] = Cursor{batch.Seq, batch.Checksum}
		}
	}
	return outcomes
}

// Judge decides on one batch of the cursor's spool.
func (c Cursor) Judge(batch *Batch) Outcome {
	switch {
	case batch.Seq < c.Seq:
		return Passed
	case batch.Seq == c.Seq && differ(batch.Checksum, c.Checksum):
		return Fenced
	case batch.Seq == c.Seq:
		return Duplicate
	case batch.Prev != c.Seq || differ(batch.PrevChecksum, c.Checksum):
		return Fenced
	default:
		return Stored
	}
}

// differ says that two checksums are known and not the same.
func differ(a, b uint32) bool { return a != b && a != 0 && b != 0 }

// Follows is the cursor that the batch expects.
func (b *Batch) Follows() Cursor { return Cursor{Seq: b.Prev, Checksum: b.PrevChecksum} }

// Spool returns what numbers the batch.
func (b *Batch) Spool() Spool { return Spool{Host: b.Host, Epoch: b.Epoch} }

// Chosen returns the batches whose outcome is Stored.
func Chosen(batches []*Batch, outcomes []Outcome) []*Batch {
	chosen := make([]*Batch, 0, len(batches))
	for i, batch := range batches {
		if outcomes[i] == Stored {
			chosen = append(chosen, batch)
		}
	}
	return chosen
}

// CollectPositions sums rows of host_id, epoch and seq, in order of the hosts, up to Positions.
func CollectPositions(rows ResultRows) ([]Position, error) {
	var (
		all        []Position
		host       HostID
		epoch, seq int64
	)
	for rows.Next() {
		if err := rows.Scan(&host, &epoch, &seq); err != nil {
			return nil, fmt.Errorf("scan a cursor: %w", err)
		}
		if last := len(all) - 1; last < 0 || all[last].Host != host {
			all = append(all, Position{Host: host})
		}
		if p := &all[len(all)-1]; epoch == ImportEpoch {
			p.Imports = uint64(seq)
		} else {
			p.Seqs += uint64(seq)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	return all, nil
}

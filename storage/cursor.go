package storage

// Spool names one numbering of one host's batches.
type Spool struct {
	Host  HostID
	Epoch uint64
}

// Judge decides which batches may be stored, given the stored cursors (the sequence number of the newest stored batch) of
// their spools, which must still be the same when the caller commits. It advances the cursors in place over the batches
// that it lets pass, and returns one outcome a batch. The batches of a spool without a cursor are fenced.
func Judge(cursors map[Spool]uint64, batches []*Batch) []Outcome {
	outcomes := make([]Outcome, len(batches))
	for i, batch := range batches {
		spool := batch.Spool()
		cursor, known := cursors[spool]
		switch {
		case !known:
			outcomes[i] = Fenced
		case batch.Seq <= cursor:
			outcomes[i] = Duplicate
		case batch.Prev != cursor:
			outcomes[i] = Fenced
		default:
			outcomes[i] = Stored
			cursors[spool] = batch.Seq
		}
	}
	return outcomes
}

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

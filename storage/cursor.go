package storage

// Cursor is how far one host's batches are stored: everything of the epoch up to Seq.
type Cursor struct {
	Epoch, Seq uint64
}

// Judge decides which batches may be stored, given the stored cursors of their hosts, which must still be the same when
// the caller commits. It advances the cursors in place over the batches that it lets pass, and returns one outcome a batch. A host without
// a cursor is unknown, and its batches are fenced.
func Judge(cursors map[HostID]Cursor, batches []*Batch) []Outcome {
	outcomes := make([]Outcome, len(batches))
	for i, batch := range batches {
		cursor, known := cursors[batch.Host]
		switch {
		case !known || cursor.Epoch != batch.Epoch:
			outcomes[i] = Fenced
		case batch.Seq <= cursor.Seq:
			outcomes[i] = Duplicate
		case batch.Prev != cursor.Seq:
			outcomes[i] = Fenced
		default:
			outcomes[i] = Stored
			cursors[batch.Host] = Cursor{Epoch: batch.Epoch, Seq: batch.Seq}
		}
	}
	return outcomes
}

// Chosen yields the batches whose outcome is Stored.
func Chosen(batches []*Batch, outcomes []Outcome) func(yield func(*Batch) bool) {
	return func(yield func(*Batch) bool) {
		for i, batch := range batches {
			if outcomes[i] == Stored && !yield(batch) {
				return
			}
		}
	}
}

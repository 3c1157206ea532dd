package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// The state file has two slots. A write goes to the one that is older, so that a torn write leaves the other; what must
// not be lost at all is written to both.
const (
	stateMagic    = "GOHUBSST"
	stateVersion  = 2
	stateSlotSize = 8 << 10
	// maxDamaged and maxRelabels keep a state within its slot. There are 64 segments at the default bound.
	maxDamaged  = 256
	maxRelabels = 16
)

// lostSpan is samples that are lost, in the words of a Gap; from is 0 when it is empty.
type lostSpan struct {
	From, To int64
	Samples  uint64
}

func (l lostSpan) empty() bool { return l == lostSpan{} }

func (l *lostSpan) add(o lostSpan) {
	switch {
	case o.empty():
	case l.empty():
		*l = o
	default:
		l.From, l.To, l.Samples = min(l.From, o.From), max(l.To, o.To), l.Samples+o.Samples
	}
}

// spanOf is when samples were taken, and how many they are.
func spanOf(samples []*gohubv1.Sample) (l lostSpan) {
	for _, sample := range samples {
		taken := sample.GetTimeUnixMillis()
		l.add(lostSpan{From: taken, To: taken, Samples: 1})
	}
	return l
}

// span is the batch's samples.
func (r *record) span() lostSpan { return lostSpan{r.from, r.to, uint64(r.samples)} }

// lost is one lostSpan a reason: however often the spool loses something, it is told in three gaps.
type lost struct{ Full, Damaged, Refused lostSpan }

func (l *lost) add(o lost) { l.Full.add(o.Full); l.Damaged.add(o.Damaged); l.Refused.add(o.Refused) }
func (l lost) empty() bool { return l == lost{} }

func (l lost) gaps() []*gohubv1.Gap {
	var gaps []*gohubv1.Gap
	for _, one := range []struct {
		lostSpan
		reason gohubv1.GapReason
	}{{l.Full, gohubv1.GapReason_GAP_REASON_SPOOL_FULL}, {l.Damaged, gohubv1.GapReason_GAP_REASON_SPOOL_DAMAGED}, {l.Refused, gohubv1.GapReason_GAP_REASON_REFUSED}} {
		if !one.empty() {
			from := max(one.From, 0) // of a clock before 1970, which no server takes
			gaps = append(gaps, &gohubv1.Gap{
				FromUnixMillis: from, ToUnixMillis: max(from, one.To), Reason: one.reason,
				Samples: uint32(min(one.Samples, 1<<31-1)), // a server takes no more
			})
		}
	}
	return gaps
}

func lostIn(gaps []*gohubv1.Gap) (l lost) {
	for _, gap := range gaps {
		span := lostSpan{From: gap.GetFromUnixMillis(), To: gap.GetToUnixMillis(), Samples: uint64(gap.GetSamples())}
		switch gap.GetReason() {
		case gohubv1.GapReason_GAP_REASON_SPOOL_DAMAGED:
			l.Damaged.add(span)
		case gohubv1.GapReason_GAP_REASON_REFUSED:
			l.Refused.add(span)
		default:
			l.Full.add(span)
		}
	}
	return l
}

// stateHead is the fixed part of the state.
type stateHead struct {
	Generation uint64
	Epoch      uint64 // of new batches
	Newest     uint64 // seq that was given last
	NewestTime int64
	Acked      uint64 // everything up to this seq is stored by the server
	Removed    uint64 // segments up to this number are gone, even if their files are still there

	GapNumber uint64 // of the gaps that were handed to a batch last
	Pending   lost   // waits for the next batch
	Taken     lost   // was handed to batch TakenSeq, which is not on disk yet
	TakenSeq  uint64

	Clean uint64 // 1 when the spool was closed
	Boot  [16]byte

	Damaged, Relabels uint32 // how many follow
}

// damage says how many batches of a segment are known to be missing, and told to the server.
type damage struct{ Segment, Missing uint64 }

// relabel gives segments another epoch than their headers say: see Resume.
type relabel struct{ From, Through, Epoch uint64 }

// stateTail is what was added to the state since its first version. A state without it is read as if all were zero.
type stateTail struct {
	Stored checked
	// Unheard is 1 while no stream has been resumed since Inherited was set.
	Unheard uint32
	Owner   [16]byte // digest of the id of the agent whose batches these are, zero if that is not known
	// Inherited is the newest number when the directory was opened for the first time since a server was heard.
	Inherited uint64
	Doubted   lost // was dropped while it was on the way: see doubt
}

// checked names a batch and its content.
type checked struct {
	Epoch, Seq uint64
	Checksum   uint32
}

type spoolState struct {
	stateHead
	damaged  []damage
	relabels []relabel
	stateTail
}

func (s *spoolState) encode(dst []byte) []byte {
	s.Damaged, s.Relabels = uint32(len(s.damaged)), uint32(len(s.relabels))
	dst = append(dst[:0], stateMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, stateVersion)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // length, below
	for _, part := range []any{&s.stateHead, s.damaged, s.relabels, &s.stateTail} {
		var err error
		if dst, err = binary.Append(dst, binary.LittleEndian, part); err != nil {
			panic("spool state has a part of no fixed size: " + err.Error())
		}
	}
	binary.LittleEndian.PutUint32(dst[12:], uint32(len(dst)))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

func parseState(b []byte) (s spoolState, ok bool) {
	if len(b) < 16 || string(b[:8]) != stateMagic || binary.LittleEndian.Uint32(b[8:]) != stateVersion {
		return s, false
	}
	n := int64(binary.LittleEndian.Uint32(b[12:]))
	if n < 16 || n+4 > int64(len(b)) || crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return s, false
	}
	r := bytes.NewReader(b[16:n])
	if binary.Read(r, binary.LittleEndian, &s.stateHead) != nil || s.Damaged > maxDamaged || s.Relabels > maxRelabels {
		return s, false
	}
	s.damaged, s.relabels = make([]damage, s.Damaged), make([]relabel, s.Relabels)
	ok = binary.Read(r, binary.LittleEndian, s.damaged) == nil && binary.Read(r, binary.LittleEndian, s.relabels) == nil
	if ok && r.Len() > 0 {
		tail := make([]byte, binary.Size(s.stateTail)) // one that was written before a field was added is shorter
		_, err := io.ReadFull(r, tail[:min(r.Len(), len(tail))])
		ok = err == nil && binary.Read(bytes.NewReader(tail), binary.LittleEndian, &s.stateTail) == nil
	}
	return s, ok
}

// stateFile is where the state is kept.
type stateFile struct {
	file   *os.File
	buffer []byte
}

// openState opens or makes the file and returns the newest whole state in it; ok is false if there is none.
func openState(path string) (f *stateFile, s spoolState, ok bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, s, false, err
	}
	data := make([]byte, 2*stateSlotSize)
	n, err := file.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		n = 0 // as good as lost
	}
	if n < len(data) { // the room is taken now, so that a full disk does not stop later writes
		if _, err := file.WriteAt(data[n:], int64(n)); err != nil {
			return nil, s, false, errors.Join(err, file.Close())
		}
	}
	for _, slot := range [][]byte{data[:stateSlotSize], data[stateSlotSize:]} {
		if one, whole := parseState(slot); whole && (!ok || one.Generation > s.Generation) {
			s, ok = one, true
		}
	}
	return &stateFile{file: file}, s, ok, nil
}

// write keeps the state through a kill of the process, and after a sync through a power cut.
func (f *stateFile) write(s *spoolState) error {
	s.Generation++
	f.buffer = s.encode(f.buffer)
	_, err := f.file.WriteAt(f.buffer, int64(s.Generation%2)*stateSlotSize)
	return err
}

package agent

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// FuzzReadSegment puts any bytes in the place of a part of a segment. What is read is what was written, and all of it
// that was not touched is read.
func FuzzReadSegment(f *testing.F) {
	whole := segmentInfo{epoch: 5, first: 1, time: 1}.encode()
	ends := []int{segmentHeader}
	for seq := range uint64(6) {
		b := append(make([]byte, recordHeader), bytes.Repeat([]byte{byte(seq)}, int(seq)*31)...)
		putRecordHeader(b, &record{seq: seq + 1, epoch: 5, samples: 1})
		whole = append(whole, b...)
		ends = append(ends, len(whole))
	}
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Add(whole, uint16(0), uint16(len(whole)))
	f.Add(whole[ends[2]:ends[3]], uint16(ends[1]), uint16(9))
	f.Add([]byte{7, 7, 7}, uint16(ends[3]+2), uint16(60))
	f.Fuzz(func(t *testing.T, insert []byte, at, cut uint16) {
		from := min(int(at), len(whole))
		to := min(from+int(cut), len(whole))
		data := slices.Concat(whole[:from], insert, whole[to:])
		var last uint64
		end := 0
		found := map[uint64]bool{}
		salvage(data, func(r record, offset int) {
			if r.seq <= last || offset < end || offset+recordHeader+len(r.payload) > len(data) {
				t.Fatalf("record %d at %d after %d, which ended at %d", r.seq, offset, last, end)
			}
			last, end = r.seq, offset+recordHeader+len(r.payload)
			again := append(make([]byte, recordHeader), r.payload...)
			putRecordHeader(again, &r)
			if !bytes.Equal(again, data[offset:end]) {
				t.Fatalf("record %d is read other than it is written", r.seq)
			}
			found[r.seq] = true
		})
		if bytes.Contains(insert, binary.LittleEndian.AppendUint32(nil, recordMagic)) || len(data) < segmentHeader || from < segmentHeader && from+len(insert) != to {
			return // a record of another numbering may be in it, or what follows is moved into the header
		}
		for seq := 1; seq < len(ends); seq++ {
			if (ends[seq] <= from || ends[seq-1] >= to) && !found[uint64(seq)] {
				t.Fatalf("record %d was not touched by %d..%d and is not found", seq, from, to)
			}
		}
	})
}

package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A segment is one file of a DiskSpool: a header, then records until the end. All numbers are little-endian.
//
//	header   0 magic "GOHUBSPL" · 8 version u32 · 12 zero u32 · 16 epoch · 24 first seq · 32 gap number · 40 time · 48 before · 56 CRC u32
//	record   0 magic u32 · 4 CRC u32 · 8 payload length u32 · 12 samples u32 · 16 seq · 24 epoch · 32 from · 40 to ·
//	         48 gap number · 56 payload
//
// The CRCs are Castagnoli's, of everything in the header before it, and of everything in the record after it. The payload
// is an encoded Batch without what the spool knows by itself: agent id, epoch, seq. A record names its epoch again, so that
// the records of a segment whose header is damaged can still be told.
const (
	segmentMagic   = "GOHUBSPL"
	segmentVersion = 1
	segmentHeader  = 64

	recordMagic  = 0x1fc35a9e
	recordHeader = 56
	// maxPayload is well over what a server takes in one message (4 MiB), and bounds what a damaged length can ask for.
	maxPayload = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged says that bytes of a segment are not what was written.
var errDamaged = errors.New("segment is damaged")

// errSegmentVersion says that a newer agent wrote the segment.
var errSegmentVersion = errors.New("segment has an unknown version")

// segmentInfo is a segment's header.
type segmentInfo struct {
	epoch uint64
	first uint64 // no record of the segment has a smaller seq
	gap   uint64 // the newest gap number in the spool when the segment was begun
	time  int64  // Unix milliseconds of the first sample
	// before is the seq of the last record in the segment before, 0 if that is not known: without it, a segment that was
	// cut between two records would look whole.
	before uint64
}

// record is one batch in a segment.
type record struct {
	seq      uint64
	epoch    uint64
	from, to int64 // Unix milliseconds of its first and last sample
	samples  uint32
	gap      uint64 // number of the gaps it carries, 0 for none
	payload  []byte
}

func (h segmentInfo) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	for i, v := range [...]uint64{h.epoch, h.first, h.gap, uint64(h.time), h.before} {
		binary.LittleEndian.PutUint64(b[16+8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[56:], crc32.Checksum(b[:56], castagnoli))
	return b
}

func parseSegmentHeader(b []byte) (segmentInfo, error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic || crc32.Checksum(b[:56], castagnoli) != binary.LittleEndian.Uint32(b[56:]) {
		return segmentInfo{}, errDamaged
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion {
		return segmentInfo{}, fmt.Errorf("%w %d", errSegmentVersion, v)
	}
	u := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	return segmentInfo{epoch: u(16), first: u(24), gap: u(32), time: int64(u(40)), before: u(48)}, nil
}

// batchChecksum is a batch's checksum as the server is told it: CRC-32C of its encoded samples and gaps, which are a record's
// payload. A record never changes, so neither does this. 0 means that there is none.
func batchChecksum(payload []byte) uint32 { return max(crc32.Checksum(payload, castagnoli), 1) }

// putRecordHeader fills the header in front of a payload: b is both.
func putRecordHeader(b []byte, r *record) {
	binary.LittleEndian.PutUint32(b, recordMagic)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-recordHeader))
	binary.LittleEndian.PutUint32(b[12:], r.samples)
	for i, v := range [...]uint64{r.seq, r.epoch, uint64(r.from), uint64(r.to), r.gap} {
		binary.LittleEndian.PutUint64(b[16+8*i:], v)
	}
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

// recordLength is how long the record is that b begins with, by its own word.
func recordLength(b []byte) (int, error) {
	if len(b) < recordHeader || binary.LittleEndian.Uint32(b) != recordMagic {
		return 0, errDamaged
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if n > maxPayload {
		return 0, errDamaged
	}
	return recordHeader + int(n), nil
}

// parseRecord reads the record that b begins with. Its payload is part of b.
func parseRecord(b []byte) (r record, length int, err error) {
	n, err := recordLength(b)
	if err != nil {
		return r, 0, err
	}
	if n > len(b) || crc32.Checksum(b[8:n], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return r, 0, errDamaged
	}
	u := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	return record{
		seq: u(16), epoch: u(24), from: int64(u(32)), to: int64(u(40)), gap: u(48),
		samples: binary.LittleEndian.Uint32(b[12:]), payload: b[recordHeader:n],
	}, n, nil
}

// salvage yields every whole record of a segment, in order, whatever lies between them, and says whether there was
// anything else. A segment has one epoch and growing numbers; a record that does not fit is not yielded.
func salvage(data []byte, yield func(r record, offset int)) (info segmentInfo, headerErr error, clean bool) {
	info, headerErr = parseSegmentHeader(data)
	if errors.Is(headerErr, errSegmentVersion) {
		return info, headerErr, false
	}
	clean = headerErr == nil
	epoch, last := info.epoch, uint64(0)
	if headerErr == nil {
		last = max(info.first, 1) - 1
	}
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	at := min(segmentHeader, len(data))
	for at < len(data) {
		r, n, err := parseRecord(data[at:])
		if err == nil && (epoch == 0 || r.epoch == epoch) && r.seq > last {
			epoch, last = r.epoch, r.seq
			yield(r, at)
			at += n
			continue
		}
		clean = false
		skip := bytes.Index(data[at+1:], magic)
		if skip < 0 {
			break
		}
		at += 1 + skip
	}
	return info, headerErr, clean
}

// maxSegmentRead bounds what is read of a segment that must be salvaged.
const maxSegmentRead = 2 * maxPayload

// readSegmentFile reads a whole segment for salvage. Blocks that the disk can not read are zero.
func readSegmentFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(info.Size(), maxSegmentRead))
	n, err := file.ReadAt(data, 0)
	if err == nil || errors.Is(err, io.EOF) {
		return data[:n], nil
	}
	const block = 4096
	for at := 0; at < len(data); at += block {
		part := data[at:min(at+block, len(data))]
		if _, err := file.ReadAt(part, int64(at)); err != nil {
			clear(part)
		}
	}
	return data, nil
}

// readAhead is how much of a segment is read at once.
const readAhead = 32 << 10

// segmentReader reads the records of one segment one after the other, while it may still grow.
type segmentReader struct {
	file *os.File
	id   uint64
	at   int64  // of the next record
	last uint64 // seq of the record before it

	window   []byte // of the file, from windowAt
	windowAt int64
}

func (r *segmentReader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
	}
	*r = segmentReader{window: r.window[:0]}
	if cap(r.window) > 8*readAhead {
		r.window = nil // a huge record was in it
	}
}

// bytes returns n bytes of the file from the next record on; end is where the file's valid part ends.
func (r *segmentReader) bytes(n int, end int64) ([]byte, error) {
	if r.at+int64(n) > end {
		return nil, errDamaged
	}
	from := r.at - r.windowAt
	if from < 0 || from+int64(n) > int64(len(r.window)) {
		want := int(min(max(int64(n), readAhead), end-r.at))
		if cap(r.window) < want {
			r.window = make([]byte, want)
		}
		got, err := r.file.ReadAt(r.window[:want], r.at)
		if got < n && want > n {
			got, err = r.file.ReadAt(r.window[:n], r.at) // what is bad may lie behind
		}
		r.window, r.windowAt, from = r.window[:got], r.at, 0
		if got < n {
			if errors.Is(err, io.EOF) {
				err = errDamaged // shorter than it was
			}
			return nil, err
		}
	}
	return r.window[from : from+int64(n)], nil
}

// next returns the next record, io.EOF at the end. The payload holds until the next call.
func (r *segmentReader) next(epoch uint64, end int64) (record, error) {
	if r.at == end {
		return record{}, io.EOF
	}
	head, err := r.bytes(recordHeader, end)
	if err != nil {
		return record{}, err
	}
	n, err := recordLength(head)
	if err != nil {
		return record{}, err
	}
	whole, err := r.bytes(n, end)
	if err != nil {
		return record{}, err
	}
	rec, _, err := parseRecord(whole)
	if err != nil {
		return record{}, err
	}
	if rec.epoch != epoch || rec.seq <= r.last {
		return record{}, errDamaged
	}
	r.at += int64(n)
	r.last = rec.seq
	return rec, nil
}

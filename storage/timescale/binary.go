package timescale

import (
	"encoding/binary"
	"net"

	"github.com/gohub-io/gohub/storage"
)

// What is around the tuples of a binary COPY (see storage.Rows): a signature with flags and a header extension of no
// length, and a field count of -1.
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
)

var quarantineColumns = []string{"received_at", "host_id", "epoch", "seq", "reason", "sample"}

func quarantineTuples(batches []*storage.Batch) net.Buffers {
	var tuples net.Buffers
	for _, batch := range batches {
		for _, rejected := range batch.Rejected {
			tuple := binary.BigEndian.AppendUint16(nil, uint16(len(quarantineColumns)))
			tuple = appendTime(tuple, batch.ReceivedAt.UnixMicro())
			tuple = appendInt32(tuple, uint32(batch.Host))
			tuple = appendInt64(tuple, batch.Epoch)
			tuple = appendInt64(tuple, batch.Seq)
			tuple = appendText(tuple, rejected.Reason)
			tuples = append(tuples, appendText(tuple, rejected.Wire))
		}
	}
	return tuples
}

var gapColumns = []string{"host_id", "from_time", "to_time", "reason", "samples", "received_at"}

func gapTuples(batches []*storage.Batch) net.Buffers {
	var tuples net.Buffers
	for _, batch := range batches {
		for _, gap := range batch.Gaps {
			tuple := binary.BigEndian.AppendUint16(nil, uint16(len(gapColumns)))
			tuple = appendInt32(tuple, uint32(batch.Host))
			tuple = appendTime(tuple, gap.GetFromUnixMillis()*1000)
			tuple = appendTime(tuple, gap.GetToUnixMillis()*1000)
			tuple = appendInt32(tuple, uint32(gap.GetReason()))
			tuple = appendInt32(tuple, gap.GetSamples())
			tuples = append(tuples, appendTime(tuple, batch.ReceivedAt.UnixMicro()))
		}
	}
	return tuples
}

func appendTime(dst []byte, unixMicros int64) []byte {
	return appendInt64(dst, uint64(unixMicros-storage.PostgresEpochMicros))
}

func appendInt32(dst []byte, value uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 4)
	return binary.BigEndian.AppendUint32(dst, value)
}

func appendInt64(dst []byte, value uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 8)
	return binary.BigEndian.AppendUint64(dst, value)
}

func appendText(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}

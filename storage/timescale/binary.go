package timescale

import (
	"encoding/binary"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// PostgreSQL's binary COPY format: a signature with flags and a header extension of no length, then tuples, each a
// count of fields and each field a length and its bytes, then a count of -1.
// https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
	nullLength  = 0xffffffff
)

// postgresEpochMicros is 2000-01-01, from which PostgreSQL counts a timestamp's microseconds, in Unix microseconds.
const postgresEpochMicros = 946684800 * 1_000_000

// appendFamily appends the COPY payload of one family of all batches to dst, and returns the number of its rows.
func appendFamily(dst []byte, family *catalogue.Family, batches func(func(*storage.Batch) bool)) ([]byte, int) {
	fields := uint16(len(family.Columns()))
	rows := 0
	dst = append(dst, copyHeader...)
	for batch := range batches {
		for _, sample := range batch.Samples {
			for i := range family.Count(sample) {
				rows++
				dst = binary.BigEndian.AppendUint16(dst, fields)
				dst = appendTime(dst, sample.TimeUnixMillis*1000)
				dst = appendInt32(dst, uint32(batch.Host))
				if len(family.Labels) == 0 {
					dst = appendTime(dst, batch.ReceivedAt.UnixMicro())
				}
				dst = appendRow(dst, family, family.Row(sample, i))
			}
		}
	}
	return append(dst, copyTrailer...), rows
}

// appendRow appends the fields of a row's labels and metrics.
func appendRow(dst []byte, family *catalogue.Family, row catalogue.Row) []byte {
	for i := range family.Labels {
		dst = appendText(dst, row.Label(i))
	}
	for _, metric := range family.Metrics {
		value, present := row.Bits(metric)
		switch {
		case !present:
			dst = binary.BigEndian.AppendUint32(dst, nullLength)
		case metric.Type == catalogue.Uint64:
			dst = appendInt64(dst, value)
		default: // a real's bits, or an integer
			dst = appendInt32(dst, uint32(value))
		}
	}
	return dst
}

var quarantineColumns = []string{"received_at", "host_id", "epoch", "seq", "reason", "sample"}

func appendQuarantine(dst []byte, batches func(func(*storage.Batch) bool)) ([]byte, int) {
	rows := 0
	dst = append(dst, copyHeader...)
	for batch := range batches {
		for _, rejected := range batch.Rejected {
			rows++
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(quarantineColumns)))
			dst = appendTime(dst, batch.ReceivedAt.UnixMicro())
			dst = appendInt32(dst, uint32(batch.Host))
			dst = appendInt64(dst, batch.Epoch)
			dst = appendInt64(dst, batch.Seq)
			dst = appendText(dst, rejected.Reason)
			dst = appendText(dst, rejected.Sample.Wire())
		}
	}
	return append(dst, copyTrailer...), rows
}

var gapColumns = []string{"host_id", "from_time", "to_time", "reason", "samples", "received_at"}

func appendGaps(dst []byte, batches func(func(*storage.Batch) bool)) ([]byte, int) {
	rows := 0
	dst = append(dst, copyHeader...)
	for batch := range batches {
		for _, gap := range batch.Gaps {
			rows++
			dst = binary.BigEndian.AppendUint16(dst, uint16(len(gapColumns)))
			dst = appendInt32(dst, uint32(batch.Host))
			dst = appendTime(dst, gap.GetFromUnixMillis()*1000)
			dst = appendTime(dst, gap.GetToUnixMillis()*1000)
			dst = appendInt32(dst, uint32(gap.GetReason()))
			dst = appendInt32(dst, gap.GetSamples())
			dst = appendTime(dst, batch.ReceivedAt.UnixMicro())
		}
	}
	return append(dst, copyTrailer...), rows
}

func appendTime(dst []byte, unixMicros int64) []byte {
	return appendInt64(dst, uint64(unixMicros-postgresEpochMicros))
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

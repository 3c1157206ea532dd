package agent

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// backlogBatches is how many unsent batches are no backlog yet. As many, about 50 KB, go up in half a window of single
	// messages, so there is nothing to win; they are a restart of the server or a short break of the line, and the
	// encoder's megabyte of memory is for what is longer.
	backlogBatches = 16
	// maxBundleBytes bounds a bundle before it is compressed, and with it the encoder's window. At some 30 batches a bundle
	// most of what zstd can find alike has been seen, and a server to which thousands come back at once has one bundle of
	// each in memory.
	maxBundleBytes = 128 << 10
	// maxBundles is how many may be on the way: enough for a line with a long delay, and little to send again.
	maxBundles = 4
	// batchesField is the number of Batches.batches.
	batchesField = protowire.Number(1)
)

// bundler packs batches into Backlog messages. It takes about a megabyte, so it is made when a backlog begins to drain and
// dropped when that is done. Owned by the goroutine that sends.
type bundler struct {
	encoder *zstd.Encoder
	plain   []byte
	packed  []byte
	seqs    []uint64       // in plain
	waiting *gohubv1.Batch // comes after seqs, and did not fit
}

func newBundler() (*bundler, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(maxBundleBytes))
	if err != nil {
		return nil, fmt.Errorf("prepare the compression of a backlog: %w", err)
	}
	return &bundler{encoder: encoder, plain: make([]byte, 0, maxBundleBytes)}, nil
}

// next returns a message with the batches after the number, as many as fit, and nil if there are none. It is good until the
// next call. A batch that is too large for a bundle goes by itself.
func (b *bundler) next(spool Spool, after uint64) (*gohubv1.StreamRequest, error) {
	b.plain, b.seqs = b.plain[:0], b.seqs[:0]
	for {
		batch := b.waiting
		if b.waiting = nil; batch == nil {
			var err error
			if batch, err = spool.Next(after); err != nil && len(b.seqs) == 0 {
				return nil, err // otherwise it comes again when these are sent
			} else if err != nil || batch == nil {
				break
			}
		}
		size := proto.Size(batch)
		if length := protowire.SizeTag(batchesField) + protowire.SizeBytes(size); len(b.plain)+length > maxBundleBytes {
			if len(b.seqs) > 0 {
				b.waiting = batch
				break
			}
			b.seqs = append(b.seqs, batch.GetSeq())
			return &gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: batch}}, nil
		}
		b.plain = protowire.AppendVarint(protowire.AppendTag(b.plain, batchesField, protowire.BytesType), uint64(size))
		var err error
		if b.plain, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(b.plain, batch); err != nil {
			return nil, fmt.Errorf("encode batch %d: %w", batch.GetSeq(), err)
		}
		after = batch.GetSeq()
		b.seqs = append(b.seqs, after)
	}
	if len(b.seqs) == 0 {
		return nil, nil
	}
	b.packed = b.encoder.EncodeAll(b.plain, b.packed[:0])
	return &gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Backlog{Backlog: &gohubv1.Backlog{Zstd: b.packed}}}, nil
}

// sendBacklog is sendNext while a backlog drains.
func (c *client) sendBacklog(stream gohubv1.IngestService_StreamClient, f *flight, bundles int) (sent, all bool, err error) {
	if bundles >= maxBundles {
		return false, false, nil
	}
	message, err := f.bundler.next(c.spool, f.last)
	if message == nil || err != nil {
		return false, err == nil, readSpool(err)
	}
	f.sentBundle(f.bundler.seqs)
	return true, false, stream.Send(message)
}

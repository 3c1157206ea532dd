package ingest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// copied is a batch of a machine or its copy, which number their batches alike.
func copied(p *peer, seq uint64, machine float32) *gohubv1.Batch {
	batch := p.batch(seq)
	batch.Samples[0].Host.CpuUsagePercent = proto.Float32(machine + float32(seq))
	batch.Checksum = uint32(machine) + uint32(seq)
	return batch
}

func TestCopyOnAnotherServerIsNotAcknowledgedForWhatItsOriginalSent(t *testing.T) {
	one, other := start(t), start(t)
	other.sink.Sink, other.server.registrar.sink = one.store, one.store // one database
	id := uuid.New()
	original, _ := one.connect(t, id)
	copyOf, welcome := other.connect(t, id)
	require.Zero(t, welcome.GetCommittedSeq())
	for seq := uint64(1); seq <= 2; seq++ {
		require.NoError(t, original.send(copied(original, seq, 100)))
		original.waitAck(seq)
	}
	for seq := uint64(1); seq <= 3; seq++ { // behind the original's cursor, at it, and seeming to follow it
		_ = copyOf.send(copied(copyOf, seq, 500)) // the stream may have ended already
	}
	require.Equal(t, codes.Aborted, copyOf.waitEnd().Code())
	require.NoError(t, original.send(copied(original, 3, 100)))
	original.waitAck(3)
	require.Equal(t, []float64{101, 102, 103}, one.stored(t, original.hostID))

	// It learns from the next welcome what it is: a checksum that is not its own.
	_, welcome = other.connect(t, id)
	require.EqualValues(t, 3, welcome.GetCommittedSeq())
	require.EqualValues(t, 103, welcome.GetCommittedChecksum())
}

func TestCopyThatTakesOverIsNotAcknowledgedForWhatIsInTheRing(t *testing.T) {
	h := start(t)
	release := make(chan struct{})
	h.sink.fail(func([]*storage.Batch) error { <-release; return nil })
	id := uuid.New()
	original, _ := h.connect(t, id)
	require.NoError(t, original.send(copied(original, 1, 100)))
	require.Eventually(t, func() bool { return h.sink.tried() > 0 }, 10*time.Second, time.Millisecond)
	copyOf, welcome := h.connect(t, id)
	require.Zero(t, welcome.GetCommittedSeq())
	require.NoError(t, copyOf.send(copied(copyOf, 1, 500)))
	close(release)
	require.Equal(t, codes.Aborted, copyOf.waitEnd().Code())
	require.Equal(t, []float64{101}, h.stored(t, original.hostID))
}

func TestAgentThatSendsWhatTheWelcomeToldIsStoredIsSentBack(t *testing.T) {
	h := start(t)
	id := uuid.New()
	p, _ := h.connect(t, id)
	for seq := uint64(1); seq <= 3; seq++ {
		require.NoError(t, p.send(copied(p, seq, 100)))
	}
	p.waitAck(3)
	p.close()
	p, _ = h.connect(t, id)
	require.NoError(t, p.send(copied(p, 3, 100))) // the same: it is acknowledged again
	p.waitAck(3)
	require.NoError(t, p.send(copied(p, 2, 100)))
	require.Equal(t, codes.Aborted, p.waitEnd().Code())
}

// identities hands over how hosts are told of.
type identities struct {
	ignore
	told chan storage.Host
}

func (i identities) SetHost(host storage.Host) { i.told <- host }

// TestTwoMachinesThatTakeTurnsAreTold: one that comes with another epoch may be an agent that was restarted at once; but when the first
// epoch comes back while the second streams, both are alive.
func TestTwoMachinesThatTakeTurnsAreTold(t *testing.T) {
	now := time.Now().UTC()
	seen := identities{told: make(chan storage.Host, 8)}
	h := start(t, func(o *Options) { o.Observer, o.Now = seen, func() time.Time { return now } })
	id := uuid.New()
	come := func(epoch uint64) {
		p := h.dial(t, id)
		said := hello(id)
		said.Epoch = epoch
		p.sendHello(said)
		_, err := p.stream.Recv()
		require.NoError(t, err)
		require.Zero(t, (<-seen.told).ClonedAt, "a registration does not tell")
	}
	for _, epoch := range []uint64{7, 8, 8, 9} { // an agent that is restarted again and again
		come(epoch)
	}
	come(8)
	require.Equal(t, now, (<-seen.told).ClonedAt)
	come(8)
	come(9)
	require.Equal(t, now, (<-seen.told).ClonedAt, "an agent that reconnects changes nothing")
	h.stop()
	require.Empty(t, seen.told)
}

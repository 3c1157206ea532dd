package ingest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

func (p *peer) preview(sample *gohubv1.Sample) error {
	_, err := gohubv1.NewIngestServiceClient(p.connection).Preview(p.t.Context(), &gohubv1.PreviewRequest{AgentId: p.id.String(), Sample: sample})
	return err
}

func TestPreviewIsCheckedBeforeItTakesMemory(t *testing.T) {
	h := start(t)
	p, _ := h.connect(t, uuid.New())
	h.session(t, p)
	many, long := p.batch(1).Samples[0], p.batch(1).Samples[0]
	for range catalogue.MaxInstances + 1 {
		many.Processes = append(many.Processes, &gohubv1.ProcessMetrics{})
	}
	long.Disks = []*gohubv1.DiskMetrics{{Device: strings.Repeat("x", maxPreviewBytes)}}
	require.Equal(t, codes.InvalidArgument, status.Code(p.preview(many)))
	require.Equal(t, codes.ResourceExhausted, status.Code(p.preview(long)))
	require.NoError(t, p.preview(p.batch(1).Samples[0]))
}

func TestPreviewWaitsWhileOthersAreDecoded(t *testing.T) {
	seen := &watcher{}
	h := start(t, func(o *Options) { o.Observer = seen })
	p, _ := h.connect(t, uuid.New())
	h.session(t, p)
	for range maxPreviews {
		h.server.previews <- struct{}{}
	}
	done := make(chan error, 1)
	go func() { done <- p.preview(p.batch(99).Samples[0]) }()
	require.NoError(t, p.send(p.batch(1)))
	p.waitAck(1)
	require.NotContains(t, seen.shown(), 99.0)
	require.Empty(t, done)
	<-h.server.previews
	require.NoError(t, <-done)
	require.Contains(t, seen.shown(), 99.0)
	require.Eventually(t, func() bool { return len(h.server.previews) == maxPreviews-1 }, 10*time.Second, time.Millisecond, "and it gives its token back")
}

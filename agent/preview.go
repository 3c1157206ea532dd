package agent

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// taken is a sample and the number of its batch.
type taken struct {
	seq    uint64
	sample *gohubv1.Sample
}

// previewTimeout bounds a preview: a later sample says more than one that is on its way for so long.
const previewTimeout = 5 * time.Second

// took tells the client of a sample that is in the spool.
func (c *client) took(seq uint64, sample *gohubv1.Sample) {
	c.newest.Store(&taken{seq, sample})
	select {
	case c.fresh <- struct{}{}:
	default:
	}
}

// previews shows the server each new sample at once while the one before it is not acknowledged: the database is away, or a
// backlog drains. It is a call beside the stream, which may be held back. It runs until ctx ends, one for each stream.
func (c *client) previews(ctx context.Context, conn *grpc.ClientConn, agentID string, f *flight) {
	for {
		select {
		case <-c.fresh:
		case <-ctx.Done():
			return
		}
		newest := c.newest.Load()
		if f.ackedThrough()+1 >= newest.seq {
			continue
		}
		one, cancel := context.WithTimeout(ctx, previewTimeout)
		_, err := gohubv1.NewIngestServiceClient(conn).Preview(one, &gohubv1.PreviewRequest{AgentId: agentID, Sample: newest.sample})
		cancel()
		if status.Code(err) == codes.Unimplemented {
			return // an older server
		}
		// Otherwise it does not matter: the sample comes again in its batch.
	}
}

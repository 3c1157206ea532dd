package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const (
	// maxPreviewBytes is more than a sample of a large machine has.
	maxPreviewBytes = 256 << 10
	// maxPreviews is how many are read and decoded at once. One takes some microseconds.
	maxPreviews = 8
)

// Register has a gRPC server serve the contract's IngestService. The server must use Codec and Credentials.
//
// Preview is served as a stream of one message, which on the wire is the same: gRPC would read and decode the request of a plain
// call before anyone could say that there are too many.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	service := gohubv1.IngestService_ServiceDesc
	service.Methods = nil
	service.Streams = append(slices.Clone(service.Streams), grpc.StreamDesc{
		StreamName: "Preview",
		Handler:    func(_ any, stream grpc.ServerStream) error { return s.preview(stream) },
	})
	registrar.RegisterService(&service, s)
}

// preview implements the contract's Preview. A sample that would be put into quarantine is not shown.
//
// It is not held against the connection of the agent's stream: a proxy may carry the two calls on different ones, and who has the
// agents' token can open a stream as any agent.
func (s *Server) preview(stream grpc.ServerStream) error {
	in := newIncoming(stream)
	if err := in.wait(); err != nil {
		return err
	}
	if err := s.takePreview(stream.Context(), &in); err != nil {
		return err
	}
	return stream.SendMsg(&gohubv1.PreviewResponse{})
}

// takePreview reads a preview and shows it, while it holds a token. What waits for one is still in the peer's window.
func (s *Server) takePreview(ctx context.Context, in *incoming) error {
	select {
	case s.previews <- struct{}{}:
		defer func() { <-s.previews }()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	// A peer that sends the beginning of a message only must not keep the token.
	cutoff := time.AfterFunc(s.options.HelloTimeout, func() { cut(ctx) })
	message, err := in.read(maxPreviewBytes)
	cutoff.Stop()
	if err != nil {
		return err
	}
	defer message.Free()
	return s.show(message)
}

func (s *Server) show(message mem.Buffer) error {
	var agentID, wire string
	err := each(text(message), func(field catalogue.Field) error {
		switch {
		case field.Type != protowire.BytesType:
		case field.Number == previewAgentID:
			agentID = field.Text
		case field.Number == previewSample:
			wire = field.Text
		}
		return nil
	})
	if err != nil {
		return refusal(err)
	}
	id, err := uuid.Parse(agentID)
	if err != nil {
		return refusal(fmt.Errorf("agent_id %q is not a UUID", clip(agentID)))
	}
	s.mu.Lock()
	one := s.sessions[id]
	s.mu.Unlock()
	if one == nil {
		return status.Errorf(codes.FailedPrecondition, "no stream of agent %s is open", id)
	}
	work := s.borrow()
	defer s.giveBack(work)
	if err := work.sample.Decode(wire); err != nil {
		return refusal(err)
	}
	now := s.options.Now().UTC()
	accept := s.acceptance(now)
	if reason := accept.check(&work.sample); reason != "" {
		return refusal(errors.New(reason))
	}
	s.options.Observer.Observe(one.host, &work.sample, now)
	return nil
}

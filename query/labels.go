package query

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
)

// SetHostLabels implements the contract.
func (s *Service) SetHostLabels(ctx context.Context, request *gohubv1.SetHostLabelsRequest) (*gohubv1.SetHostLabelsResponse, error) {
	if _, err := s.host(request.GetHostId()); err != nil {
		return nil, err
	}
	if err := label.Check(request.GetLabels()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id := storage.HostID(request.GetHostId())
	if err := s.options.Store.SetHostLabels(ctx, id, request.GetLabels()); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return nil, status.Errorf(codes.NotFound, "there is no host with id %d any more", id)
		}
		return nil, s.statusOf(err)
	}
	s.options.Fleet.SetLabels(id, request.GetLabels())
	host, err := s.host(request.GetHostId())
	if err != nil {
		return nil, err
	}
	return &gohubv1.SetHostLabelsResponse{Host: host}, nil
}

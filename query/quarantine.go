package query

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// How many samples of the quarantine an answer has, when the request does not say and at most.
const (
	defaultQuarantine = 100
	maxQuarantine     = 1000
	// maxDecoded bounds the samples of an answer that are shown, in bytes as they came. One that is made to be large has an instance
	// of 150 bytes in memory for each two: so they take 20 MB at most, about as much as the longest range.
	maxDecoded = 256 << 10
)

// ListQuarantine implements the contract.
func (s *Service) ListQuarantine(ctx context.Context, request *gohubv1.ListQuarantineRequest) (*gohubv1.ListQuarantineResponse, error) {
	limit := int(request.GetLimit())
	switch {
	case limit == 0:
		limit = defaultQuarantine
	case limit > maxQuarantine:
		return nil, status.Errorf(codes.InvalidArgument, "limit is %d, at most %d samples are listed at once", limit, maxQuarantine)
	}
	if request.GetHostId() != 0 {
		if _, err := s.host(request.GetHostId()); err != nil {
			return nil, err
		}
	}
	release, err := s.slots.take(ctx)
	if err != nil {
		return nil, s.statusOf(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := s.options.Store.Quarantine(ctx, storage.HostID(request.GetHostId()), limit)
	if err != nil {
		return nil, s.statusOf(err)
	}
	response := &gohubv1.ListQuarantineResponse{}
	left := maxDecoded
	for _, one := range found {
		shown := &gohubv1.QuarantinedSample{
			HostId: uint32(one.Host), ReceivedAt: timestamppb.New(one.ReceivedAt), Epoch: one.Epoch, Seq: one.Seq, Reason: one.Reason, SampleBytes: uint32(one.Bytes),
		}
		if one.Bytes <= min(storage.MaxListed, left) {
			left -= one.Bytes
			shown.Sample = &gohubv1.Sample{}
			// It was decoded when it came. Should a later version not be able to, the reason still says most.
			_ = proto.Unmarshal([]byte(one.Wire), shown.Sample)
		}
		response.Samples = append(response.Samples, shown)
	}
	return response, nil
}

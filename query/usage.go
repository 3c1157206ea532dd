package query

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// forecastDays are those that an answer tells of.
var forecastDays = []int{30, 90, 365}

// farthestForecast is how far ahead a full disk is told of.
const farthestForecast = 10 * 365 * 24 * time.Hour

// usage remembers the last answer: to look takes as long as to read the database's file.
type usage struct {
	mu       sync.Mutex
	response *gohubv1.GetStorageUsageResponse
	until    time.Time
}

// An answer holds for usageHolds, or for usageShare times as long as it took.
const (
	usageHolds = time.Minute
	usageShare = 20
)

// GetStorageUsage implements the contract.
func (s *Service) GetStorageUsage(ctx context.Context, _ *gohubv1.GetStorageUsageRequest) (*gohubv1.GetStorageUsageResponse, error) {
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	begin := s.options.Now()
	if begin.Before(s.usage.until) {
		return s.usage.response, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := s.options.Store.Usage(ctx)
	if err != nil {
		return nil, s.statusOf(err)
	}
	now := s.options.Now()
	s.usage.response, s.usage.until = usageResponse(&found, now), now.Add(max(usageHolds, usageShare*now.Sub(begin)))
	return s.usage.response, nil
}

func usageResponse(found *storage.Usage, now time.Time) *gohubv1.GetStorageUsageResponse {
	response := &gohubv1.GetStorageUsageResponse{TotalBytes: uint64(found.TotalBytes), At: timestamppb.New(now)}
	growth := 0.0
	for i := range found.Relations {
		one := &found.Relations[i]
		encoded := &gohubv1.RelationUsage{
			Family: one.Family.Name, Resolution: one.Resolution.String(), Bytes: uint64(one.Bytes),
			GrowthBytesPerDay: uint64(one.GrowthPerDay()), RetentionSeconds: uint64(one.Keep.Seconds()),
		}
		if !one.Oldest.IsZero() && !one.Newest.IsZero() {
			encoded.Oldest, encoded.Newest = timestamppb.New(one.Oldest), timestamppb.New(one.Newest)
		}
		growth += one.GrowthPerDay()
		response.Relations = append(response.Relations, encoded)
	}
	slices.SortStableFunc(response.Relations, func(a, b *gohubv1.RelationUsage) int { return cmp.Compare(b.GetBytes(), a.GetBytes()) })
	response.GrowthBytesPerDay = uint64(growth)
	for _, days := range forecastDays {
		response.Forecast = append(response.Forecast, &gohubv1.StorageForecast{
			Days: uint32(days), TotalBytes: uint64(found.BytesIn(time.Duration(days) * 24 * time.Hour)),
		})
	}
	if found.Disk != nil {
		free, size := uint64(found.Disk.Free), uint64(found.Disk.Size)
		response.DiskFreeBytes, response.DiskSizeBytes = &free, &size
	}
	if after, ok := found.FullIn(farthestForecast); ok {
		response.DiskFullAt = timestamppb.New(now.Add(after))
	}
	return response
}

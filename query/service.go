// Package query answers what is stored and what is newest, over gRPC and, through the gateway, REST. In the data's path
// it stands between storage, and live's state, and the dashboard.
package query

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/proto/catalogue"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
)

// Store is what the service reads from storage, and the labels that it writes.
type Store interface {
	Range(ctx context.Context, q storage.RangeQuery) ([]storage.Series, error)
	CustomLabels(ctx context.Context, q storage.RangeQuery) ([]string, error)
	// Coverage tells what is rolled up, and what retention keeps.
	Coverage(ctx context.Context) ([]storage.Coverage, error)
	Gaps(ctx context.Context, host storage.HostID, from, to time.Time, limit int) ([]*gohubv1.Gap, error)
	Quarantine(ctx context.Context, host storage.HostID, limit int) ([]storage.Quarantined, error)
	Describe(ctx context.Context) (storage.Description, error)
	// Usage tells what the database takes on disk.
	Usage(ctx context.Context) (storage.Usage, error)
	SetHostLabels(ctx context.Context, host storage.HostID, labels map[string]string) error
}

// Fleet is what the service reads from memory, and tells of changes.
type Fleet interface {
	// AppendHosts appends the hosts that match picks, nil for all, with their host-level values: as ListHostsResponse encodes them.
	// match must not change the host, of which it is shown what does not change with its samples, and its status.
	AppendHosts(buf []byte, match func(*gohubv1.Host, gohubv1.HostStatus) bool) []byte
	// WriteHosts writes the same as JSON objects with commas between them.
	WriteHosts(w io.Writer, match func(*gohubv1.Host, gohubv1.HostStatus) bool) error
	// Host returns one host with all its values.
	Host(id storage.HostID) (*gohubv1.Host, bool)
	// Identities returns every host without its values, which are many.
	Identities() []*gohubv1.Host
	// Identity returns one host without its values.
	Identity(id storage.HostID) (*gohubv1.Host, bool)
	// SetLabels takes the labels that the server gives a host.
	SetLabels(id storage.HostID, labels map[string]string)
}

// Options of a Service.
type Options struct {
	Store Store
	Fleet Fleet
	// Recent is nil where all ranges are read from storage.
	Recent  Recent
	Version string
	Limits  Limits
	Now     func() time.Time
	Logger  *slog.Logger
}

// ConcurrentDefault is how many range queries run at once: a page of the dashboard asks for some six at once, and each keeps a
// core of the database busy.
const ConcurrentDefault = 8

// Limits bound what range queries take together. Zero fields take their default.
type Limits struct {
	// Values that one answer may have, 500,000 by default: buckets times metrics times instances. It is a day at 10 s of 57
	// interfaces, or the most points of 45 metrics of a host, far more than any screen shows, and makes 16 MB in memory
	// and some 30 MB of JSON.
	Values int
	// Series that one answer may have, 5,000 by default: a metric of each host of a large fleet.
	Series int
	// Concurrent queries that run, ConcurrentDefault by default.
	Concurrent int
	// Sending are the bytes of answers that wait for those who asked to read them, 128 MiB by default: eight of the largest, one
	// for each query that runs at once.
	Sending int64
	// SendTimeout is how long an answer over gRPC may take to be read, 1 min by default, as over HTTP.
	SendTimeout time.Duration
	// Wait is how long one more waits for its turn, 5 s by default: a burst of pages passes in that, and an overload is
	// told before the asker has given up.
	Wait time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Values <= 0 {
		l.Values = 500_000
	}
	if l.Series <= 0 {
		l.Series = 5_000
	}
	if l.Concurrent <= 0 {
		l.Concurrent = ConcurrentDefault
	}
	if l.Sending <= 0 {
		l.Sending = 128 << 20
	}
	if l.SendTimeout <= 0 {
		l.SendTimeout = time.Minute
	}
	if l.Wait <= 0 {
		l.Wait = 5 * time.Second
	}
	return l
}

// Service implements the contract's QueryService. It is safe for concurrent use.
type Service struct {
	gohubv1.UnimplementedQueryServiceServer
	options Options
	slots   *slots
	room    *room
	// listed is the size of the longest list of hosts so far.
	listed  atomic.Int64
	usage   usage
	started time.Time
}

// timeout bounds one query's SQL: past it no one looks at the answer any more.
const timeout = 30 * time.Second

// NewService returns a service.
func NewService(options Options) *Service {
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Limits = options.Limits.withDefaults()
	s := &Service{
		options: options, slots: newSlots(options.Limits.Concurrent, options.Limits.Wait), room: newRoom(options.Limits.Sending, options.Limits.Wait), started: options.Now(),
	}
	s.listed.Store(firstList)
	return s
}

// GetHost implements the contract.
func (s *Service) GetHost(_ context.Context, request *gohubv1.GetHostRequest) (*gohubv1.GetHostResponse, error) {
	host, err := s.host(request.GetHostId())
	if err != nil {
		return nil, err
	}
	return &gohubv1.GetHostResponse{Host: host}, nil
}

func (s *Service) host(id uint32) (*gohubv1.Host, error) {
	if id == 0 { // what is not given reads as 0, and no host has that id
		return nil, status.Error(codes.InvalidArgument, "hostId is required: the id of a host, as GET /api/v1/hosts lists them")
	}
	host, known := s.options.Fleet.Host(storage.HostID(id))
	if !known {
		return nil, status.Errorf(codes.NotFound, "there is no host with id %d; GET /api/v1/hosts lists them", id)
	}
	return host, nil
}

// clip shortens a name from outside for an error message.
func clip(name string) string {
	const longest = 100 // twice the longest metric name
	if len(name) > longest {
		return strings.ToValidUTF8(name[:longest], "") + "…"
	}
	return name
}

// statusOf turns a storage error into the status that the caller sees. What only the operator can mend is logged here
// and not told.
func (s *Service) statusOf(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the request was cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Errorf(codes.DeadlineExceeded, "the query took longer than %s; ask for a shorter range or fewer metrics", timeout)
	case errors.Is(err, storage.ErrTooManyRows):
		// Not RESOURCE_EXHAUSTED: asking again does not help.
		return status.Errorf(codes.InvalidArgument, "the answer has over %d values (buckets × metrics × instances), the limit of one query; ask for a longer step, a shorter range or fewer metrics", s.options.Limits.Values)
	case errors.Is(err, storage.ErrTooManySeries):
		return status.Errorf(codes.InvalidArgument, "the answer has over %d series (metrics × instances × hosts), the limit of one query; name fewer hosts or metrics, combine them with aggregate, or ask for the top ones", s.options.Limits.Series)
	case errors.Is(err, errBusy):
		return status.Errorf(codes.ResourceExhausted, "%v; try again later, or ask for fewer ranges at once", err)
	case errors.Is(err, storage.ErrUnavailable):
		return status.Error(codes.Unavailable, "the database can not be reached; try again later")
	default:
		s.options.Logger.Error("a query failed", "error", err)
		return status.Error(codes.Internal, "the query failed; the server's log says why")
	}
}

// ListMetrics implements the contract.
func (s *Service) ListMetrics(context.Context, *gohubv1.ListMetricsRequest) (*gohubv1.ListMetricsResponse, error) {
	response := &gohubv1.ListMetricsResponse{}
	for _, family := range catalogue.Families() {
		for _, metric := range family.Metrics {
			encoded := &gohubv1.Metric{
				Name: metric.Name, Family: family.Name, Unit: metric.Unit, Kind: metric.Kind, Help: metric.Help, PrometheusName: metric.PrometheusName,
			}
			for _, label := range family.Labels {
				encoded.Labels = append(encoded.Labels, label.Name)
			}
			response.Metrics = append(response.Metrics, encoded)
		}
	}
	return response, nil
}

// GetServerInfo implements the contract.
func (s *Service) GetServerInfo(ctx context.Context, _ *gohubv1.GetServerInfoRequest) (*gohubv1.GetServerInfoResponse, error) {
	description, err := s.options.Store.Describe(ctx)
	if err != nil {
		return nil, s.statusOf(err)
	}
	return &gohubv1.GetServerInfoResponse{
		Version: s.options.Version, StorageDriver: description.Driver, StorageVersion: description.Version, Started: timestamppb.New(s.started),
	}, nil
}

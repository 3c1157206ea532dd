package query

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// fleet stands for live's state, which only has to know the hosts here.
type fleet map[storage.HostID]*gohubv1.Host

func (f fleet) Identities() []*gohubv1.Host {
	var hosts []*gohubv1.Host
	for _, id := range slices.Sorted(maps.Keys(f)) {
		hosts = append(hosts, f[id])
	}
	return hosts
}

func (f fleet) AppendHosts(buf []byte, match func(*gohubv1.Host, gohubv1.HostStatus) bool) []byte {
	for _, host := range f.Identities() {
		if match == nil || match(host, host.GetStatus()) {
			buf, _ = proto.MarshalOptions{}.MarshalAppend(buf, &gohubv1.ListHostsResponse{Hosts: []*gohubv1.Host{host}})
		}
	}
	return buf
}

func (f fleet) WriteHosts(w io.Writer, match func(*gohubv1.Host, gohubv1.HostStatus) bool) error {
	var texts [][]byte
	for _, host := range f.Identities() {
		if match == nil || match(host, host.GetStatus()) {
			text, err := protojson.Marshal(host)
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
	}
	_, err := w.Write(bytes.Join(texts, []byte(",")))
	return err
}

func (f fleet) Identity(id storage.HostID) (*gohubv1.Host, bool) { return f.Host(id) }

func (f fleet) SetLabels(id storage.HostID, labels map[string]string) {
	f[id].ServerLabels, f[id].Labels = labels, label.Merge(f[id].GetFacts().GetLabels(), labels)
}

func (f fleet) Host(id storage.HostID) (*gohubv1.Host, bool) {
	host, known := f[id]
	return host, known
}

// start returns a service on a real store in which one host has a sample a second over the last minute.
func start(t testing.TB) (*Service, uint32) { return startWith(t, Limits{}) }

func startWith(t testing.TB, limits Limits) (*Service, uint32) {
	t.Helper()
	store, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	facts := &gohubv1.HostFacts{Hostname: "web-1", IntervalMillis: 1000}
	host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
	var samples []*gohubv1.Sample
	batch := &storage.Batch{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now}
	for i := range 60 {
		samples = append(samples, &gohubv1.Sample{
			TimeUnixMillis: now.Truncate(time.Minute).Add(time.Duration(i-60) * time.Second).UnixMilli(),
			Host:           &gohubv1.HostMetrics{CpuUsagePercent: proto.Float32(12.3)},
			Networks: []*gohubv1.NetworkMetrics{
				{Interface: "eth0", ReceiveBytesTotal: proto.Uint64(1 << 50)}, {Interface: "eth1", ReceiveBytesTotal: proto.Uint64(uint64(i))},
			},
		})
	}
	batch.Rows = storagetest.Rows(host.ID, now, samples...)
	_, err = store.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	return NewService(Options{
		Store: store, Fleet: fleet{host.ID: {HostId: uint32(host.ID), Facts: facts}}, Version: "test", Limits: limits,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	}), uint32(host.ID)
}

// TestStepOfProcessesHasTheListsOfAllHosts: agents do not list processes in each sample.
func TestStepOfProcessesHasTheListsOfAllHosts(t *testing.T) {
	service, host := start(t)
	for name, c := range map[string]struct {
		metrics   []string
		step      float64
		aggregate string
		want      float64
		noted     bool
	}{
		"no step":                     {metrics: []string{"process_cpu_percent"}, want: 30},
		"no step, of all hosts":       {metrics: []string{"process_cpu_percent"}, aggregate: "sum", want: 30},
		"beside others":               {metrics: []string{"load1", "process_cpu_percent"}, aggregate: "sum", want: 30},
		"others alone":                {metrics: []string{"load1"}, aggregate: "sum", want: 10},
		"a finer one":                 {metrics: []string{"process_cpu_percent"}, step: 10, want: 10},
		"a finer one of all hosts":    {metrics: []string{"process_cpu_percent"}, step: 10, aggregate: "sum", want: 10, noted: true},
		"a wide enough of all hosts":  {metrics: []string{"process_cpu_percent"}, step: 30, aggregate: "sum", want: 30},
		"others alone of a fine step": {metrics: []string{"load1"}, step: 1, aggregate: "sum", want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{HostId: host, Metrics: c.metrics, Step: c.step, Aggregate: c.aggregate})
			require.NoError(t, err)
			require.InDelta(t, c.want, response.GetStep(), 0)
			noted := slices.ContainsFunc(response.GetNotes(), func(note string) bool { return strings.HasPrefix(note, "agents list processes every 30s") })
			require.Equal(t, c.noted, noted, response.GetNotes())
		})
	}
}

func TestQueryRangeAnswersEverySeriesAskedFor(t *testing.T) {
	service, host := start(t)
	response, err := service.QueryRange(t.Context(), &gohubv1.QueryRangeRequest{
		HostId: host, Metrics: []string{"network_receive_bytes_total", "cpu_usage_percent", "load1"}, Step: 30,
	})
	require.NoError(t, err)
	require.Equal(t, "raw", response.GetSource())
	require.InDelta(t, 30, response.GetStep(), 0)
	require.Len(t, response.GetSeries(), 3, "load1 has no readings")
	eth0, eth1, cpu := response.GetSeries()[0], response.GetSeries()[1], response.GetSeries()[2]
	require.Equal(t, map[string]string{"interface": "eth0"}, eth0.GetLabels())
	require.Equal(t, []float64{1 << 50, 1 << 50}, eth0.GetAvg(), "counters keep all their digits")
	require.Equal(t, []float64{0, 30}, eth1.GetMin())
	require.Equal(t, []float64{29, 59}, eth1.GetMax())
	require.Equal(t, []float64{12.3, 12.3}, cpu.GetAvg(), "a real is told with the digits that it has")
	require.Len(t, cpu.GetTimes(), 2)
}

func TestQueryRangeRefuses(t *testing.T) {
	service, host := start(t)
	cpu := []string{"cpu_usage_percent"}
	for name, c := range map[string]struct {
		request *gohubv1.QueryRangeRequest
		code    codes.Code
		text    string
	}{
		"no metric":      {&gohubv1.QueryRangeRequest{HostId: host}, codes.InvalidArgument, "metrics is empty"},
		"unknown metric": {&gohubv1.QueryRangeRequest{HostId: host, Metrics: []string{"cpu_use_percent"}}, codes.InvalidArgument, "the nearest are cpu_user_percent"},
		"injection":      {&gohubv1.QueryRangeRequest{HostId: host, Metrics: []string{"load1) FROM hosts; DROP TABLE hosts; --"}}, codes.InvalidArgument, "there is no metric"},
		"many metrics":   {&gohubv1.QueryRangeRequest{HostId: host, Metrics: make([]string, 65)}, codes.InvalidArgument, "limit of 64"},
		"no host":        {&gohubv1.QueryRangeRequest{Metrics: cpu}, codes.InvalidArgument, "hostId is required"},
		"unknown host":   {&gohubv1.QueryRangeRequest{HostId: 99, Metrics: cpu}, codes.NotFound, "no host with id 99"},
		"bad range":      {&gohubv1.QueryRangeRequest{HostId: host, Metrics: cpu, From: 2, To: 1}, codes.InvalidArgument, "is not before"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := service.QueryRange(t.Context(), c.request)
			require.Equal(t, c.code, status.Code(err))
			require.ErrorContains(t, err, c.text)
		})
	}
}

// TestQueryRangeBoundsTheValuesOfAnAnswer: the limit is on all series together, of several metrics, instances and families.
func TestQueryRangeBoundsTheValuesOfAnAnswer(t *testing.T) {
	const points = 60
	for name, c := range map[string]struct {
		metrics []string
		series  int
	}{
		"one metric":            {[]string{"cpu_usage_percent"}, 1},
		"instances of a metric": {[]string{"network_receive_bytes_total"}, 2},
		"several families":      {[]string{"cpu_usage_percent", "network_receive_bytes_total"}, 3},
		"families, other order": {[]string{"network_receive_bytes_total", "cpu_usage_percent"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			request := &gohubv1.QueryRangeRequest{Metrics: c.metrics, Step: 1}
			service, host := startWith(t, Limits{Values: c.series * points})
			request.HostId = host
			response, err := service.QueryRange(t.Context(), request)
			require.NoError(t, err)
			require.Len(t, response.GetSeries(), c.series)

			service, _ = startWith(t, Limits{Values: c.series*points - 1})
			_, err = service.QueryRange(t.Context(), request)
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			require.ErrorContains(t, err, fmt.Sprintf("over %d values", c.series*points-1))
		})
	}
}

// slowStore answers a range only when it is told to.
type slowStore struct {
	Store
	proceed chan struct{}
}

func (s slowStore) Range(ctx context.Context, _ storage.RangeQuery) ([]storage.Series, error) {
	select {
	case <-s.proceed:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (slowStore) Coverage(context.Context) ([]storage.Coverage, error) { return nil, nil }

func (slowStore) Gaps(context.Context, storage.HostID, time.Time, time.Time, int) ([]*gohubv1.Gap, error) {
	return nil, nil
}

func TestQueryRangeBoundsTheQueriesThatRun(t *testing.T) {
	request := &gohubv1.QueryRangeRequest{HostId: 1, Metrics: []string{"load1"}}
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		service := NewService(Options{
			Store: slowStore{proceed: proceed}, Fleet: fleet{1: {HostId: 1}}, Limits: Limits{Concurrent: 2, Wait: 5 * time.Second},
		})
		results := make(chan error, 3)
		query := func(ctx context.Context) {
			_, err := service.QueryRange(ctx, request)
			results <- err
		}
		go query(t.Context())
		go query(t.Context())
		synctest.Wait()

		begin := time.Now()
		_, err := service.QueryRange(t.Context(), request)
		require.Equal(t, codes.ResourceExhausted, status.Code(err))
		require.ErrorContains(t, err, "2 range queries run already")
		require.ErrorContains(t, err, "try again later")
		require.Equal(t, 5*time.Second, time.Since(begin))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = service.QueryRange(ctx, request)
		require.Equal(t, codes.Canceled, status.Code(err), "who is gone does not wait")

		go query(t.Context())
		synctest.Wait()
		close(proceed) // two end, and the one that waits gets its turn
		for range 3 {
			require.NoError(t, <-results)
		}
	})
}

func TestStorageErrorsBecomeStatuses(t *testing.T) {
	service, _ := start(t)
	for want, err := range map[codes.Code]error{
		codes.Unavailable:       fmt.Errorf("dial: %w", storage.ErrUnavailable),
		codes.InvalidArgument:   fmt.Errorf("range: %w", storage.ErrTooManyRows),
		codes.ResourceExhausted: fmt.Errorf("take a slot: %w", errBusy),
		codes.Canceled:          context.Canceled,
		codes.DeadlineExceeded:  fmt.Errorf("%w: %w", storage.ErrUnavailable, context.DeadlineExceeded),
		codes.Internal:          fmt.Errorf("secret detail"),
	} {
		got := service.statusOf(err)
		require.Equal(t, want, status.Code(got))
		require.NotContains(t, got.Error(), "secret detail")
	}
}

func TestListMetricsDescribesTheCatalogue(t *testing.T) {
	service, _ := start(t)
	response, err := service.ListMetrics(t.Context(), nil)
	require.NoError(t, err)
	byName := map[string]*gohubv1.Metric{}
	for _, metric := range response.GetMetrics() {
		byName[metric.GetName()] = metric
	}
	require.Equal(t, "gohub_cpu_usage_ratio", byName["cpu_usage_percent"].GetPrometheusName())
	require.Equal(t, []string{"mountpoint", "device", "fstype"}, byName["filesystem_used_bytes"].GetLabels())
	require.Empty(t, byName["process_cpu_percent"].GetPrometheusName())
}

func TestGetServerInfo(t *testing.T) {
	service, _ := start(t)
	info, err := service.GetServerInfo(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "sqlite", info.GetStorageDriver())
	require.Equal(t, now, info.GetStarted().AsTime())
}

func TestListQuarantineShowsWhatWasRefusedAndWhy(t *testing.T) {
	service, host := start(t)
	store := service.options.Store.(*sqlite.Store)
	wire, err := proto.Marshal(&gohubv1.Sample{TimeUnixMillis: 5, Host: &gohubv1.HostMetrics{Load1: proto.Float32(float32(math.NaN()))}})
	require.NoError(t, err)
	batch := &storage.Batch{Host: storage.HostID(host), Epoch: 1, Prev: 1, Seq: 2, ReceivedAt: now, Rejected: []storage.Rejected{{Wire: string(wire), Reason: "load1 is NaN"}}}
	_, err = store.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	response, err := service.ListQuarantine(t.Context(), &gohubv1.ListQuarantineRequest{HostId: host})
	require.NoError(t, err)
	require.Len(t, response.GetSamples(), 1)
	one := response.GetSamples()[0]
	require.Equal(t, "load1 is NaN", one.GetReason())
	require.EqualValues(t, 2, one.GetSeq())
	require.EqualValues(t, 5, one.GetSample().GetTimeUnixMillis())
	require.True(t, math.IsNaN(float64(one.GetSample().GetHost().GetLoad1())))

	_, err = service.ListQuarantine(t.Context(), &gohubv1.ListQuarantineRequest{Limit: 5000})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = service.ListQuarantine(t.Context(), &gohubv1.ListQuarantineRequest{HostId: 99})
	require.Equal(t, codes.NotFound, status.Code(err))
}

func TestListQuarantineTellsTheSizeOfSamplesThatItDoesNotShow(t *testing.T) {
	service, host := start(t)
	store := service.options.Store.(*sqlite.Store)
	sample := func(instances int) storage.Rejected {
		wire, err := proto.Marshal(&gohubv1.Sample{Networks: slices.Repeat([]*gohubv1.NetworkMetrics{{}}, instances)})
		require.NoError(t, err)
		return storage.Rejected{Wire: string(wire), Reason: "too many instances"}
	}
	batch := &storage.Batch{Host: storage.HostID(host), Epoch: 1, Prev: 1, Seq: 2, ReceivedAt: now}
	for range 20 {
		batch.Rejected = append(batch.Rejected, sample(8000))
	}
	batch.Rejected = append(batch.Rejected, sample(9000))
	_, err := store.Append(t.Context(), []*storage.Batch{batch})
	require.NoError(t, err)
	response, err := service.ListQuarantine(t.Context(), &gohubv1.ListQuarantineRequest{HostId: host})
	require.NoError(t, err)
	require.Len(t, response.GetSamples(), 21)
	shown := 0
	for _, one := range response.GetSamples() {
		require.Equal(t, "too many instances", one.GetReason())
		if one.GetSample() != nil {
			require.EqualValues(t, 16000, one.GetSampleBytes())
			require.Len(t, one.GetSample().GetNetworks(), 8000)
			shown++
		}
	}
	require.Equal(t, maxDecoded/16000, shown)
	require.EqualValues(t, 18000, response.GetSamples()[0].GetSampleBytes(), "the newest is over what one may have")
	require.Nil(t, response.GetSamples()[0].GetSample())
}

func TestGetStorageUsage(t *testing.T) {
	service, _ := start(t)
	found, err := service.GetStorageUsage(t.Context(), nil)
	require.NoError(t, err)
	require.NotEmpty(t, found.GetRelations())
	sum := uint64(0)
	for i, one := range found.GetRelations() {
		sum += one.GetBytes()
		if i > 0 {
			require.LessOrEqual(t, one.GetBytes(), found.GetRelations()[i-1].GetBytes(), "the largest first")
		}
	}
	require.Less(t, sum, found.GetTotalBytes())
	require.Positive(t, found.GetDiskFreeBytes())
	require.Len(t, found.GetForecast(), 3)
	require.Equal(t, found.GetTotalBytes(), found.GetForecast()[0].GetTotalBytes(), "a minute's samples tell nothing")
	again, err := service.GetStorageUsage(t.Context(), nil)
	require.NoError(t, err)
	require.Same(t, found, again, "it is not looked up for each who asks")
}

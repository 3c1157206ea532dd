package query

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/sqlite"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// startMany returns a service on four hosts, of which each has one sample a minute at now - 5 … now - 1 minutes: its load is
// its number.
func startMany(t *testing.T, limits Limits) *Service {
	store, err := sqlite.Open(t.TempDir(), storage.Options{Idle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	hosts := fleet{}
	for i, site := range []string{"ams", "ams", "fra", ""} {
		facts := &gohubv1.HostFacts{Hostname: []string{"web-1", "web-2", "db-1", `"'; --`}[i], Os: "linux", IntervalMillis: 10_000}
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: now})
		hosts[host.ID] = &gohubv1.Host{HostId: uint32(host.ID), Facts: facts}
		if site != "" {
			hosts[host.ID].Labels = map[string]string{"site": site}
		}
		var samples []*gohubv1.Sample
		for minute := range 5 {
			samples = append(samples, &gohubv1.Sample{
				TimeUnixMillis: now.Truncate(time.Minute).Add(time.Duration(minute-5) * time.Minute).UnixMilli(), Host: &gohubv1.HostMetrics{Load1: proto.Float32(float32(i + 1))},
				Customs: []*gohubv1.CustomMetrics{
					{Name: "jobs", Labels: `{queue="in",site="s1"}`, Value: proto.Float64(float64(i + 1))},
					{Name: "jobs", Labels: `{queue="out, \"}"}`, Value: proto.Float64(10.123456789 * float64(i+1))},
					{Name: "backup_ok", Value: proto.Float64(1)},
				},
			})
		}
		_, err := store.Append(t.Context(), []*storage.Batch{{Host: host.ID, Epoch: 1, Seq: 1, ReceivedAt: now, Rows: storagetest.Rows(host.ID, now, samples...)}})
		require.NoError(t, err)
	}
	return NewService(Options{Store: store, Fleet: hosts, Limits: limits, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
}

func load(change func(*gohubv1.QueryRangeRequest)) *gohubv1.QueryRangeRequest {
	request := &gohubv1.QueryRangeRequest{Metrics: []string{"load1"}, Selector: "*", Step: 60, From: seconds(now.Add(-10 * time.Minute)), To: seconds(now)}
	change(request)
	return request
}

func TestGroupsAreNamedByTheirValues(t *testing.T) {
	service := startMany(t, Limits{})
	response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.GroupBy, r.Aggregate = []string{"site"}, "sum" }))
	require.NoError(t, err)
	got := map[string]float64{}
	for _, series := range response.GetSeries() {
		require.Zero(t, series.GetHostId())
		require.Len(t, series.GetTimes(), 5)
		got[series.GetGroup()["site"]] = series.GetAvg()[0]
	}
	require.Equal(t, map[string]float64{"ams": 3, "fra": 3, "": 4}, got)
}

func TestTopKeepsTheGreatest(t *testing.T) {
	service := startMany(t, Limits{})
	response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.Top = 2 }))
	require.NoError(t, err)
	require.Len(t, response.GetSeries(), 2)
	require.Equal(t, "db-1", response.GetSeries()[0].GetHostname())
	require.Equal(t, `"'; --`, response.GetSeries()[1].GetHostname())
}

func TestSelectorThatMatchesNothingIsNotAllHosts(t *testing.T) {
	service := startMany(t, Limits{})
	for _, aggregate := range []string{"", "avg"} {
		response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.Selector, r.Aggregate = `site="nowhere"`, aggregate }))
		require.NoError(t, err)
		require.Empty(t, response.GetSeries())
	}
}

func TestOffsetLaysThePeriodBeforeOverTheRange(t *testing.T) {
	service := startMany(t, Limits{})
	response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) {
		r.From, r.To, r.Offset, r.Aggregate = seconds(now.Truncate(time.Minute).Add(-2*time.Minute)), seconds(now.Truncate(time.Minute)), 120, "max"
	}))
	require.NoError(t, err)
	require.Len(t, response.GetSeries(), 2)
	this, before := response.GetSeries()[0], response.GetSeries()[1]
	require.Zero(t, this.GetOffset())
	require.InDelta(t, 120, before.GetOffset(), 0)
	require.Equal(t, this.GetTimes(), before.GetTimes())
}

// TestTopIsOfTheRangeInBothPeriods: the period before has the same series, whatever came first then.
func TestTopIsOfTheRangeInBothPeriods(t *testing.T) {
	service := startMany(t, Limits{})
	store := service.options.Store.(*sqlite.Store)
	var samples []*gohubv1.Sample
	for minute := range 5 {
		samples = append(samples, &gohubv1.Sample{
			TimeUnixMillis: now.Truncate(time.Minute).Add(time.Duration(minute-65) * time.Minute).UnixMilli(), Host: &gohubv1.HostMetrics{Load1: proto.Float32(100)},
			Customs: []*gohubv1.CustomMetrics{{Name: "jobs", Labels: `{queue="in",site="s1"}`, Value: proto.Float64(100)}},
		})
	}
	for _, id := range []storage.HostID{1, 4} { // the first, of which one is among the last now
		samples := samples
		if id == 4 {
			samples = samples[:1]
		}
		_, err := store.Append(t.Context(), []*storage.Batch{{Host: id, Epoch: 1, Prev: 1, Seq: 2, ReceivedAt: now, Rows: storagetest.Rows(id, now, samples...)}})
		require.NoError(t, err)
	}
	for name, change := range map[string]func(*gohubv1.QueryRangeRequest){
		"hosts":  func(r *gohubv1.QueryRangeRequest) {},
		"groups": func(r *gohubv1.QueryRangeRequest) { r.GroupBy = []string{"hostname"} },
		"series": func(r *gohubv1.QueryRangeRequest) { r.Metrics = []string{`custom:jobs{queue="in"}`} },
		"groups of series": func(r *gohubv1.QueryRangeRequest) {
			r.Metrics, r.GroupBy = []string{`custom:jobs{queue="in"}`}, []string{"hostname", "queue"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) {
				r.Top, r.Offset = 1, 3600
				change(r)
			}))
			require.NoError(t, err)
			require.Len(t, response.GetSeries(), 2)
			this, before := response.GetSeries()[0], response.GetSeries()[1]
			require.InDelta(t, 4, this.GetAvg()[0], 0)
			require.InDelta(t, 3600, before.GetOffset(), 0)
			require.Equal(t, this.GetHostId(), before.GetHostId())
			require.Equal(t, this.GetGroup(), before.GetGroup())
			require.Equal(t, this.GetLabels(), before.GetLabels())
			require.Equal(t, []float64{100}, before.GetAvg(), "of the one sample that it has then")
		})
	}
}

func TestSeriesAreLimited(t *testing.T) {
	service := startMany(t, Limits{Series: 3})
	_, err := service.QueryRange(t.Context(), load(func(*gohubv1.QueryRangeRequest) {}))
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "over 3 series")
	_, err = service.QueryRange(t.Context(), load(func(r *gohubv1.QueryRangeRequest) { r.Aggregate = "avg" }))
	require.NoError(t, err)
}

func TestListHostsTakesASelector(t *testing.T) {
	service := startMany(t, Limits{})
	byGRPC := func(selector string) []*gohubv1.Host {
		encoded, err := service.ListHosts(t.Context(), &gohubv1.ListHostsRequest{Selector: selector})
		require.NoError(t, err)
		wire, err := proto.Marshal(encoded)
		require.NoError(t, err)
		response := new(gohubv1.ListHostsResponse)
		require.NoError(t, proto.Unmarshal(wire, response))
		return response.GetHosts()
	}
	byREST := func(selector string) []*gohubv1.Host {
		recorder := httptest.NewRecorder()
		service.Formats(nil).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, HostsPath+"?selector="+url.QueryEscape(selector), nil))
		require.Equal(t, http.StatusOK, recorder.Code)
		response := new(gohubv1.ListHostsResponse)
		require.NoError(t, protojson.Unmarshal(recorder.Body.Bytes(), response), "%s", recorder.Body)
		return response.GetHosts()
	}
	for _, list := range []func(string) []*gohubv1.Host{byGRPC, byREST} {
		hosts := list(`site="ams",hostname!="web-1"`)
		require.Len(t, hosts, 1)
		require.Equal(t, "web-2", hosts[0].GetFacts().GetHostname())
		require.Len(t, list(""), 4)
		require.Len(t, list("*"), 4)
		require.Empty(t, list(`site="nowhere"`))
	}
	_, err := service.ListHosts(t.Context(), &gohubv1.ListHostsRequest{Selector: "("})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

// TestHostsAreNotPickedForNoOne: who hung up gets no list, least of all a part of it.
func TestHostsAreNotPickedForNoOne(t *testing.T) {
	service := startMany(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := service.ListHosts(ctx, &gohubv1.ListHostsRequest{Selector: `site="ams"`})
	require.Equal(t, codes.Canceled, status.Code(err))
	_, err = service.QueryRange(ctx, load(func(r *gohubv1.QueryRangeRequest) { r.Selector = `site="ams"` }))
	require.Equal(t, codes.Canceled, status.Code(err))
	recorder := httptest.NewRecorder()
	service.Formats(nil).ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, HostsPath+"?selector=site%3Dams", nil))
	require.NotContains(t, recorder.Body.String(), `"hosts"`)
	require.NotEqual(t, http.StatusOK, recorder.Code)
}

func TestSetHostLabels(t *testing.T) {
	service := startMany(t, Limits{})
	response, err := service.SetHostLabels(t.Context(), &gohubv1.SetHostLabelsRequest{HostId: 4, Labels: map[string]string{"site": "lon", "role": "db"}})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"site": "lon", "role": "db"}, response.GetHost().GetLabels())
	hosts, err := service.options.Store.(*sqlite.Store).Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"site": "lon", "role": "db"}, hosts[3].Labels)
	for text, request := range map[string]*gohubv1.SetHostLabelsRequest{
		"hostId is required":       {},
		"no host with id 9":        {HostId: 9},
		"no label can be named os": {HostId: 4, Labels: map[string]string{"os": "x"}},
		"has a control character":  {HostId: 4, Labels: map[string]string{"a": "x\x00"}},
		"is not made of 1 to 64":   {HostId: 4, Labels: map[string]string{"a b": "x"}},
	} {
		_, err := service.SetHostLabels(t.Context(), request)
		require.ErrorContains(t, err, text)
	}
}

// pieces takes a streamed answer.
type pieces struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*gohubv1.QueryRangeResponse
}

func (p *pieces) Context() context.Context { return p.ctx }

func (p *pieces) SendMsg(message any) error {
	response := message.(*parcel).message.(*gohubv1.QueryRangeStreamResponse)
	p.sent = append(p.sent, response.GetPart())
	return nil
}

func TestStreamIsTheAnswerInPieces(t *testing.T) {
	service := startMany(t, Limits{})
	request := load(func(r *gohubv1.QueryRangeRequest) {
		r.Step, r.From, r.Fill = 10, seconds(now.Add(-10*time.Hour)), "null"
	})
	whole, err := service.QueryRange(t.Context(), request)
	require.NoError(t, err)
	stream := &pieces{ctx: t.Context()}
	require.NoError(t, service.QueryRangeStream(&gohubv1.QueryRangeStreamRequest{Query: request},
		&grpc.GenericServerStream[gohubv1.QueryRangeStreamRequest, gohubv1.QueryRangeStreamResponse]{ServerStream: stream}))
	require.Len(t, stream.sent, 3, "the head, and two series of 3,601 points at once")
	require.Empty(t, stream.sent[0].GetSeries())
	joined := stream.sent[0]
	for _, piece := range stream.sent[1:] {
		require.Len(t, piece.GetSeries(), 2)
		joined.Series = append(joined.Series, piece.GetSeries()...)
	}
	wantBytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(whole)
	require.NoError(t, err)
	gotBytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(joined)
	require.NoError(t, err)
	require.Equal(t, wantBytes, gotBytes) // proto.Equal takes no NaN for another
}

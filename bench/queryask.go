package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// answer is values by what they are of: series, metric and time.
type answer map[string]float64

func (a answer) put(metric, series string, millis int64, value float64) {
	a[fmt.Sprint(metric, " of ", series, " at ", millis)] = value
}

// roundedTo is how far an answer may be from the exact value: GoHub gives seven digits.
const roundedTo = 1e-6

// equalAnswers compares what GoHub has with what plain SQL wants.
func equalAnswers(want, have answer) error {
	if len(want) != len(have) {
		return fmt.Errorf("GoHub's answer has %d values, that of plain SQL %d", len(have), len(want))
	}
	for key, value := range want {
		got, found := have[key]
		if !found {
			return fmt.Errorf("GoHub's answer lacks %s", key)
		}
		if math.Abs(got-value) > roundedTo*max(math.Abs(got), math.Abs(value)) {
			return fmt.Errorf("GoHub has %v for %s, plain SQL %v", got, key, value)
		}
	}
	return nil
}

// asker asks the running server and the database.
type asker struct {
	db         *pgx.Conn
	connection *grpc.ClientConn
	queries    gohubv1.QueryServiceClient
	web        *scraper
}

func newAsker(ctx context.Context, db *database, s *server) (*asker, error) {
	plain, err := connect(ctx, db)
	if err != nil {
		return nil, err
	}
	const largest = 64 << 20 // 4,000 hosts with their facts are over gRPC's 4 MiB
	connection, err := grpc.NewClient("passthrough:///"+s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a connection: %w", err), plain.Close(context.WithoutCancel(ctx)))
	}
	web := newScraper(s.HTTP)
	web.client.Timeout = time.Minute // the server gives up earlier, and says why
	return &asker{db: plain, connection: connection, queries: gohubv1.NewQueryServiceClient(connection), web: web}, nil
}

func (a *asker) close() {
	a.web.close()
	a.connection.Close()
	a.db.Close(context.Background())
}

// grpc asks, and tells where the answer was read.
func (a *asker) grpc(ctx context.Context, q question, i int) (answer, string, error) {
	if q.request == nil {
		return a.latest(ctx, q)
	}
	response, err := a.queries.QueryRange(ctx, q.request(i))
	if err != nil {
		return nil, "", err
	}
	found := answer{}
	for _, one := range response.GetSeries() {
		series := one.GetGroup()["site"]
		if one.GetHostId() != 0 {
			series = strconv.Itoa(int(one.GetHostId()))
		}
		values := one.GetAvg()
		if q.greatest {
			values = one.GetMax()
		}
		for j, at := range one.GetTimes() {
			if q.over == 0 || values[j] > q.over {
				found.put(one.GetMetric(), series, int64(math.Round(at*1000)), values[j])
			}
		}
	}
	return found, response.GetSource(), nil
}

func (a *asker) latest(ctx context.Context, q question) (answer, string, error) {
	response, err := a.queries.ListHosts(ctx, &gohubv1.ListHostsRequest{})
	if err != nil {
		return nil, "", err
	}
	found := answer{}
	for _, host := range response.GetHosts() {
		if latest := host.GetLatest(); latest != nil {
			found.put(q.metrics[0], strconv.Itoa(int(host.GetHostId())), latest.GetTime().AsTime().UnixMilli(), latest.GetValues()[q.metrics[0]])
		}
	}
	return found, "memory", nil
}

// rest asks the same over REST, and reads the answer's text.
func (a *asker) rest(ctx context.Context, q question, i int) error {
	path := "/api/v1/hosts"
	if q.request != nil {
		path = "/api/v1/range?" + parameters(q.request(i)).Encode()
	}
	response, err := a.web.get(ctx, path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// parameters are those of the request that questions use.
func parameters(request *gohubv1.QueryRangeRequest) url.Values {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	values := url.Values{"metrics": request.GetMetrics(), "group_by": request.GetGroupBy()}
	for name, value := range map[string]float64{
		"host_id": float64(request.GetHostId()), "from": request.GetFrom(), "to": request.GetTo(), "step": request.GetStep(), "max_points": float64(request.GetMaxPoints()),
	} {
		if value != 0 {
			values.Set(name, number(value))
		}
	}
	for _, host := range request.GetHostIds() {
		values.Add("host_ids", strconv.Itoa(int(host)))
	}
	for name, value := range map[string]string{"selector": request.GetSelector(), "aggregate": request.GetAggregate()} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return values
}

// sql asks the database for the same from samples. The statement's columns are the bucket's start in Unix milliseconds, the
// series, and a value for each of the question's metrics.
func (a *asker) sql(ctx context.Context, q question, i int) (answer, error) {
	// Its text is another each time, so there is nothing to gain from preparing it.
	rows, err := a.db.Query(ctx, q.sql(i), pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	var millis int64
	var series string
	values := make([]float64, len(q.metrics))
	dest := []any{&millis, &series}
	for j := range values {
		dest = append(dest, &values[j])
	}
	found := answer{}
	_, err = pgx.ForEachRow(rows, dest, func() error {
		for j, value := range values {
			found.put(q.metrics[j], series, millis, value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("plain SQL: %w", err)
	}
	return found, nil
}

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gohub-io/gohub/bench/fleet"
	"github.com/gohub-io/gohub/bench/measure"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// recentRun is one kind of question, asked often.
type recentRun struct {
	What  string  `json:"what"`
	Face  string  `json:"face"`
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	// Source is where the server says that it read a range.
	Source string `json:"source,omitempty"`
}

const (
	// Questions of each kind: enough for a 99th percentile of ranges. Of the newest values of all it is all but the highest.
	rangeQuestions, latestQuestions, decodedQuestions = 300, 300, 30
	// mostAnswerBytes bounds an answer with the newest values of a fleet.
	mostAnswerBytes = 64 << 20
)

var recentMetrics = []string{"cpu_usage_percent", "load1", "memory_used_percent"}

// runRecent stores an hour of a fleet, and asks for one host's last hour and for the newest values of all, by REST and by gRPC.
func runRecent(ctx context.Context, o *Options, report *measure.Report) (err error) {
	db, err := o.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if err := db.describe(ctx, report.Environment); err != nil {
		return err
	}
	s, err := o.startServer(ctx, db, "", "")
	if err != nil {
		return err
	}
	defer s.kill()
	ids, err := o.storeHour(ctx, s)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient("passthrough:///"+s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostAnswerBytes)),
		// A program that asks for megabytes lets them come at once.
		grpc.WithStaticStreamWindowSize(mostAnswerBytes), grpc.WithStaticConnWindowSize(mostAnswerBytes))
	if err != nil {
		return fmt.Errorf("connect by gRPC: %w", err)
	}
	defer connection.Close()
	rest := newScraper(s.HTTP)
	defer rest.close()
	asker := &recentAsker{options: o, rest: rest, connection: connection, grpc: gohubv1.NewQueryServiceClient(connection), ids: ids, random: rand.New(rand.NewPCG(1, 2))}
	if err := asker.awaitRollups(ctx); err != nil {
		return err
	}
	table := measure.Table{
		Title: "Recent values in milliseconds", Columns: []string{"question", "by", "asked", "p50", "p99", "highest", "source"},
		Notes: []string{
			fmt.Sprintf("%d hosts with %d samples each, %s apart, up to now; one question after the other, no ingest meanwhile; until the last byte is there", o.Hosts, o.Ticks, o.Interval),
			"decoded: into the generated types, with a map of its values for each host",
			fmt.Sprintf("last hour: %d metrics of one host, drawn anew for each question", len(recentMetrics)),
		},
	}
	for _, kind := range []struct {
		what, face string
		count      int
		ask        func(context.Context) (recentAnswer, error)
		target     string
		bounds     [2]float64
	}{
		{"last hour of a host", "REST", rangeQuestions, asker.rangeByREST, "recent_range_rest_p99_ms", [2]float64{10, 1}},
		{"last hour of a host", "gRPC", rangeQuestions, asker.rangeByGRPC, "recent_range_grpc_p99_ms", [2]float64{10, 1}},
		{"newest of all hosts", "REST", latestQuestions, asker.latestByREST, "latest_rest_p99_ms", [2]float64{20, 1}},
		{"newest of all hosts", "gRPC", latestQuestions, asker.latestByGRPC, "latest_grpc_p99_ms", [2]float64{20, 1}},
		{"newest of all hosts, decoded", "gRPC", decodedQuestions, asker.decodedByGRPC, "", [2]float64{}},
	} {
		one := recentRun{What: kind.what, Face: kind.face, Count: kind.count}
		var millis []float64
		for i := range kind.count + 1 {
			begin := time.Now()
			answer, err := kind.ask(ctx)
			took := time.Since(begin)
			if err == nil {
				one.Source, err = answer()
			}
			if err != nil {
				return fmt.Errorf("%s by %s: %w", kind.what, kind.face, err)
			}
			if i > 0 { // the first one connects
				millis = append(millis, float64(took.Microseconds())/1000)
			}
		}
		one.P50, one.P99, one.Max = measure.Median(millis), measure.Quantile(millis, 0.99), measure.Quantile(millis, 1)
		o.say("recent: %s by %s, p50 %s ms, p99 %s ms", one.What, one.Face, measure.Number(one.P50), measure.Number(one.P99))
		report.Runs = append(report.Runs, one)
		table.Rows = append(table.Rows, []string{
			one.What, one.Face, fmt.Sprint(one.Count), measure.Number(one.P50), measure.Number(one.P99), measure.Number(one.Max), one.Source,
		})
		if kind.target != "" {
			report.Target(kind.target, one.P99, "<=", kind.bounds[0])
			report.Target(kind.target+"_moonshot", one.P99, "<=", kind.bounds[1])
		}
	}
	report.Tables = append(report.Tables, table)
	return s.stop()
}

// awaitRollups waits until the hour is rolled up, which keeps both processors busy for some time.
func (a *recentAsker) awaitRollups(ctx context.Context) error {
	for {
		text, err := a.body(ctx, "/metrics")
		if err != nil {
			return err
		}
		if behind := counterOf(string(text), `gohub_rollup_lag_seconds{resolution="1m"}`); behind >= 0 && behind < 300 {
			return nil
		}
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// storeHour has a fleet send its samples up to now, waits until they are stored, and returns the hosts' ids.
func (o *Options) storeHour(ctx context.Context, s *server) ([]uint32, error) {
	agents := fleet.New(fleet.Options{
		Server: s.GRPC, Agents: o.Hosts, Connections: o.connections(o.Hosts), Interval: o.Interval, Window: o.Window, Seed: 1, Samples: o.Samples,
		Ticks: o.Ticks, Begin: time.Now().Add(-time.Duration(o.Ticks) * o.Interval), Shape: fleet.NewShape(o.Columns, o.Cores, o.Disks, o.Networks),
	})
	stopShow := o.progress(func() string {
		return fmt.Sprintf("recent: %d of %d samples stored", agents.Stats().Acked, o.Hosts*o.Ticks)
	})
	defer stopShow()
	agents.Start()
	if err := agents.Run(ctx); err != nil {
		return nil, errors.Join(err, agents.LastError())
	}
	return agents.HostIDs(), nil
}

// recentAsker asks one question at a time, and looks whether the answer is whole.
type recentAsker struct {
	options    *Options
	rest       *scraper
	connection *grpc.ClientConn
	grpc       gohubv1.QueryServiceClient
	ids        []uint32
	random     *rand.Rand
	// text is the newest answer as it came.
	text bytes.Buffer
}

func (a *recentAsker) host() uint32 { return a.ids[a.random.IntN(len(a.ids))] }

// recentAnswer looks whether an answer is whole, and tells what it was read from. What that takes is not the server's.
type recentAnswer func() (source string, err error)

// body asks by REST and returns the answer's text.
func (a *recentAsker) body(ctx context.Context, path string) ([]byte, error) {
	response, err := a.rest.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	a.text.Reset()
	_, err = a.text.ReadFrom(io.LimitReader(response.Body, mostAnswerBytes))
	return a.text.Bytes(), err
}

func (a *recentAsker) rangeByREST(ctx context.Context) (recentAnswer, error) {
	path := fmt.Sprintf("/api/v1/range?hostId=%d", a.host())
	for _, metric := range recentMetrics {
		path += "&metrics=" + metric
	}
	text, err := a.body(ctx, path)
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		var answer struct {
			Source string
			Series []struct{ Times []float64 }
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return "", fmt.Errorf("decode the range: %w", err)
		}
		if len(answer.Series) != len(recentMetrics) || len(answer.Series[0].Times) < a.fewestPoints() {
			return "", fmt.Errorf("the answer has %d series, or too few points: %.200s", len(answer.Series), text)
		}
		return answer.Source, nil
	}, nil
}

// fewestPoints is what an hour has at least, in buckets of the server's choice.
func (a *recentAsker) fewestPoints() int { return min(a.options.Ticks/2, 100) }

func (a *recentAsker) rangeByGRPC(ctx context.Context) (recentAnswer, error) {
	answer, err := a.grpc.QueryRange(ctx, &gohubv1.QueryRangeRequest{HostId: a.host(), Metrics: recentMetrics})
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		if len(answer.Series) != len(recentMetrics) || len(answer.Series[0].Times) < a.fewestPoints() {
			return "", fmt.Errorf("the answer has %d series, or too few points", len(answer.Series))
		}
		return answer.Source, nil
	}, nil
}

func (a *recentAsker) latestByREST(ctx context.Context) (recentAnswer, error) {
	text, err := a.body(ctx, "/api/v1/hosts")
	if err != nil {
		return nil, err
	}
	// Decoding it would leave garbage to collect while the next question is asked.
	return func() (string, error) {
		return a.whole(bytes.Count(text, []byte(`{"hostId":`)), bytes.Count(text, []byte(`"cpu_usage_percent":`)))
	}, nil
}

// latestByGRPC has the answer as it came, as by REST.
func (a *recentAsker) latestByGRPC(ctx context.Context) (recentAnswer, error) {
	var wire encodedMessage
	err := a.connection.Invoke(ctx, gohubv1.QueryService_ListHosts_FullMethodName, &gohubv1.ListHostsRequest{}, &wire, grpc.ForceCodecV2(encodedCodec{encoding.GetCodecV2(grpcproto.Name)}))
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		defer wire.data.Free()
		a.text.Reset()
		a.text.Grow(wire.data.Len())
		text, hosts := a.text.AvailableBuffer()[:wire.data.Len()], 0
		wire.data.CopyTo(text)
		for rest := text; len(rest) > 0; hosts++ {
			_, _, n := protowire.ConsumeField(rest)
			if n < 0 {
				return "", fmt.Errorf("decode the hosts: %w", protowire.ParseError(n))
			}
			rest = rest[n:]
		}
		return a.whole(hosts, bytes.Count(text, []byte("cpu_usage_percent")))
	}, nil
}

func (a *recentAsker) decodedByGRPC(ctx context.Context) (recentAnswer, error) {
	answer, err := a.grpc.ListHosts(ctx, &gohubv1.ListHostsRequest{})
	return func() (string, error) {
		sampled := 0
		for _, host := range answer.GetHosts() {
			if _, ok := host.GetLatest().GetValues()["cpu_usage_percent"]; ok {
				sampled++
			}
		}
		return a.whole(len(answer.GetHosts()), sampled)
	}, err
}

// whole holds a list of hosts against what was sent. It is always answered from memory.
func (a *recentAsker) whole(hosts, sampled int) (source string, err error) {
	if hosts != len(a.ids) || sampled != hosts {
		return "", fmt.Errorf("the answer has %d hosts of %d, %d with their processors' share", hosts, len(a.ids), sampled)
	}
	return "memory", nil
}

// encodedMessage is an answer as it came. Who asked frees it.
type encodedMessage struct{ data mem.BufferSlice }

// encodedCodec leaves an encodedMessage as it is.
type encodedCodec struct{ encoding.CodecV2 }

func (c encodedCodec) Unmarshal(data mem.BufferSlice, message any) error {
	if wire, ours := message.(*encodedMessage); ours {
		data.Ref()
		wire.data = data
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

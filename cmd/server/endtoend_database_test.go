//go:build endtoend

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// TestEndToEndDatabaseKill kills TimescaleDB with SIGKILL under load, several times, and starts it again. What was
// acknowledged must be there, everything must be there once in the end, and the server must recover by itself.
func TestEndToEndDatabaseKill(t *testing.T) {
	if os.Getenv("GOHUB_DATABASE_URL") != "" {
		t.Skip("GOHUB_DATABASE_URL names a database that is not ours to kill")
	}
	provide := func(command string) {
		output, err := exec.Command("../../deploy/timescaledb/provide", command).CombinedOutput()
		require.NoError(t, err, string(output))
	}
	url := storagetest.DatabaseURL(t)
	p := startProduct(t, "", "GOHUB_DATABASE_URL="+url)
	p.waitForHost()

	const agents, batches, kills = 20, 400, 3
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	var acked atomic.Int64
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	ids := make([]uuid.UUID, agents)
	resent := atomic.Int64{}
	for i := range ids {
		ids[i] = uuid.New()
		group.Go(func() {
			sender := &sender{id: ids[i], begin: begin, batches: batches, acked: &acked, resent: &resent}
			if err := sender.run(ctx, p.grpc); err != nil {
				t.Errorf("agent %d: %v", i, err)
			}
		})
	}
	for kill := int64(1); kill <= kills; kill++ {
		goal := kill * agents * batches / (kills + 1)
		require.Eventually(t, func() bool { return acked.Load() >= goal }, 2*time.Minute, 5*time.Millisecond)
		provide("kill")
		provide("start")
		requireStored(t, url, ids, acked.Load, batches, false)
	}
	group.Wait()
	requireStored(t, url, ids, acked.Load, batches, true)
	t.Logf("%d batches of %d agents, %d kills, %d batches sent again", agents*batches, agents, kills, resent.Load())
	require.Contains(t, p.server.output.String(), "storing samples again")
	p.agent.stop(t)
	p.server.stop(t)
}

// requireStored checks that no batch is stored twice, that at least those acknowledged are stored, and, when all, that
// every one is.
func requireStored(t *testing.T, url string, ids []uuid.UUID, acked func() int64, batches int, all bool) {
	t.Helper()
	least := acked()
	var connection *pgx.Conn
	require.Eventually(t, func() bool {
		var err error
		connection, err = pgx.Connect(t.Context(), url)
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	defer connection.Close(context.Background())
	var rows, distinct, right int64
	err := connection.QueryRow(t.Context(), `
		SELECT count(*), count(DISTINCT (host_id, time)), count(*) FILTER (WHERE uptime_seconds = load1::bigint)
		FROM host_samples JOIN hosts USING (host_id) WHERE agent_id = ANY($1)`, ids).Scan(&rows, &distinct, &right)
	require.NoError(t, err)
	require.Equal(t, rows, distinct, "no batch is stored twice")
	require.Equal(t, rows, right, "every row is what was sent")
	require.GreaterOrEqual(t, rows, least, "what was acknowledged is stored")
	if all {
		require.EqualValues(t, len(ids)*batches, rows, "nothing is missing")
	}
}

// sender is an agent that sends numbered batches and keeps each until it is acknowledged.
type sender struct {
	id      uuid.UUID
	begin   time.Time
	batches int
	acked   *atomic.Int64
	resent  *atomic.Int64

	trimmed, sent uint64
}

func (s *sender) run(ctx context.Context, address string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+agentToken)
	for s.trimmed < uint64(s.batches) {
		if err := s.stream(ctx, gohubv1.NewIngestServiceClient(connection)); ctx.Err() != nil {
			return fmt.Errorf("only %d of %d batches were acknowledged: %w", s.trimmed, s.batches, err)
		}
		select { // the server or its database is away
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// stream sends what is not acknowledged until all is, or the stream breaks.
func (s *sender) stream(ctx context.Context, client gohubv1.IngestServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Stream(ctx)
	if err != nil {
		return err
	}
	hello := &gohubv1.Hello{AgentId: s.id.String(), Epoch: 1, Facts: &gohubv1.HostFacts{Hostname: "simulated", IntervalMillis: 1000}}
	if err := stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	response, err := stream.Recv()
	if err != nil {
		return err
	}
	s.trim(response.GetWelcome().GetCommittedSeq())
	failed := make(chan error, 1)
	go func() {
		for seq := s.trimmed + 1; seq <= uint64(s.batches); seq++ {
			if err := stream.Send(&gohubv1.StreamRequest{Message: &gohubv1.StreamRequest_Batch{Batch: s.batch(seq)}}); err != nil {
				failed <- err
				return
			}
			if seq <= s.sent {
				s.resent.Add(1)
			}
			s.sent = max(s.sent, seq)
			select { // spread the load over the kills
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		failed <- nil
	}()
	for s.trimmed < uint64(s.batches) {
		if response, err = stream.Recv(); err != nil {
			break
		}
		s.trim(response.GetAck().GetSeq())
	}
	cancel()
	<-failed
	return err
}

func (s *sender) trim(seq uint64) {
	if seq > s.trimmed {
		s.acked.Add(int64(seq - s.trimmed))
		s.trimmed = seq
	}
}

func (s *sender) batch(seq uint64) *gohubv1.Batch {
	return &gohubv1.Batch{AgentId: s.id.String(), Epoch: 1, Seq: seq, Samples: []*gohubv1.Sample{{
		TimeUnixMillis: s.begin.Add(time.Duration(seq) * time.Second).UnixMilli(),
		Host:           &gohubv1.HostMetrics{Load1: proto.Float32(float32(seq)), UptimeSeconds: proto.Uint64(seq)},
	}}}
}

package ingest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// bare is a server without flushers: what streams put into its rings stays there for the test to look at.
type bare struct {
	server  *Server
	flusher *flusher
}

func startBare(f testing.TB) *bare {
	options := Options{Observer: ignore{}, Shards: 1, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
	server := NewServer(options)
	if err := server.Close(context.Background()); err != nil { // ends the flushers
		f.Fatal(err)
	}
	f.Cleanup(server.Wait)
	return &bare{server: server, flusher: &flusher{budget: &server.budget}}
}

// session is a stream that has said hello.
func (f *bare) session(id uuid.UUID) *session {
	return &session{
		server: f.server, stream: silent{}, host: 1, agent: id, agentID: id.String(), epoch: 7, shard: f.server.shards[0],
		budget: budget{limit: 1 << 40}, voice: voice{mute: true},
	}
}

// silent is a stream of which only the context is used.
type silent struct {
	grpc.ServerStream
}

func (silent) Context() context.Context { return context.Background() }

func memory(wire []byte) mem.Buffer { return mem.SliceBuffer(wire) }

func statusOf(err error) codes.Code { return status.Code(err) }

package main

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gohub-io/gohub/agent"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

const watchToken = "api-token-of-the-watch"

// startWatched runs a server that asks for a token, and an agent that takes a sample of this machine a second. Its end stops the
// server, and waits.
func startWatched(t *testing.T) (app *App, stop func()) {
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Password, config.APIToken = "correct horse battery", watchToken
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	stop = begin(t, app.Run)
	a, err := agent.New(agent.Options{
		Server: app.GRPCAddr(), AgentID: uuid.NewString(), Interval: agent.MinInterval, BufferBytes: agent.DefaultBufferBytes,
		DrainTimeout: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	begin(t, a.Run)
	return app, stop
}

// TestWatchFollowsAnAgent: from what an agent reads of this machine to a program that watches, through the authoriser.
func TestWatchFollowsAnAgent(t *testing.T) {
	app, stop := startWatched(t)
	connection, err := grpc.NewClient(app.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer connection.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := gohubv1.NewLiveServiceClient(connection)
	fleet := &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Fleet{Fleet: &gohubv1.FleetTopic{}}}

	refused, err := client.Watch(ctx, fleet)
	require.NoError(t, err)
	_, err = refused.Recv()
	require.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)

	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+watchToken)
	all, err := client.Watch(ctx, fleet)
	require.NoError(t, err)
	host := uint32(0)
	for host == 0 {
		message, err := all.Recv()
		require.NoError(t, err)
		for _, changed := range append(message.GetSnapshot().GetHosts(), message.GetDelta().GetHosts()...) {
			host = changed.GetHostId()
		}
	}
	one, err := client.Watch(ctx, &gohubv1.LiveRequest{Topic: &gohubv1.LiveRequest_Host{Host: &gohubv1.HostTopic{HostId: host}}})
	require.NoError(t, err)
	name, err := os.Hostname()
	require.NoError(t, err)
	var last time.Time
	seq, started := uint32(0), false
	for deltas := 0; deltas < 3; {
		message, err := one.Recv()
		require.NoError(t, err)
		switch {
		case message.GetSnapshot() != nil:
			started = true
		case message.GetDelta() != nil:
			require.True(t, started)
			require.Equal(t, seq+1, message.GetSeq())
			deltas++
			changed := message.GetDelta().GetHosts()[0]
			require.Equal(t, name, changed.GetFacts().GetHostname())
			require.Contains(t, changed.GetLatest().GetValues(), "memory_used_bytes")
			require.NotEmpty(t, changed.GetLatest().GetInstances())
			require.False(t, changed.GetLatest().GetTime().AsTime().Before(last))
			last = changed.GetLatest().GetTime().AsTime()
		default:
			continue // alerts
		}
		seq = message.GetSeq()
	}
	stop()
	for err == nil {
		_, err = one.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
}

// TestGoExampleOfTheLivePage builds the program of docs/live.md, and runs it against a server.
func TestGoExampleOfTheLivePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/live.md")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(page), "```go\n")
	require.True(t, found)
	program, _, found = strings.Cut(program, "```\n")
	require.True(t, found)
	directory := t.TempDir()
	source, binary := filepath.Join(directory, "main.go"), filepath.Join(directory, "watch")
	require.NoError(t, os.WriteFile(source, []byte(program), 0o600))
	said, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source).CombinedOutput()
	require.NoError(t, err, "%s", said)

	app, stop := startWatched(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	example := exec.CommandContext(ctx, binary, app.GRPCAddr(), watchToken)
	output, err := example.StdoutPipe()
	require.NoError(t, err)
	var complaint strings.Builder
	example.Stderr = &complaint
	require.NoError(t, example.Start())
	name, err := os.Hostname()
	require.NoError(t, err)
	for lines, up := bufio.NewScanner(output), 0; up < 2; {
		require.True(t, lines.Scan(), "%s", complaint.String())
		if strings.HasPrefix(lines.Text(), name+" HOST_STATUS_UP ") {
			up++
		}
	}
	stop()
	require.Error(t, example.Wait())
	require.Contains(t, complaint.String(), "Unavailable")
}

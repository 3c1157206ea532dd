package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadyFileTellsWhereTheServerServes(t *testing.T) {
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.ReadyFile = filepath.Join(t.TempDir(), "ready")
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoFileExists(t, config.ReadyFile, "it does not serve yet")
	want := fmt.Sprintf("dashboard=http://%s/\ngrpc=%s\n", app.HTTPAddr(), app.GRPCAddr())

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(config.ReadyFile)
		return err == nil && string(content) == want
	}, 10*time.Second, 10*time.Millisecond)
	stop()
	require.NoError(t, <-ended)
	require.NoFileExists(t, config.ReadyFile)
}

func TestReadyFileThatCanNotBeWrittenStopsTheServer(t *testing.T) {
	config := defaultConfig()
	config.HTTPListen, config.GRPCListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.ReadyFile = filepath.Join(t.TempDir(), "nowhere", "ready")
	app, err := NewApp(t.Context(), config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.ErrorContains(t, app.Run(t.Context()), "write ready_file: open "+config.ReadyFile)
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":7700": "127.0.0.1:7700", "0.0.0.0:7700": "127.0.0.1:7700", "[::]:7700": "127.0.0.1:7700", "[::1]:7700": "[::1]:7700",
		"127.0.0.1:7700": "127.0.0.1:7700", "192.0.2.7:7700": "192.0.2.7:7700", "gohub.example.org:7700": "gohub.example.org:7700",
	} {
		require.Equal(t, want, reachable(listen), listen)
	}
}

func TestNameForIsOneThatTheCertificateHas(t *testing.T) {
	for want, certificate := range map[string]*x509.Certificate{
		"127.0.0.1":         {DNSNames: []string{"gohub.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
		"gohub.example.org": {DNSNames: []string{"gohub.example.org", "other.example.org"}},
		"gohub.example.net": {DNSNames: []string{"*.example.net"}},
		"192.0.2.7":         {IPAddresses: []net.IP{net.IPv4(192, 0, 2, 7)}},
		"":                  {},
	} {
		name := nameFor(certificate, "127.0.0.1:7701")
		require.Equal(t, want, name)
		if want != "" {
			require.NoError(t, certificate.VerifyHostname(name))
		}
	}
}

// Command gohub-agent measures the machine it runs on and streams what it measures to a GoHub server. It reads the
// configuration, wires package agent to it, and waits.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/gohub-io/gohub/agent"
	"github.com/gohub-io/gohub/proto/label"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version = "dev"

const help = `gohub-agent measures this machine and streams what it measures to a GoHub server.

Usage:
  gohub-agent run [flags]            measure and stream until stopped
  gohub-agent once [--json] [flags]  measure once, print, and exit (takes a second; needs no server)
  gohub-agent version                print the version

Every flag can be set by an environment variable or in a YAML file too. A flag wins over the environment, the
environment over the file, the file over the default.

Samples wait on disk, in spool below the state directory, until the server has stored them: a stop, a crash or a kill of
the agent loses none that the disk took. A power cut loses at most what the last second took, or the last sample if the
interval is 5s or more. When the spool is full the oldest go, and the server is told which time is missing.

Flags:
`

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // it started, and something went wrong
	exitUsage  = 2 // the command line or the configuration is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // a megabyte less memory for a collection now and then: the heap is small
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // each more has caches and threads of its own, and a sample is a millisecond's work
	}
	os.Exit(execute(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// execute runs one command and returns its exit status.
func execute(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "version" || command == "" && len(args) > 0 && strings.TrimLeft(args[0], "-") == "version" {
		fmt.Fprintln(stdout, "gohub-agent", version)
		return exitOK
	}
	if command == "help" {
		command, args = "", []string{"--help"}
	}
	if command != "run" && command != "once" && command != "" {
		fmt.Fprintf(stderr, "gohub-agent: unknown command %q; there are run, once and version (see gohub-agent --help)\n", command)
		return exitUsage
	}
	c, err := load(args, environ)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		printFlags(stdout)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "gohub-agent: %v\n", err)
		return exitUsage
	case command == "":
		fmt.Fprint(stderr, help)
		printFlags(stderr)
		return exitUsage
	}
	log := newLogger(c, stderr)
	if command == "once" {
		err = once(ctx, c, log, stdout)
	} else {
		err = run(ctx, c, log)
	}
	if err != nil {
		fmt.Fprintf(stderr, "gohub-agent: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func newLogger(c *config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // validated
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func run(ctx context.Context, c *config, log *slog.Logger) error {
	transport, err := c.transport(log)
	if err != nil {
		return err
	}
	token, err := c.tokenSource()
	if err != nil {
		return err
	}
	if c.Token == "" && c.TokenFile == "" {
		level := slog.LevelWarn
		if isLoopback(c.Server) { // where a server takes agents without one by default
			level = slog.LevelInfo
		}
		log.Log(ctx, level, "no token is set; the server will refuse this agent unless it takes agents without one", "set", "GOHUB_TOKEN or GOHUB_TOKEN_FILE")
	}
	id, err := agent.LoadIdentity(c.StateDir, agent.ReadFingerprint(ctx, c.sampling()), log)
	if errors.Is(err, agent.ErrStateDir) {
		return fmt.Errorf("%w\nThe state directory is %s; make it writable for this user, or set another one with --state-dir or GOHUB_STATE_DIR", err, c.StateDir)
	}
	if err != nil {
		return err
	}
	spool, err := openSpool(c, id, log)
	if err != nil {
		return err
	}
	labels, err := label.Parse(c.Labels)
	if err != nil {
		return errors.Join(fmt.Errorf("labels: %w", err), spool.Close())
	}
	a, err := agent.New(agent.Options{
		Server:       c.Server,
		TLS:          transport,
		Token:        token,
		AgentID:      id,
		Interval:     c.Interval,
		Labels:       labels,
		Sampling:     c.sampling(),
		CustomSocket: c.CustomSocket,
		Spool:        spool,
		DrainTimeout: agent.DefaultDrainTimeout,
		Version:      version,
		Logger:       log,
	})
	if err != nil {
		return errors.Join(err, spool.Close())
	}
	return a.Run(ctx)
}

// syncEveryInterval is from which interval on each sample is made durable by itself; shorter ones share a sync a second.
const syncEveryInterval = 5 * time.Second

func openSpool(c *config, id string, log *slog.Logger) (*agent.DiskSpool, error) {
	o := agent.DiskSpoolOptions{
		AgentID: id, Directory: filepath.Join(c.StateDir, "spool"),
		MaxBytes: c.SpoolMaxBytes, MemoryBytes: c.BufferBytes, Logger: log,
	}
	if c.Interval < syncEveryInterval {
		o.SyncEvery = time.Second
	}
	spool, err := agent.OpenDiskSpool(o)
	if errors.Is(err, agent.ErrSpoolLocked) {
		return nil, fmt.Errorf("%w\nAnother agent runs with the state directory %s; stop it, or give this one its own with --state-dir or GOHUB_STATE_DIR", err, c.StateDir)
	}
	return spool, err
}

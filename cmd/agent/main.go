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
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/gohub-io/gohub/agent"
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
	for _, name := range c.unknown {
		log.Warn("environment variable is not known; is it misspelt?", "variable", name)
	}
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
		log.Warn("no token is set; the server will refuse this agent unless it takes agents without one", "set", "GOHUB_TOKEN or GOHUB_TOKEN_FILE")
	}
	id, err := agent.LoadIdentity(c.StateDir)
	if errors.Is(err, agent.ErrStateDir) {
		return fmt.Errorf("%w\nThe state directory is %s; make it writable for this user, or set another one with --state-dir or GOHUB_STATE_DIR", err, c.StateDir)
	}
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{
		Server:       c.Server,
		TLS:          transport,
		Token:        token,
		AgentID:      id,
		Interval:     c.Interval,
		Sampling:     c.sampling(),
		BufferBytes:  c.BufferBytes,
		DrainTimeout: agent.DefaultDrainTimeout,
		Version:      version,
		Logger:       log,
	})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// Command gohub-server takes what agents send, stores it, and shows it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for the time zones of queries, where the system has none (containers, Windows)

	"github.com/spf13/pflag"

	"github.com/gohub-io/gohub/auth"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/timescale"
)

// version is set by the linker.
var version = "dev"

const usage = `gohub-server takes the samples of GoHub's agents, stores them and serves the dashboard.

Usage:
  gohub-server [serve] [flags]     run the server
  gohub-server healthcheck [flags] exit 0 if the server with these settings answers
  gohub-server storage adopt-community [flags]
                                   move the rollups of an Apache-edition TimescaleDB to the Community edition's
  gohub-server hash-password       read a password from standard input, print its hash
  gohub-server sql-user NAME       make a database role that may read the views for analysts (--password-file, --drop)
  gohub-server export --dir DIR    write hosts and samples into Parquet files (--from, --to, --selector, --resolution)
  gohub-server import DIR          store what an export wrote
  gohub-server backup FILE         copy the SQLite database while the server runs
  gohub-server version             print the version
`

func main() {
	if err := run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gohub-server:", err)
		os.Exit(1)
	}
}

// run does what the arguments say. Help that was asked for and printed is no error.
func run(args, environ []string, stdin io.Reader, stdout io.Writer) error {
	err := dispatch(args, environ, stdin, stdout)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	return err
}

func dispatch(args, environ []string, stdin io.Reader, stdout io.Writer) error {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "version":
		fmt.Fprintln(stdout, version)
		return nil
	case "hash-password":
		return hashPassword(stdin, stdout)
	case "sql-user", "export", "import", "backup":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		switch command {
		case "export":
			return exportData(ctx, args, environ, stdout, os.Stderr)
		case "import":
			return importData(ctx, args, environ, stdout, os.Stderr)
		case "backup":
			return backUp(ctx, args, environ, stdout)
		default:
			return sqlUser(ctx, args, environ, stdout)
		}
	case "serve", "healthcheck":
	case "storage":
		if len(args) == 0 || args[0] != "adopt-community" {
			return errors.New("what to do with the storage? It knows adopt-community; see gohub-server --help")
		}
		args = args[1:]
	case "help":
		args = []string{"--help"}
	default:
		return fmt.Errorf("unknown command %q; see gohub-server --help", command)
	}

	config, err := loadConfig(args, environ, stdout)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch command {
	case "healthcheck":
		return healthcheck(ctx, config)
	case "storage":
		return adoptCommunity(ctx, config, stdout)
	}
	return serve(ctx, config, newLogger(config, os.Stderr))
}

// adoptCommunity moves rollups to continuous aggregates.
func adoptCommunity(ctx context.Context, config Config, stdout io.Writer) error {
	if config.DatabaseURL == "" {
		return errors.New("database_url is not set: SQLite has no editions")
	}
	store, err := timescale.Open(ctx, config.DatabaseURL, storage.Options{Idle: true})
	if err != nil {
		return err
	}
	err = store.AdoptCommunity(ctx)
	if err == nil {
		fmt.Fprintln(stdout, "rollups are continuous aggregates from today on; the tables count for the time before")
	}
	return errors.Join(err, store.Close())
}

func serve(ctx context.Context, config Config, log *slog.Logger) error {
	app, err := NewApp(ctx, config, log)
	if err != nil {
		return err
	}
	return app.Run(ctx)
}

func newLogger(config Config, output io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.LogLevel)); err != nil {
		level = slog.LevelInfo // check has refused other names
	}
	options := &slog.HandlerOptions{Level: level}
	if config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(output, options))
	}
	return slog.New(slog.NewTextHandler(output, options))
}

func hashPassword(stdin io.Reader, stdout io.Writer) error {
	// Longer than any password, and a bound on what is read.
	line, err := io.ReadAll(io.LimitReader(stdin, 4096))
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	hash, err := auth.HashPassword(string(line))
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, hash)
	return nil
}

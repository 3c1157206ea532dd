package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/proto/label"
	"github.com/gohub-io/gohub/query"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/archive"
	"github.com/gohub-io/gohub/storage/sqlite"
)

// exportData writes the database into a directory of Parquet files.
func exportData(ctx context.Context, args, environ []string, stdout, progress io.Writer) error {
	c := newCommand("export", stdout)
	directory := c.flags.String("dir", "", "directory to export to, or whose interrupted export goes on")
	from := c.flags.String("from", "", "first time to export, as 2026-05-17 or 2026-05-17T12:00:00Z; without it the oldest")
	to := c.flags.String("to", "", "end of the time to export, which is left out; without it now")
	selector := c.flags.String("selector", "", `hosts to export, as site="ams"; without it all`)
	resolution := c.flags.String("resolution", "all", "raw, 1m, 1h, 1d, several with commas, or all")
	config, err := c.parse(args, environ, stdout)
	if err != nil {
		return err
	}
	if *directory == "" || c.flags.NArg() > 0 {
		return errors.New("export needs a directory and takes no other argument: gohub-server export --dir DIR")
	}
	options := archive.ExportOptions{Directory: *directory, Selector: *selector, Server: version, Now: time.Now()}
	if options.From, err = parseTime("from", *from); err != nil {
		return err
	}
	if options.To, err = parseTime("to", *to); err != nil {
		return err
	}
	if !options.From.IsZero() && !options.To.IsZero() && !options.From.Before(options.To) {
		return fmt.Errorf("--from %s is not before --to %s", *from, *to)
	}
	if options.Resolutions, err = parseResolutions(*resolution); err != nil {
		return err
	}
	if *selector != "" {
		if _, err := query.Select(*selector, nil); err != nil {
			return err
		}
		options.Select = func(hosts []storage.ArchivedHost) ([]storage.ArchivedHost, error) {
			return selectHosts(*selector, hosts)
		}
	}
	if config.DatabaseURL == "" { // an empty one would be made
		if err := sqlite.Find(config.DataDir); err != nil {
			return fmt.Errorf("export: %w; set GOHUB_DATA_DIR to the directory of the server's database, or GOHUB_DATABASE_URL", err)
		}
	}
	store, err := openDatabase(ctx, config, storage.Options{Idle: true, Logger: newLogger(config, progress)})
	if err != nil {
		return err
	}
	defer store.Close()
	description, err := store.Describe(ctx)
	if err != nil {
		return err
	}
	options.Database = description.Driver + " " + description.Version
	bar := newBar(progress)
	options.Progress = bar.show
	done, err := archive.Export(ctx, store, options)
	bar.end()
	if err != nil {
		return interruptedBy(ctx, err)
	}
	fmt.Fprintf(stdout, "exported %s rows of %d hosts into %d files of %s in %s\n",
		humanize.Comma(done.Rows), done.Hosts, done.Files, humanize.Bytes(uint64(done.Bytes)), *directory)
	return nil
}

// importData stores a directory of Parquet files.
func importData(ctx context.Context, args, environ []string, stdout, progress io.Writer) error {
	c := newCommand("import", stdout)
	config, err := c.parse(args, environ, stdout)
	if err != nil {
		return err
	}
	if c.flags.NArg() != 1 {
		return errors.New("import takes the directory of one export: gohub-server import DIR")
	}
	store, err := openDatabase(ctx, config, storage.Options{Idle: true, Logger: newLogger(config, progress)})
	if err != nil {
		return err
	}
	defer store.Close()
	bar := newBar(progress)
	done, err := archive.Import(ctx, store, c.flags.Arg(0), bar.show)
	bar.end()
	if err != nil {
		return interruptedBy(ctx, err)
	}
	fmt.Fprintf(stdout, "imported %s rows of %d hosts from %d files\n", humanize.Comma(done.Stored), done.Hosts, done.Files)
	for _, left := range []struct {
		rows int64
		why  string
	}{
		{done.Present, "were there already"},
		{done.Expired, "are older than the retention settings keep"},
		{done.Ahead, "are rollups of a time that is not over; they are made of the samples"},
	} {
		if left.rows > 0 {
			fmt.Fprintf(stdout, "%s rows were left out: they %s\n", humanize.Comma(left.rows), left.why)
		}
	}
	return nil
}

// backUp copies the SQLite database while a server works on it.
func backUp(ctx context.Context, args, environ []string, stdout io.Writer) error {
	c := newCommand("backup", stdout)
	config, err := c.parse(args, environ, stdout)
	if err != nil {
		return err
	}
	if c.flags.NArg() != 1 {
		return errors.New("backup takes the name of a new file: gohub-server backup FILE")
	}
	if config.DatabaseURL != "" {
		return errors.New("backup copies the SQLite database; of TimescaleDB, pg_dump or a physical backup does (docs/backup.md)")
	}
	if err := sqlite.Backup(ctx, config.DataDir, c.flags.Arg(0)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "backed up into %s\n", c.flags.Arg(0))
	return nil
}

// interruptedBy tells who pressed Ctrl-C that nothing is lost by it.
func interruptedBy(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; run the same command again, it goes on where it was (%w)", ctx.Err())
	}
	return err
}

// parseTime reads a date or a time; an empty one is zero.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s is %q, which is no time such as 2026-05-17 or 2026-05-17T12:00:00Z", flag, text)
}

func parseResolutions(text string) (resolutions []storage.Resolution, err error) {
	if text == "all" {
		return storage.Resolutions[:], nil
	}
	names := map[string]storage.Resolution{}
	for _, r := range storage.Resolutions {
		names[r.String()] = r
	}
	for name := range strings.SplitSeq(text, ",") {
		r, known := names[name]
		if !known {
			return nil, fmt.Errorf("--resolution is %q; allowed are raw, 1m, 1h, 1d, several with commas, or all", text)
		}
		resolutions = append(resolutions, r)
	}
	slices.Sort(resolutions)
	return slices.Compact(resolutions), nil
}

// selectHosts picks hosts as queries do.
func selectHosts(selector string, hosts []storage.ArchivedHost) ([]storage.ArchivedHost, error) {
	identities := make([]*gohubv1.Host, len(hosts))
	places := map[*gohubv1.Host]int{}
	for i, host := range hosts {
		identities[i] = &gohubv1.Host{
			HostId: uint32(host.ID), AgentId: host.AgentID.String(), Facts: host.Facts,
			Labels: label.Merge(host.Facts.GetLabels(), host.Labels), ServerLabels: host.Labels,
		}
		places[identities[i]] = i
	}
	picked, err := query.Select(selector, identities)
	if err != nil {
		return nil, err
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("the selector %s picks none of %d hosts", selector, len(hosts))
	}
	chosen := make([]storage.ArchivedHost, len(picked))
	for i, host := range picked {
		chosen[i] = hosts[places[host]]
	}
	return chosen, nil
}

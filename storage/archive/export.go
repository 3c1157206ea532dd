package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// ErrOtherExport: the directory has an export that was asked for something else.
var ErrOtherExport = errors.New("the directory holds another export")

// ExportOptions say what is exported, and where to.
type ExportOptions struct {
	Directory string
	// From is included, To is not. Zero times are no bound; the export ends at Now in any case.
	From, To time.Time
	// Resolutions in any order, at least one.
	Resolutions []storage.Resolution
	// Selector is the text of Select, which picks hosts; a nil Select picks all.
	Selector string
	Select   func([]storage.ArchivedHost) ([]storage.ArchivedHost, error)
	// Server and Database are noted in the manifest.
	Server, Database string
	Now              time.Time
	// Progress is told after every step; nil tells no one.
	Progress func(Progress)
}

// Exported is what a run has done. Rows and Bytes are of the whole export, with what earlier runs wrote.
type Exported struct {
	Hosts       int
	Files       int
	Rows, Bytes int64
}

// Export writes the tables, one file a table and period, and goes on where an earlier run of the same export was interrupted.
// Every file is read from the database as it is at that time: rows that come late meanwhile may be missing.
func Export(ctx context.Context, store storage.Archive, options ExportOptions) (Exported, error) {
	e := &export{store: store, options: options}
	if err := e.begin(ctx); err != nil {
		return Exported{}, err
	}
	files, err := e.plan(ctx)
	if err != nil {
		return Exported{}, err
	}
	for _, file := range files {
		if err := e.write(ctx, file); err != nil {
			return Exported{}, fmt.Errorf("export %s: %w", file.name, err)
		}
	}
	e.manifest.Whole = true
	if err := e.manifest.write(options.Directory); err != nil {
		return Exported{}, err
	}
	done := Exported{Hosts: len(e.hosts)}
	for _, entry := range e.manifest.Files {
		if entry.Rows > 0 {
			done.Files, done.Rows, done.Bytes = done.Files+1, done.Rows+entry.Rows, done.Bytes+entry.Bytes
		}
	}
	return done, nil
}

// export is one run.
type export struct {
	store    storage.Archive
	options  ExportOptions
	manifest manifest
	hosts    []storage.HostID
	progress Progress
}

// exportFile is a file to write.
type exportFile struct {
	name  string
	table storage.Table
	span  storage.Span
}

// begin takes an earlier run's manifest up, or makes one, and writes the hosts.
func (e *export) begin(ctx context.Context) error {
	asked := e.question()
	found, err := readManifest(e.options.Directory)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.fresh(ctx, asked)
	case err != nil:
		return err
	case !reflect.DeepEqual(found.Asked, asked):
		return fmt.Errorf("%w: %s was asked for other times, hosts or resolutions; ask for the same to go on with it, or choose another --dir", ErrOtherExport, e.options.Directory)
	case found.Whole:
		return fmt.Errorf("%w: %s is whole, and from %s; choose another --dir for a newer one", ErrOtherExport, e.options.Directory, found.Created.Format(time.RFC3339))
	}
	e.manifest = found
	hosts, err := readHosts(e.options.Directory, found)
	for _, host := range hosts {
		e.hosts = append(e.hosts, host.ID)
	}
	return err
}

func (e *export) question() question {
	var asked question
	bound := func(at time.Time) *time.Time {
		if at.IsZero() {
			return nil
		}
		at = at.UTC().Round(0)
		return &at
	}
	asked.From, asked.To, asked.Selector = bound(e.options.From), bound(e.options.To), e.options.Selector
	for _, r := range storage.Resolutions {
		for _, wanted := range e.options.Resolutions {
			if r == wanted {
				asked.Resolutions = append(asked.Resolutions, r.String())
			}
		}
	}
	return asked
}

func (e *export) fresh(ctx context.Context, asked question) error {
	if err := os.MkdirAll(e.options.Directory, 0o700); err != nil {
		return fmt.Errorf("make the directory of the export: %w", err)
	}
	hosts, err := e.store.ArchivedHosts(ctx)
	if err == nil && e.options.Select != nil {
		hosts, err = e.options.Select(hosts)
	}
	if err != nil {
		return err
	}
	entry, err := writeHosts(e.options.Directory, hosts)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		e.hosts = append(e.hosts, host.ID)
	}
	until := e.options.Now.UTC()
	if to := e.options.To; !to.IsZero() && to.Before(until) {
		until = to.UTC()
	}
	e.manifest = manifest{
		Format: manifestFormat, Server: e.options.Server, Database: e.options.Database, Created: e.options.Now.UTC().Truncate(time.Second),
		Asked: asked, Until: until, Files: []fileEntry{entry},
	}
	return e.manifest.write(e.options.Directory)
}

// plan finds the files that are not whole yet.
func (e *export) plan(ctx context.Context) (files []exportFile, err error) {
	if len(e.hosts) == 0 {
		return nil, nil
	}
	done := map[string]bool{}
	for _, entry := range e.manifest.Files {
		done[entry.Name] = true
	}
	for _, table := range storage.Tables(e.options.Resolutions...) {
		extent, err := e.store.Extent(ctx, table, e.hosts)
		if err != nil {
			return nil, err
		}
		if extent.From.Before(e.options.From) {
			extent.From = e.options.From
		}
		if extent.To.After(e.manifest.Until) {
			extent.To = e.manifest.Until
		}
		for at := extent.From; at.Before(extent.To); {
			span := period(table.Resolution, at)
			name := fileName(table, span)
			at = span.To
			if span.From.Before(e.options.From) {
				span.From = e.options.From
			}
			if span.To.After(extent.To) {
				span.To = extent.To
			}
			batches := (len(e.hosts) + hostsAtOnce(table.Resolution) - 1) / hostsAtOnce(table.Resolution)
			if e.progress.Total += batches; done[name] {
				e.progress.Done += batches
				continue
			}
			files = append(files, exportFile{name, table, span})
		}
	}
	return files, nil
}

// hostsAtOnce is how many hosts one query reads a period of: such that there are some ten thousand rows to sort.
func hostsAtOnce(r storage.Resolution) int {
	return [...]int{storage.Raw: 2, storage.Minute: 16, storage.Hour: 32, storage.Day: 64}[r]
}

func (e *export) write(ctx context.Context, file exportFile) error {
	e.progress.File = file.name
	entry, err := writeFile(e.options.Directory, file.name, file.table.Columns(), func(yield func([]storage.Cell) error) error {
		width := hostsAtOnce(file.table.Resolution)
		for first := 0; first < len(e.hosts); first += width {
			hosts := e.hosts[first:min(first+width, len(e.hosts))]
			err := e.store.ReadRows(ctx, file.table, hosts, file.span, func(row []storage.Cell) error {
				e.progress.Rows++
				return yield(row)
			})
			if err != nil {
				return err
			}
			e.progress.Done++
			if e.options.Progress != nil {
				e.options.Progress(e.progress)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	entry.Family, entry.Resolution = file.table.Family.Name, file.table.Resolution.String()
	e.manifest.Files = append(e.manifest.Files, entry)
	return e.manifest.write(e.options.Directory)
}

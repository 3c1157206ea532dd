package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/gohub-io/gohub/proto/catalogue"
	"github.com/gohub-io/gohub/storage"
)

// Imported is what a run has done.
type Imported struct {
	Hosts, Files int
	storage.ImportCounts
}

// partCells bounds what one transaction takes: 40 bytes each, and as much again as tuples.
const partCells = 300_000

// Import stores an export. It may be interrupted and run again at any time, and from any number of exports: what is there stays
// as it is, and nothing is stored twice. Samples come first, then what was rolled up, the finest first, because a store makes
// the rollups of what it has samples of itself.
//
//	manifest ──▶ every file is what was exported? ──▶ hosts ──▶ raw ──▶ settle ──▶ 1m ──▶ settle ──▶ 1h ──▶ settle ──▶ 1d
func Import(ctx context.Context, store storage.Archive, directory string, progress func(Progress)) (Imported, error) {
	i := &importer{store: store, directory: directory, tell: progress}
	if err := i.begin(ctx); err != nil {
		return Imported{}, err
	}
	for _, r := range storage.Resolutions {
		files := i.pending[r]
		if len(files) == 0 {
			continue
		}
		if r != storage.Raw {
			if err := i.settle(ctx); err != nil {
				return i.done, err
			}
		}
		for _, file := range files {
			if err := i.file(ctx, file); err != nil {
				return i.done, err
			}
			i.done.Files++
		}
	}
	return i.done, i.settle(ctx)
}

func (i *importer) settle(ctx context.Context) error {
	if i.tell != nil {
		progress := i.progress
		progress.Settling = true
		i.tell(progress)
	}
	return i.store.Settle(ctx)
}

// importer is one run.
type importer struct {
	store     storage.Archive
	directory string
	// ids has the ids that hosts have here, by those that they had where they come from.
	ids      map[storage.HostID]storage.HostID
	pending  [len(storage.Resolutions)][]importFile
	progress Progress
	tell     func(Progress)
	done     Imported
}

type importFile struct {
	fileEntry
	table storage.Table
	// from is how many rows are imported already.
	from int64
}

// begin reads the manifest, holds all files that are to be imported against it, and imports the hosts.
func (i *importer) begin(ctx context.Context) error {
	m, err := readManifest(i.directory)
	if err != nil {
		return err
	}
	if !m.Whole {
		return fmt.Errorf("the export in %s is not finished; run the same export again, it goes on where it was", i.directory)
	}
	hosts, err := readHosts(i.directory, m)
	if err != nil {
		return err
	}
	for _, entry := range m.Files {
		if entry.Rows == 0 || entry.Name == hostsName {
			continue
		}
		if err := i.consider(ctx, entry); err != nil {
			return err
		}
	}
	i.done.Hosts = len(hosts)
	i.ids, err = i.store.ImportHosts(ctx, hosts)
	return err
}

// consider finds what is left of a file, and verifies it.
func (i *importer) consider(ctx context.Context, entry fileEntry) error {
	family, known := catalogue.FamilyByName(entry.Family)
	resolution := slices.IndexFunc(storage.Resolutions[:], func(r storage.Resolution) bool { return r.String() == entry.Resolution })
	if !known || resolution < 0 || (resolution > 0 && !storage.RolledUp(family)) {
		return fmt.Errorf("%s is of the family %q at %q, which is not known here; use a gohub-server as new as the one that made the export", entry.Name, entry.Family, entry.Resolution)
	}
	progress, err := i.store.Imported(ctx, entry.SHA256)
	if err != nil {
		return err
	}
	i.progress.Total += int(entry.Rows)
	if progress.Whole {
		i.progress.Done += int(entry.Rows)
		return nil
	}
	if err := entry.verify(i.directory); err != nil {
		return err
	}
	i.progress.Done += int(progress.Rows)
	table := storage.Table{Family: family, Resolution: storage.Resolution(resolution)}
	i.pending[resolution] = append(i.pending[resolution], importFile{entry, table, progress.Rows})
	return nil
}

// file imports what is left of one.
func (i *importer) file(ctx context.Context, file importFile) error {
	columns := file.table.Columns()
	most := partCells / len(columns)
	var (
		room = make([]storage.Cell, 0, partCells)
		part = storage.ImportPart{Digest: file.SHA256, Name: file.Name, Table: file.table, From: file.from, To: file.from}
	)
	store := func() error {
		counts, err := i.store.ImportRows(ctx, part)
		if err != nil {
			return err
		}
		i.done.Add(counts)
		i.progress.File, i.progress.Done, i.progress.Rows = file.Name, i.progress.Done+len(part.Rows), i.progress.Rows+int64(len(part.Rows))
		if i.tell != nil {
			i.tell(i.progress)
		}
		part.From, part.Rows, room = part.To, part.Rows[:0], room[:0]
		return nil
	}
	err := readFile(i.directory, file.Name, columns, file.from, func(row []storage.Cell) error {
		id, known := i.ids[storage.HostID(row[storage.HostColumn].Int)]
		if !known {
			return fmt.Errorf("%w: %s has rows of host %d, which %s does not have", ErrDamaged, file.Name, row[storage.HostColumn].Int, hostsName)
		}
		row[storage.HostColumn].Int = int64(id)
		if len(part.Rows) >= most && !sameMoment(part.Rows[len(part.Rows)-1], row) {
			if err := store(); err != nil {
				return err
			}
		}
		begin := len(room)
		room = append(room, row...)
		part.Rows = append(part.Rows, room[begin:len(room):len(room)])
		part.To++
		return nil
	})
	if err != nil {
		return err
	}
	part.Whole = true
	if part.To != file.Rows {
		return fmt.Errorf("%w: %s has %d rows, the manifest says %d", ErrDamaged, file.Name, part.To, file.Rows)
	}
	return store()
}

// sameMoment says that two rows are of one host and time: they are stored together.
func sameMoment(a, b []storage.Cell) bool {
	return a[storage.HostColumn].Int == b[storage.HostColumn].Int && a[storage.TimeColumn].Int == b[storage.TimeColumn].Int
}

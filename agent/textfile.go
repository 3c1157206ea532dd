package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// textfileSuffix ends the names of files that are read.
	textfileSuffix = ".prom"
	// maxTextfiles bounds the files, and maxDirectoryEntries what is looked through for them.
	maxTextfiles        = 200
	maxDirectoryEntries = 10_000
	// textfilePatience is how long a directory or a file may take, on a disk or a network that hangs.
	textfilePatience = 2 * time.Second
	// settledFor is how old a file's last change must be for it to be known by its time and size: the time is not exact, and two
	// changes may share it.
	settledFor = 2 * time.Second
)

// textfiles is a directory of files in the text format. They are read again when they have changed.
type textfiles struct {
	directory string
	guard     *guard
	now       func() time.Time
	log       *slog.Logger
	// all are the files at the last read, by name.
	all []*textfile
	// complaints are those that were logged, by file.
	complaints map[string]string
}

// textfile is what is known of one file.
type textfile struct {
	name string
	info fs.FileInfo // nil if it can not be told
	// settled tells that the file's content is what it was at info's time.
	settled bool
	series  []customSeries
	// left is how many more series it has than there was room for.
	left int
	// parseErr is what is wrong with the content; err is that, or why it was not read, or not taken.
	parseErr, err error
}

// read brings the files up to date. most is how many series are kept of all of them, those of the first files.
func (t *textfiles) read(most int) error {
	infos, err := within(t.guard, t.directory, textfilePatience, func() (map[string]fs.FileInfo, error) { return listTextfiles(t.directory) })
	if err != nil {
		t.all = nil
		return fmt.Errorf("read the directory of text files: %w", err)
	}
	before := make(map[string]*textfile, len(t.all))
	for _, file := range t.all {
		before[file.name] = file
	}
	names := make([]string, 0, len(infos))
	for name := range infos {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > maxTextfiles {
		err = fmt.Errorf("%s has %d files, the limit is %d; the last ones are not read", t.directory, len(names), maxTextfiles)
		names = names[:maxTextfiles]
	}
	t.all = make([]*textfile, 0, len(names))
	stuck, room := false, most
	for _, name := range names {
		file := before[name]
		if file == nil {
			file = &textfile{name: name}
		}
		info := infos[name]
		file.cut(room)
		if !file.settled || file.info == nil || !sameFile(file.info, info) || file.left > 0 && len(file.series) < room {
			if stuck {
				file.series, file.err = nil, errors.New("another file of the directory does not answer")
			} else {
				stuck = t.readOne(file, info, room)
			}
		} else {
			file.err = file.parseErr
		}
		room -= len(file.series)
		t.all = append(t.all, file)
	}
	return err
}

// cut forgets series for which there is no room any more.
func (f *textfile) cut(room int) {
	if over := len(f.series) - room; over > 0 {
		f.series, f.left = slices.Clone(f.series[:room]), f.left+over
	}
}

func sameFile(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// listTextfiles returns what is known of a directory's files; of one that vanishes meanwhile, nothing.
func listTextfiles(directory string) (map[string]fs.FileInfo, error) {
	open, err := os.Open(directory)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	infos := map[string]fs.FileInfo{}
	for entries := 0; ; {
		names, err := open.Readdirnames(256)
		if errors.Is(err, io.EOF) {
			return infos, nil
		}
		if err != nil {
			return nil, err
		}
		if entries += len(names); entries > maxDirectoryEntries {
			return nil, fmt.Errorf("%s has over %d entries, the limit", directory, maxDirectoryEntries)
		}
		for _, name := range names {
			// A file that begins with a dot is one that is being written.
			if !strings.HasSuffix(name, textfileSuffix) || strings.HasPrefix(name, ".") {
				continue
			}
			info, err := os.Stat(filepath.Join(directory, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			infos[name] = info // nil where it can not be told: reading it says why
		}
	}
}

// readOne reads a file, and tells whether it does not answer.
func (t *textfiles) readOne(file *textfile, info fs.FileInfo, most int) (stuck bool) {
	path := filepath.Join(t.directory, file.name)
	file.info, file.settled = info, info != nil && t.now().Sub(info.ModTime()) > settledFor
	file.series, file.left = nil, 0
	var text []byte
	text, file.err = within(t.guard, path, textfilePatience, func() ([]byte, error) { return readTextfile(path, info) })
	answered := file.err == nil || errors.As(file.err, new(*fs.PathError)) || errors.Is(file.err, errTextfile)
	if file.err == nil {
		file.err = file.parse(text, most)
	}
	file.parseErr = file.err
	if !answered {
		file.settled = false
	}
	return !answered
}

var errTextfile = errors.New("not a text file that can be read")

func readTextfile(path string, info fs.FileInfo) ([]byte, error) {
	switch {
	case !utf8.ValidString(path):
		return nil, fmt.Errorf("%w: its name is not UTF-8", errTextfile)
	case info != nil && !info.Mode().IsRegular(): // to open a pipe would wait for a writer
		return nil, fmt.Errorf("%w: it is no regular file", errTextfile)
	}
	open, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	text, err := io.ReadAll(io.LimitReader(open, maxTextBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxTextBytes {
		return nil, fmt.Errorf("%w: it has over %d bytes, the limit", errTextfile, maxTextBytes)
	}
	return text, nil
}

// parse takes all of a text, or, if any line is wrong, nothing.
func (f *textfile) parse(text []byte, most int) error {
	known := map[string]bool{}
	err := parseSeries(text, func(series customSeries) error {
		switch {
		case math.IsNaN(series.value): // no reading
		case len(f.series) == most:
			f.left++
		case known[series.key]:
			return fmt.Errorf("the series %.200s is there twice", series.key)
		default:
			known[series.key] = true
			f.series = append(f.series, series)
		}
		return nil
	})
	if err != nil {
		f.series, f.left = nil, 0
	}
	return err
}

// complain logs what is wrong with files, once for every change.
func (t *textfiles) complain() {
	still := map[string]string{}
	for _, file := range t.all {
		was, failed := t.complaints[file.name]
		switch {
		case file.err == nil && failed:
			t.log.Info("text file is read again", "file", file.name, "directory", t.directory)
		case file.err != nil:
			still[file.name] = file.err.Error()
			if still[file.name] != was {
				t.log.Warn("text file is not taken; its series are missing until it is right", "file", file.name, "directory", t.directory, "error", file.err)
			}
		}
	}
	t.complaints = still
}

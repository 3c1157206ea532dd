package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	manifestName = "manifest.json"
	hostsName    = "hosts.parquet"
	// manifestFormat changes when an older server could not read what a newer one writes.
	manifestFormat = 1
)

// ErrDamaged: a file of an export is not what was written.
var ErrDamaged = errors.New("the export is damaged")

// manifest tells what a directory has.
type manifest struct {
	Format int `json:"format"`
	// Server and Database wrote it.
	Server   string    `json:"server"`
	Database string    `json:"database"`
	Created  time.Time `json:"created"`
	Asked    question  `json:"asked"`
	// Until is where the export ends: To of what was asked, or when it began.
	Until time.Time `json:"until"`
	// Whole says that nothing is missing.
	Whole bool `json:"whole"`
	// Files in the order in which they were written. Periods without rows have an entry, and no file.
	Files []fileEntry `json:"files"`
}

// question is what an export was asked for. A run that goes on with another's files must ask the same.
type question struct {
	From        *time.Time `json:"from,omitempty"`
	To          *time.Time `json:"to,omitempty"`
	Selector    string     `json:"selector,omitempty"`
	Resolutions []string   `json:"resolutions"`
}

// fileEntry is one file that is whole.
type fileEntry struct {
	Name string `json:"name"`
	// Family and Resolution are empty for the hosts.
	Family     string `json:"family,omitempty"`
	Resolution string `json:"resolution,omitempty"`
	Rows       int64  `json:"rows"`
	Bytes      int64  `json:"bytes,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
}

// readManifest returns fs.ErrNotExist, wrapped, where there is none.
func readManifest(directory string) (manifest, error) {
	path := filepath.Join(directory, manifestName)
	content, err := os.ReadFile(path)
	if err != nil {
		return manifest{}, fmt.Errorf("read the manifest: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return m, fmt.Errorf("%w: %s is no manifest: %w", ErrDamaged, path, err)
	}
	if m.Format != manifestFormat {
		return m, fmt.Errorf("%s has the format %d, this server knows %d; use the gohub-server that made the export, or a newer one", path, m.Format, manifestFormat)
	}
	for _, file := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(file.Name)) {
			return m, fmt.Errorf("%w: %s names the file %q, which is not below it", ErrDamaged, path, file.Name)
		}
	}
	return m, nil
}

func (m *manifest) write(directory string) error {
	content, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encode the manifest: %w", err)
	}
	return replace(filepath.Join(directory, manifestName), func(w io.Writer) error {
		_, err := w.Write(append(content, '\n'))
		return err
	})
}

// entry finds a file.
func (m *manifest) entry(name string) (fileEntry, bool) {
	for _, file := range m.Files {
		if file.Name == name {
			return file, true
		}
	}
	return fileEntry{}, false
}

// replace writes a file under another name, and gives it its own when it is on the disk.
func replace(path string, write func(io.Writer) error) (err error) {
	temporary := path + ".part"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create a file of the export: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary))
		}
	}()
	if err := write(file); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temporary, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("name a file of the export: %w", err)
	}
	return nil
}

// verify holds a file against its entry, to the last byte.
func (f fileEntry) verify(directory string) error {
	file, err := os.Open(filepath.Join(directory, filepath.FromSlash(f.Name)))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing; copy the whole directory again", ErrDamaged, f.Name)
	}
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	if size != f.Bytes || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s is not what was exported (%d bytes of %d, or other ones); copy it again, or export it again", ErrDamaged, f.Name, size, f.Bytes)
	}
	return nil
}

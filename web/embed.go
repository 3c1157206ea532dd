// Package web carries the built dashboard inside the server binary.
package web

import (
	"embed"
	"io/fs"
)

// out holds the static export that `npm run build` writes; in a fresh clone it holds only .gitkeep.
//
//go:embed all:out
var out embed.FS

// Static returns the files of the dashboard, and false when the dashboard has not been built.
func Static() (fs.FS, bool) {
	files, err := fs.Sub(out, "out")
	if err != nil {
		return nil, false
	}
	if _, err := fs.Stat(files, "index.html"); err != nil {
		return nil, false
	}
	return files, true
}

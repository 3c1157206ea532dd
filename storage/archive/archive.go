// Package archive writes what a store holds into Parquet files, and reads such files into a store. A directory has hosts.parquet,
// a folder a table with a file a period, and manifest.json, which tells what is whole. It stands beside storage: it speaks no
// SQL, and cmd/server runs it as the commands export and import.
package archive

import (
	"fmt"
	"time"

	"github.com/gohub-io/gohub/storage"
)

// Progress is how far an export or an import is. Steps are of about equal work.
type Progress struct {
	Done, Total int
	// Rows written or read so far in this run.
	Rows int64
	// File is what is worked on.
	File string
	// Settling says that nothing is read: what was imported is rolled up.
	Settling bool
}

// period is the stretch of time that one file of a resolution has: of a fleet, some hundred million values at most.
func period(r storage.Resolution, at time.Time) storage.Span {
	year, month, day := at.UTC().Date()
	switch r {
	case storage.Hour:
		from := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
		return storage.Span{From: from, To: from.AddDate(0, 1, 0)}
	case storage.Day:
		from := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		return storage.Span{From: from, To: from.AddDate(1, 0, 0)}
	default:
		from := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
		return storage.Span{From: from, To: from.AddDate(0, 0, 1)}
	}
}

// periodName names a period, as 2026-05-17, 2026-05 or 2026.
func periodName(r storage.Resolution, span storage.Span) string {
	switch r {
	case storage.Hour:
		return span.From.Format("2006-01")
	case storage.Day:
		return span.From.Format("2006")
	default:
		return span.From.Format(time.DateOnly)
	}
}

// fileName is that of a table's file, below the directory of the export.
func fileName(table storage.Table, span storage.Span) string {
	return fmt.Sprintf("%s/%s.parquet", table.Name(), periodName(table.Resolution, span))
}

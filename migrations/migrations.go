// Package migrations holds the schema of both databases, embedded as golang-migrate reads it. A file that has been
// released is never changed: the next change is the next number.
package migrations

import "embed"

// TimescaleDB and SQLite hold the migrations of one database each, below a directory of that name.
var (
	//go:embed timescaledb/*.sql
	TimescaleDB embed.FS
	//go:embed sqlite/*.sql
	SQLite embed.FS
)

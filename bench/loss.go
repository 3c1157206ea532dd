package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/gohub-io/gohub/bench/fleet"
)

// loss is how what is stored differs from what was taken.
type loss struct {
	// Lost and Doubled are rows, Wrong are hosts whose rows are as many as they should be, with other values.
	Lost    int64 `json:"lost"`
	Doubled int64 `json:"doubled"`
	Wrong   int64 `json:"wrong_hosts"`

	example string
}

// err is nil where nothing differs.
func (l loss) err() error {
	if l.example == "" {
		return nil
	}
	return fmt.Errorf("lost %d, doubled %d, wrong hosts %d; %s", l.Lost, l.Doubled, l.Wrong, l.example)
}

// String is for a table's notes.
func (l loss) String() string {
	if err := l.err(); err != nil {
		return err.Error()
	}
	return "0 lost, 0 doubled"
}

// differ compares what must be stored with what is.
func differ(want, have map[string]fleet.Sum) (l loss) {
	for key, w := range want {
		h := have[key]
		if h == w {
			continue
		}
		l.Lost += max(w.Times-h.Times, 0)
		l.Doubled += h.Rows - h.Times
		if h.Rows == w.Rows && h.Times == w.Times {
			l.Wrong++
		}
		l.example = fmt.Sprintf("%s has %+v instead of %+v", key, h, w)
	}
	for key, h := range have {
		if _, known := want[key]; !known && h.Rows > 0 {
			l.Wrong++
			l.example = "unknown host " + key
		}
	}
	return l
}

// compare returns an error that names the first differences between what must be stored and what is.
func compare(want, have map[string]fleet.Sum) error { return differ(want, have).err() }

// loss reads what is stored and compares it with what was taken: the hosts' rows one by one, those of other families by
// their number.
func (o *Options) loss(ctx context.Context, db *database, want map[string]fleet.Sum) (loss, error) {
	have, err := db.sums(ctx, false)
	if err != nil {
		return loss{}, err
	}
	l := differ(want, have)
	var samples int64
	for _, sum := range want {
		samples += sum.Rows
	}
	for _, family := range []struct {
		table string
		rows  int
	}{{"core_samples", o.Cores}, {"disk_samples", o.Disks}, {"network_samples", o.Networks}} {
		if family.rows == 0 {
			continue
		}
		stored, err := db.count(ctx, family.table)
		if err != nil {
			return l, err
		}
		if missing := samples*int64(family.rows) - stored; missing != 0 {
			l.Lost += max(missing, 0)
			l.Doubled += max(-missing, 0)
			l.example = fmt.Sprintf("%s has %d rows instead of %d", family.table, stored, samples*int64(family.rows))
		}
	}
	return l, nil
}

// count returns the number of a table's rows.
func (db *database) count(ctx context.Context, table string) (rows int64, err error) {
	statement := "SELECT count(*) FROM " + table
	if db.url != "" {
		connection, err := pgx.Connect(ctx, db.url)
		if err != nil {
			return 0, fmt.Errorf("connect to the database: %w", err)
		}
		defer connection.Close(context.WithoutCancel(ctx))
		if err := connection.QueryRow(ctx, statement).Scan(&rows); err != nil {
			return 0, fmt.Errorf("%s: %w", statement, err)
		}
		return rows, nil
	}
	file, err := db.open()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := file.QueryRowContext(ctx, statement).Scan(&rows); err != nil {
		return 0, fmt.Errorf("%s: %w", statement, err)
	}
	return rows, nil
}

// open opens the SQLite file that a server left behind.
func (db *database) open() (*sql.DB, error) {
	files, err := filepath.Glob(filepath.Join(db.directory, "*.db"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("no SQLite file in %s: %v", db.directory, files)
	}
	file, err := sql.Open("sqlite", files[0])
	if err != nil {
		return nil, fmt.Errorf("open the SQLite file: %w", err)
	}
	return file, nil
}

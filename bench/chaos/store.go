package chaos

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver of TimescaleDB
	_ "modernc.org/sqlite"             // driver of the file that a server left behind

	"github.com/gohub-io/gohub/bench/oracle"
)

// store is a fresh database of a scenario: on a TimescaleDB server, or SQLite's file in a directory of the scenario.
type store struct {
	admin, name string // of TimescaleDB
	directory   string // where servers keep what they have in files
}

// newTimescale makes a database on a server.
func newTimescale(ctx context.Context, admin, directory string) (*store, error) {
	s := &store{admin: admin, name: "gohub_chaos_" + strings.ToLower(rand.Text()[:10]), directory: directory}
	return s, s.administer(ctx, "CREATE DATABASE "+s.name)
}

func (s *store) administer(ctx context.Context, statement string) error {
	db, err := sql.Open("pgx", s.admin)
	if err != nil {
		return errors.New("the database URL is malformed") // its text may hold a password
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// url names the database, through another address if one is given.
func (s *store) url(address string) (string, error) {
	parsed, err := url.Parse(s.admin)
	if err != nil {
		return "", errors.New("the database URL is malformed")
	}
	parsed.Path = "/" + s.name
	if address != "" {
		parsed.Host = address
	}
	return parsed.String(), nil
}

// address is where the database's server listens.
func (s *store) address() (string, error) {
	parsed, err := url.Parse(s.admin)
	if err != nil {
		return "", errors.New("the database URL is malformed")
	}
	return parsed.Host, nil
}

func (s *store) remove() error {
	if s.admin == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	for try := 0; try < 20; try++ { // connections that were just cut may still be ending
		statement := "DROP DATABASE IF EXISTS " + s.name
		if try%2 == 1 {
			statement += " WITH (FORCE)"
		}
		if err = s.administer(ctx, statement); err == nil || !pause(ctx, 200*time.Millisecond) {
			return err
		}
	}
	return err
}

// open connects to what the servers stored. With SQLite they must have ended.
func (s *store) open() (*sql.DB, error) {
	if s.admin != "" {
		name, err := s.url("")
		if err != nil {
			return nil, err
		}
		return sql.Open("pgx", name)
	}
	files, err := filepath.Glob(filepath.Join(s.directory, "*.db"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("there must be one SQLite file in %s: %v", s.directory, files)
	}
	if _, err := os.Stat(files[0]); err != nil {
		return nil, err
	}
	return sql.Open("sqlite", files[0])
}

// read gives everything that is stored to a check.
func (s *store) read(ctx context.Context, check *oracle.Check) error {
	db, err := s.open()
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer db.Close()
	agent, millis := "coalesce(h.agent_id, '')", "%s"
	if s.admin != "" {
		agent, millis = "coalesce(h.agent_id::text, '')", "round(extract(epoch FROM %s) * 1000)::bigint"
	}
	at := func(column string) string { return fmt.Sprintf(millis, column) }
	for part, family := range oracle.Families() {
		row := oracle.Row{Part: oracle.Part(part), Labels: make([]string, len(family.Labels)), Values: make([]oracle.Value, len(family.Columns))}
		into := []any{&row.AgentID, &row.Time}
		columns := []string{agent, at("s.time")}
		for i, label := range family.Labels {
			columns, into = append(columns, "s."+label), append(into, &row.Labels[i])
		}
		for i, column := range family.Columns {
			columns, into = append(columns, "s."+column.Name), append(into, &number{&row.Values[i], column.Float})
		}
		if err := each(ctx, db, columns, family.Table, into, func() { check.Row(row) }); err != nil {
			return err
		}
	}
	refused := oracle.Row{Part: oracle.Quarantine}
	err = each(ctx, db, []string{agent, "s.sample"}, "quarantine", []any{&refused.AgentID, &refused.Sample}, func() { check.Row(refused) })
	if err != nil {
		return err
	}
	var gap oracle.Gap
	return each(ctx, db, []string{agent, at("s.from_time"), at("s.to_time"), "s.samples"}, "gaps",
		[]any{&gap.AgentID, &gap.From, &gap.To, &gap.Samples}, func() { check.Gap(gap) })
}

// number reads a column into a value of the oracle's.
type number struct {
	into  *oracle.Value
	float bool
}

// Scan implements sql.Scanner.
func (n *number) Scan(from any) error {
	*n.into = oracle.Value{Known: from != nil}
	switch from := from.(type) {
	case nil:
		return nil
	case int64:
		if !n.float {
			n.into.Whole = from
			return nil
		}
	case float64:
		if n.float {
			n.into.Float = from
			return nil
		}
	}
	return fmt.Errorf("a column holds %v, a %T, which is not what its metric is", from, from)
}

// each reads the rows of a table, those of no host too.
func each(ctx context.Context, db *sql.DB, columns []string, table string, into []any, yield func()) error {
	statement := "SELECT " + strings.Join(columns, ", ") + " FROM " + table + " s LEFT JOIN hosts h USING (host_id)"
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		yield()
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}

// pause waits, and is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

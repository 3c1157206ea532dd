package timescale

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/storage"
	"github.com/gohub-io/gohub/storage/storagetest"
)

// analyst makes a role with a name that would do harm unquoted, and connects as it.
func analyst(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	name, password := `a"; DROP TABLE hosts; --'`+uuid.NewString()[:8], `it's a "pass\word`
	_, err := SetAnalyst(t.Context(), database, name, "another password", false)
	if err != nil && strings.Contains(err.Error(), "may not create roles") && os.Getenv("CI") == "" {
		t.Skip("the database was provided before its role could create roles: destroy and start it anew; ", err)
	}
	require.NoError(t, err)
	_, err = SetAnalyst(t.Context(), database, name, password, false)
	require.ErrorIs(t, err, ErrAnalystExists, "nobody is locked out")
	address, err := SetAnalyst(t.Context(), database, name, password, true)
	require.NoError(t, err)
	require.NotContains(t, address, "pass")
	parsed, err := url.Parse(address)
	require.NoError(t, err)
	parsed.User, parsed.RawQuery = url.UserPassword(name, password), "sslmode=disable"
	connection, err := pgx.Connect(t.Context(), parsed.String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, connection.Close(context.Background()))
		if _, err := DropAnalyst(context.Background(), database, name); err != nil { // a role is of all databases
			require.ErrorContains(t, err, "no such role")
		}
	})
	return connection
}

func TestExamplesOfTheSQLPage(t *testing.T) {
	database := storagetest.DatabaseURL(t)
	store := openAt(t, database)
	defer store.Close()
	today := time.Now().UTC().Truncate(24 * time.Hour)
	monthHours := map[string]int{}
	var months []string
	for hour := 840; hour >= 1; hour-- {
		month := today.Add(-time.Duration(hour) * time.Hour).Format("2006-01")
		if _, known := monthHours[month]; !known {
			months = append(months, month)
		}
		if monthHours[month] += 0; hour < 840 { // the first hour has none before it
			monthHours[month]++
		}
	}
	for i, name := range []string{"db-1", "db-2", "web-1", "web-2"} {
		site := []string{"ams", "ams", "fra", "fra"}[i]
		facts := &gohubv1.HostFacts{Hostname: name, Os: "linux", MemoryBytes: 1 << 30, Labels: map[string]string{"site": site}}
		host, _ := storagetest.Register(t, store, storage.Registration{AgentID: uuid.New(), Epoch: 1, Facts: facts, At: today})
		for _, statement := range []string{
			`INSERT INTO host_samples_1h (time, host_id, cpu_usage_percent_avg, cpu_usage_percent_max) SELECT $2::timestamptz - n * interval '1 hour', $1, $3::int * 10, $3 * 10 + 5 FROM generate_series(1, 840) AS n`,
			`INSERT INTO host_samples_1d (time, host_id, cpu_usage_percent_avg) SELECT $2::timestamptz - n * interval '24 hours', $1, $3::int * 10 FROM generate_series(1, 35) AS n`,
			`INSERT INTO filesystem_samples_1d (time, host_id, mountpoint, device, fstype, available_bytes_last) SELECT $2::timestamptz - n * interval '24 hours', $1, '/', 'sda', 'ext4', 1000 * (20 * $3::int + n - 1) FROM generate_series(1, 35) AS n`,
			// A thousand bytes an hour, and a start of the machine 400 hours ago.
			`INSERT INTO network_samples_1h (time, host_id, interface, receive_bytes_total_last, receive_bytes_total_max)
			 SELECT $2::timestamptz - n * interval '1 hour', $1, 'eth0', $3::int * 1000 * (CASE WHEN n < 400 THEN 400 - n ELSE 840 - n END),
			        $3 * 1000 * (CASE WHEN n < 399 THEN 400 - n WHEN n = 399 THEN 440 ELSE 840 - n END) FROM generate_series(1, 840) AS n`,
			`INSERT INTO host_samples_packed (time, host_id, received_at, cpu_usage_percent) SELECT now() - n * interval '1 minute', $1, $2, $3::int + n FROM generate_series(1, 5) AS n`,
		} {
			_, err := store.writes.Exec(t.Context(), statement, host.ID, today, i+1)
			require.NoError(t, err)
		}
	}
	var monthly, traffic []string
	for m, month := range months {
		monthly = append(monthly, month+[]string{" 25", " 25 0"}[min(m, 1)])
		for i, name := range []string{"db-1", "db-2", "web-1", "web-2"} {
			traffic = append(traffic, fmt.Sprintf("%s %s %d", month, name, monthHours[month]*(i+1)*1000))
		}
	}
	want := [][]string{
		{"ams 20", "fra 40"},
		{"db-1 0", "db-2 0", "web-1 0", "web-2 0"},
		monthly,
		{"db-1 / 20", "db-2 / 40", "web-1 / 60", "web-2 / 80"},
		{"web-2 40", "web-1 30", "db-2 20"},
		traffic,
		{"web-2 840"},
		{"linux 4 4294967296"},
		{"db-1 2", "db-2 3", "web-1 4", "web-2 5"},
		nil,
	}
	connection := analyst(t, database)
	page, err := os.ReadFile("../../docs/sql.md")
	require.NoError(t, err)
	examples := strings.Split(string(page), "```sql\n")[1:]
	require.Len(t, examples, len(want))
	for i, example := range examples {
		query, _, _ := strings.Cut(example, "```")
		rows, err := connection.Query(t.Context(), "SELECT array_to_json(ARRAY(SELECT concat_ws(' ', VARIADIC ARRAY(SELECT CASE WHEN value ~ '^-?[0-9.]+$' THEN round(value::numeric, 3)::float8::text ELSE value END FROM json_each_text(row_to_json(q))))  FROM ("+query+") AS q))")
		require.NoError(t, err, query)
		got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]string])
		require.NoError(t, err, query)
		require.ElementsMatch(t, want[i], got, query)
	}

	// Nothing but the views, with the session's own guard taken off.
	_, err = connection.Exec(t.Context(), "SET default_transaction_read_only = off")
	require.NoError(t, err)
	for _, forbidden := range []string{
		"SELECT FROM sessions", "SELECT FROM cursors", "SELECT FROM quarantine", "SELECT FROM hosts", "SELECT FROM host_samples", "SELECT FROM host_samples_packed",
		"DELETE FROM analysis.hosts", "CREATE TABLE public.mine ()", "CREATE TABLE analysis.mine ()", "CREATE TEMPORARY TABLE mine ()", "CREATE SCHEMA mine",
	} {
		_, err := connection.Exec(t.Context(), forbidden)
		require.ErrorContains(t, err, "permission denied", forbidden)
	}
	user := connection.Config().User
	_, err = connection.Exec(t.Context(), "SELECT lo_from_bytea(0, 'everybody may')")
	require.NoError(t, err)
	dropped, err := DropAnalyst(t.Context(), database, user)
	require.NoError(t, err)
	require.True(t, dropped)
	_, err = DropAnalyst(t.Context(), database, user)
	require.ErrorContains(t, err, "no such role")
}

// TestAnalystOfTwoDatabases: a role is of all databases, and what it may read is of each.
func TestAnalystOfTwoDatabases(t *testing.T) {
	databases := []string{storagetest.DatabaseURL(t), storagetest.DatabaseURL(t)}
	for _, database := range databases {
		openAt(t, database).Close()
	}
	first := analyst(t, databases[0])
	name := first.Config().User
	_, err := SetAnalyst(t.Context(), databases[1], name, "a password for both", true)
	require.NoError(t, err)
	count := func() (err error) {
		_, err = first.Exec(t.Context(), "SELECT count(*) FROM analysis.hosts")
		return err
	}
	require.NoError(t, count())
	dropped, err := DropAnalyst(t.Context(), databases[0], name)
	require.NoError(t, err)
	require.False(t, dropped)
	require.ErrorContains(t, count(), "permission denied")
	parsed, err := pgx.ParseConfig(databases[1])
	require.NoError(t, err)
	parsed.User, parsed.Password = name, "a password for both"
	second, err := pgx.ConnectConfig(t.Context(), parsed)
	require.NoError(t, err)
	_, err = second.Exec(t.Context(), "SELECT count(*) FROM analysis.hosts")
	require.NoError(t, err, "of that it is an analyst still")
	require.NoError(t, second.Close(t.Context()))
	dropped, err = DropAnalyst(t.Context(), databases[1], name)
	require.NoError(t, err)
	require.True(t, dropped)
}

// TestRoleThatMayDoMoreIsNotDropped: it is somebody else's, and loses nothing.
func TestRoleThatMayDoMoreIsNotDropped(t *testing.T) {
	database := storagetest.DatabaseURL(t)
	store := openAt(t, database)
	defer store.Close()
	connection := analyst(t, database)
	name := connection.Config().User
	role := pgx.Identifier{name}.Sanitize()
	_, err := store.writes.Exec(t.Context(), "GRANT SELECT ON hosts TO "+role)
	require.NoError(t, err)
	_, err = DropAnalyst(t.Context(), database, name)
	require.ErrorContains(t, err, "privileges for table hosts")
	for _, table := range []string{"hosts", "analysis.hosts"} {
		_, err = connection.Exec(t.Context(), "SELECT count(*) FROM "+table)
		require.NoError(t, err)
	}
	_, err = store.writes.Exec(t.Context(), "REVOKE SELECT ON hosts FROM "+role)
	require.NoError(t, err)
}

func TestAnalystsAreRefused(t *testing.T) {
	database := storagetest.DatabaseURL(t)
	_, err := SetAnalyst(t.Context(), database, "somebody", "long enough a password", true)
	require.ErrorContains(t, err, "start gohub-server")
	openAt(t, database).Close()
	for name, message := range map[string]string{
		"": "empty", "a\x00b": "printed", strings.Repeat("x", 64): "64 bytes", "pg_monitor": "to itself", "gohub": "another name", "postgres": "another name",
	} {
		_, err := SetAnalyst(t.Context(), database, name, "long enough a password", true)
		require.ErrorContains(t, err, message)
	}
	for _, password := range []string{"short", "pässword that is long"} {
		_, err := SetAnalyst(t.Context(), database, "somebody", password, true)
		require.ErrorContains(t, err, "the password has")
	}
}

// TestViewsOfAnEarlierServerAreMadeAnew: a new metric may come between others, and the view of hosts have others above it.
func TestViewsOfAnEarlierServerAreMadeAnew(t *testing.T) {
	database := storagetest.DatabaseURL(t)
	store := openAt(t, database)
	connection := analyst(t, database)
	exec := func(statement string) {
		t.Helper()
		_, err := store.writes.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	exec("ALTER VIEW analysis.hosts RENAME COLUMN arch TO architecture")
	exec("ALTER VIEW analysis.hosts_1h RENAME COLUMN arch TO architecture")
	exec("COMMENT ON VIEW analysis.hosts IS 'made by gohub-server, before'")
	exec("CREATE VIEW analysis.gone_1h AS SELECT 1")
	exec("COMMENT ON VIEW analysis.gone_1h IS 'made by gohub-server, before'")
	exec("CREATE VIEW analysis.mine AS SELECT 1 AS one")
	store.Close()
	store = openAt(t, database)
	for query, answers := range map[string]bool{
		"SELECT arch FROM analysis.hosts": true, "SELECT arch FROM analysis.hosts_1h": true, "SELECT FROM analysis.gone_1h": false, "SELECT one FROM analysis.mine": true,
	} {
		_, err := connection.Exec(t.Context(), query)
		require.Equal(t, answers, err == nil, "%s: %v", query, err)
	}

	// Somebody's view stands on one: it stays where the columns are as they were.
	exec("CREATE VIEW public.theirs AS SELECT hostname FROM analysis.hosts")
	exec("COMMENT ON VIEW analysis.hosts IS 'made by gohub-server, before'")
	store.Close()
	store = openAt(t, database)
	var comment string
	require.NoError(t, store.reads.QueryRow(t.Context(), "SELECT obj_description('analysis.hosts'::regclass, 'pg_class')").Scan(&comment))
	require.NotContains(t, comment, "before")
	exec("TABLE public.theirs")

	// Where they are not, the views stay, and the server starts.
	exec("ALTER VIEW analysis.hosts RENAME COLUMN kernel_version TO kernel")
	exec("COMMENT ON VIEW analysis.hosts IS 'made by gohub-server, before'")
	store.Close()
	var said strings.Builder
	store, err := Open(t.Context(), database, storage.Options{Idle: true, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	require.NoError(t, err)
	defer store.Close()
	require.Contains(t, said.String(), "theirs")
	_, err = connection.Exec(t.Context(), "SELECT arch FROM analysis.hosts")
	require.NoError(t, err)
}

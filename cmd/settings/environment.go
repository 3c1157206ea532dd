// Package settings is what the configurations of the server and the agent have in common: which GOHUB_ variables there
// are, and how a mistake is told to whoever made it.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Prefix begins the names of the variables that the programs read.
const Prefix = "GOHUB_"

// Server, Agent and Tools are all variables that GoHub knows. Server and agent share an environment where they are tried
// out together, so each passes over the other's; what nothing reads is a mistake, which both refuse. Tests of the two
// hold their lists against their configurations.
var (
	Server = []string{
		"GOHUB_CONFIG", "GOHUB_HTTP_LISTEN", "GOHUB_GRPC_LISTEN", "GOHUB_PUBLIC_URL", "GOHUB_READY_FILE",
		"GOHUB_DATA_DIR", "GOHUB_DATABASE_URL", "GOHUB_DATABASE_URL_FILE",
		"GOHUB_CLUSTER_URL", "GOHUB_CLUSTER_URL_FILE", "GOHUB_CLUSTER_LISTEN", "GOHUB_CLUSTER_PEERS", "GOHUB_CLUSTER_SECRET", "GOHUB_CLUSTER_SECRET_FILE", "GOHUB_CLUSTER_TLS_CA_FILE",
		"GOHUB_AGENT_TOKEN", "GOHUB_AGENT_TOKEN_FILE", "GOHUB_API_TOKEN", "GOHUB_API_TOKEN_FILE",
		"GOHUB_PASSWORD", "GOHUB_PASSWORD_FILE", "GOHUB_PASSWORD_HASH", "GOHUB_PASSWORD_HASH_FILE",
		"GOHUB_TLS_CERT_FILE", "GOHUB_TLS_KEY_FILE", "GOHUB_HSTS", "GOHUB_TRUSTED_PROXIES", "GOHUB_INSECURE_PLAINTEXT",
		"GOHUB_FLUSH_AGE", "GOHUB_FLUSH_ROWS", "GOHUB_RING_SLOTS", "GOHUB_INGEST_BUFFER_BYTES", "GOHUB_RECENT_WINDOW", "GOHUB_RECENT_MEMORY_BYTES", "GOHUB_LIVE_MEMORY_BYTES", "GOHUB_CONNECTIONS_PER_ADDRESS", "GOHUB_HTTP_CONNECTIONS_PER_ADDRESS", "GOHUB_MAX_HOSTS", "GOHUB_MAX_VIEWERS_PER_ADDRESS",
		"GOHUB_RETENTION_RAW", "GOHUB_RETENTION_MINUTE", "GOHUB_RETENTION_HOUR", "GOHUB_RETENTION_DAY",
		"GOHUB_METRICS_HOSTS", "GOHUB_METRICS_NODE_EXPORTER",
		"GOHUB_LOG_LEVEL", "GOHUB_LOG_FORMAT", "GOHUB_SHUTDOWN_TIMEOUT",
	}
	Agent = []string{
		"GOHUB_AGENT_CONFIG", "GOHUB_SERVER", "GOHUB_TOKEN", "GOHUB_TOKEN_FILE", "GOHUB_INTERVAL", "GOHUB_LABELS",
		"GOHUB_TLS_CA_FILE", "GOHUB_TLS_SERVER_NAME", "GOHUB_AGENT_INSECURE_PLAINTEXT",
		"GOHUB_STATE_DIR", "GOHUB_SPOOL_MAX_BYTES", "GOHUB_BUFFER_BYTES",
		"GOHUB_LOG_LEVEL", "GOHUB_LOG_FORMAT", "GOHUB_TOP_PROCESSES", "GOHUB_PROCESS_INTERVAL",
		"GOHUB_AGENT_TEXTFILE_DIR", "GOHUB_AGENT_CUSTOM_SOCKET", "GOHUB_AGENT_CUSTOM_SERIES",
		"GOHUB_FILESYSTEM_INCLUDE", "GOHUB_FILESYSTEM_EXCLUDE", "GOHUB_FILESYSTEM_TYPE_INCLUDE", "GOHUB_FILESYSTEM_TYPE_EXCLUDE",
		"GOHUB_INTERFACE_INCLUDE", "GOHUB_INTERFACE_EXCLUDE", "GOHUB_DISK_INCLUDE", "GOHUB_DISK_EXCLUDE",
	}
	// Tools are those of the two provide scripts in deploy/timescaledb, of tests, of the dashboard's development server, and the compose
	// file's name for the images.
	Tools = []string{
		"GOHUB_TIMESCALEDB_PORT", "GOHUB_TIMESCALEDB_DATA", "GOHUB_TIMESCALEDB_MEANS", "GOHUB_TIMESCALEDB_IMAGE", "GOHUB_CACHE_DIR",
		"GOHUB_COMMUNITY_PORT", "GOHUB_COMMUNITY_IDLE", "GOHUB_TEST_DATABASE_URL", "GOHUB_TEST_COMMUNITY_URL", "GOHUB_TEST_SUMMARY", "GOHUB_TEST_SPOOL", "GOHUB_TEST_CASES",
		"GOHUB_DEV_SERVER", "GOHUB_VERSION",
	}
)

// composeOnly are read by docker compose, which does not hand them to a program, and look like settings of one.
var composeOnly = map[string]string{
	"GOHUB_HTTP_PORT":       "GOHUB_HTTP_LISTEN",
	"GOHUB_GRPC_PORT":       "GOHUB_GRPC_LISTEN",
	"GOHUB_PUBLISH_ADDRESS": "GOHUB_HTTP_LISTEN and GOHUB_GRPC_LISTEN",
}

// CheckEnvironment refuses variables with the prefix that nothing reads. own is the list of the program that asks,
// Server or Agent.
func CheckEnvironment(environment map[string]string, own []string) error {
	known := slices.Concat(Server, Agent, Tools)
	var mistakes []error
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if !strings.HasPrefix(name, Prefix) || slices.Contains(known, name) || isServiceLink(name, environment[name]) {
			continue
		}
		if instead, ok := composeOnly[name]; ok {
			mistakes = append(mistakes, fmt.Errorf("the environment variable %s is for docker compose, which publishes the server there; the server's own is %s", name, instead))
			continue
		}
		hint := ""
		if near := nearest(name, known); len(near) > 0 {
			hint = "; the nearest are " + strings.Join(near, ", ")
		}
		mistakes = append(mistakes, fmt.Errorf("the environment variable %s is not known%s", name, hint))
	}
	if len(mistakes) == 0 {
		return nil
	}
	return fmt.Errorf("%w\nallowed are %s", errors.Join(mistakes...), strings.Join(own, ", "))
}

// serviceLinks are the variables that Kubernetes makes up for a service whose name begins with gohub, each with what its
// value looks like. A setting of ours that is misspelt, as GOHUB_HTTP_PORT=7700, does not look like that.
var serviceLinks = []struct {
	name  *regexp.Regexp
	value func(string) bool
}{
	{regexp.MustCompile(`^GOHUB_(\w+_)?SERVICE_HOST$`), isAddress},
	{regexp.MustCompile(`^GOHUB_(\w+_)?SERVICE_PORT(_\w+)?$`), isPort},
	{regexp.MustCompile(`^GOHUB_(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?$`), isEndpoint},
	{regexp.MustCompile(`^GOHUB_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_PROTO$`), isProtocol},
	{regexp.MustCompile(`^GOHUB_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_PORT$`), isPort},
	{regexp.MustCompile(`^GOHUB_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)_ADDR$`), isAddress},
}

func isServiceLink(name, value string) bool {
	for _, link := range serviceLinks {
		if link.name.MatchString(name) && link.value(value) {
			return true
		}
	}
	return false
}

func isAddress(value string) bool {
	_, err := netip.ParseAddr(value)
	return err == nil
}

func isPort(value string) bool {
	port, err := strconv.ParseUint(value, 10, 16)
	return err == nil && port > 0
}

func isProtocol(value string) bool { return value == "tcp" || value == "udp" || value == "sctp" }

func isEndpoint(value string) bool {
	endpoint, err := url.Parse(value)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddrPort(endpoint.Host)
	return err == nil && isProtocol(endpoint.Scheme)
}

// nearest returns up to three names that look most like one that is none: a few letters away, or with it as a part.
func nearest(name string, known []string) []string {
	// What is longer than any name with its typing mistakes resembles nothing, and would take long to compare.
	const longest, most = 100, 3
	if len(name) > longest {
		return nil
	}
	given := strings.TrimPrefix(name, Prefix)
	type closeness struct{ rank, distance int }
	found := map[string]closeness{}
	for _, candidate := range known {
		bare := strings.TrimPrefix(candidate, Prefix)
		d := distance(given, bare)
		rank := d
		if given != "" && (strings.Contains(bare, given) || strings.Contains(given, bare)) {
			rank = min(d, 2)
		}
		if rank <= max(2, len(bare)/3) {
			found[candidate] = closeness{rank, d}
		}
	}
	names := slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		return cmp.Or(cmp.Compare(found[a].rank, found[b].rank), cmp.Compare(found[a].distance, found[b].distance), strings.Compare(a, b))
	})
	return names[:min(len(names), most)]
}

// distance is how many bytes must be inserted, removed or replaced to make b of a (Levenshtein, with one row).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], step
		}
	}
	return row[len(b)]
}

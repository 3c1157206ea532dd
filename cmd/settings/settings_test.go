package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestCheckEnvironmentPassesOver(t *testing.T) {
	for name, value := range map[string]string{
		"PATH": "/bin", "gohub_x": "1", // others'
		"GOHUB_FLUSH_ROWS": "1", "GOHUB_PASSWORD_FILE": "/x", "GOHUB_CONFIG": "/x", // the server's
		"GOHUB_TOKEN": "x", "GOHUB_SPOOL_MAX_BYTES": "1", "GOHUB_AGENT_CONFIG": "/x", // the agent's
		"GOHUB_TEST_DATABASE_URL": "x", "GOHUB_TIMESCALEDB_PORT": "55432", // scripts'
		// What Kubernetes makes up for services called gohub, gohub-server and gohub-http.
		"GOHUB_SERVICE_HOST": "10.0.0.1", "GOHUB_SERVICE_PORT": "7700", "GOHUB_SERVICE_PORT_HTTP": "7700", "GOHUB_PORT": "tcp://10.0.0.1:7700",
		"GOHUB_PORT_7700_TCP": "tcp://10.0.0.1:7700", "GOHUB_PORT_7700_TCP_PROTO": "tcp", "GOHUB_PORT_7700_TCP_PORT": "7700", "GOHUB_PORT_7700_TCP_ADDR": "10.0.0.1",
		"GOHUB_SERVER_SERVICE_HOST": "fd00::1", "GOHUB_SERVER_PORT_7701_TCP": "tcp://[fd00::1]:7701", "GOHUB_HTTP_PORT": "udp://10.0.0.1:80",
	} {
		require.NoError(t, CheckEnvironment(map[string]string{name: value}, Server), name)
		require.NoError(t, CheckEnvironment(map[string]string{name: value}, Agent), name)
	}
}

func TestCheckEnvironmentRefuses(t *testing.T) {
	for name, c := range map[string]struct{ value, text string }{
		"GOHUB_AGENT_TOKEN_FLIE":   {"/x", "is not known; the nearest are GOHUB_AGENT_TOKEN_FILE, GOHUB_AGENT_TOKEN"},
		"GOHUB_DISK_EXCLUDES":      {"x", "the nearest are GOHUB_DISK_EXCLUDE"},
		"GOHUB_LISTEN":             {":7700", "the nearest are GOHUB_GRPC_LISTEN, GOHUB_HTTP_LISTEN"},
		"GOHUB_HTTP_PORT":          {"7700", "is for docker compose, which publishes the server there; the server's own is GOHUB_HTTP_LISTEN"},
		"GOHUB_PORT":               {"7700", "is not known"},
		"GOHUB_SERVICE_HOST":       {"gohub", "is not known"},
		"GOHUB_SERVICE_PORT":       {"http", "is not known"},
		"GOHUB_PORT_7700_TCP_ADDR": {"7700", "is not known"},
		"GOHUB_TEST_DATABASE":      {"x", "the nearest are GOHUB_TEST_DATABASE_URL"},
		"GOHUB_TOKEN_FILE_FILE":    {"secret value", "the nearest are GOHUB_TOKEN_FILE, GOHUB_TOKEN"},
		"GOHUB_":                   {"x", "is not known\n"},
	} {
		err := CheckEnvironment(map[string]string{name: c.value}, Server)
		require.ErrorContains(t, err, "the environment variable "+name+" ")
		require.ErrorContains(t, err, c.text)
		require.ErrorContains(t, err, "allowed are GOHUB_CONFIG, GOHUB_HTTP_LISTEN")
		require.NotContains(t, err.Error(), "secret value")
	}
	err := CheckEnvironment(map[string]string{"GOHUB_A1": "", "GOHUB_B2": ""}, Agent)
	require.ErrorContains(t, err, "GOHUB_A1")
	require.ErrorContains(t, err, "GOHUB_B2", "all mistakes are told at once")
}

func TestInWordsNamesNoTypeOfGo(t *testing.T) {
	type group struct {
		Wait     time.Duration `yaml:"wait"`
		Optional *bool         `yaml:"optional"`
		Count    int64         `yaml:"count"`
		Share    float64       `yaml:"share"`
		Name     string        `yaml:"name"`
		Names    []string      `yaml:"names"`
	}
	for text, want := range map[string]string{
		"wait: 5":               `line 1: "5" is no duration such as "10s"`,
		"wait: soon":            `line 1: "soon" is no duration such as "10s"`,
		"optional: perhaps":     `line 1: "perhaps" is no truth value: true or false`,
		"count: many":           `line 1: "many" is no whole number`,
		"share: [1]":            `line 1: a list is no number`,
		"name: {a: b}":          `line 1: what has keys of its own is no text`,
		"names: one":            `line 1: "one" is no list`,
		"nme: x":                `line 1: field nme is no key`,
		"nme: x\ncount: many\n": `line 1: field nme is no key; line 2: "many" is no whole number`,
	} {
		var g group
		decoder := yaml.NewDecoder(strings.NewReader(text))
		decoder.KnownFields(true)
		err := decoder.Decode(&g)
		require.Error(t, err, text)
		require.Equal(t, want, InWords(err, "is no key"))
	}
}

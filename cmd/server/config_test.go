package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/cmd/settings"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := writeFile(t, "flush_rows: 1\nring_slots: 100\nflush_age: 1s\n")
	config, err := loadConfig([]string{"--flush-rows", "3"}, []string{"GOHUB_CONFIG=" + file, "GOHUB_FLUSH_ROWS=2", "GOHUB_RING_SLOTS=200"}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, 3, config.FlushRows, "from the flag")
	require.Equal(t, 200, config.RingSlots, "from the environment")
	require.Equal(t, time.Second, config.FlushAge, "from the file")
	require.Equal(t, "info", config.LogLevel, "the default")
}

func TestSecretsComeFromFilesAndNeverFromFlags(t *testing.T) {
	config, err := loadConfig(nil, []string{"GOHUB_AGENT_TOKEN_FILE=" + writeFile(t, "0123456789abcdef\n")}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, "0123456789abcdef", config.AgentToken)
	_, err = loadConfig([]string{"--agent-token", "0123456789abcdef"}, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "unknown flag")
}

func TestHelpNamesEverySettingThatHasAFlag(t *testing.T) {
	var output bytes.Buffer
	_, err := loadConfig([]string{"--help"}, nil, &output)
	require.ErrorIs(t, err, pflag.ErrHelp)
	for _, field := range (&Config{}).fields() {
		require.Equal(t, !field.secret, regexp.MustCompile(`--`+field.flag()+`[ \[]`).Match(output.Bytes()), field.flag())
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args, environment []string
		file              string
		text              string
	}{
		"no hosts at all":       {args: []string{"--max-hosts=0"}, text: "max_hosts is 0; allowed is 1 to 1000000"},
		"unknown flag":          {args: []string{"--nope"}, text: "unknown flag: --nope"},
		"argument":              {args: []string{"nope"}, text: `unexpected argument "nope"`},
		"unknown variable":      {environment: []string{"GOHUB_FLUSHROWS=1"}, text: "GOHUB_FLUSHROWS is not known; the nearest are GOHUB_FLUSH_ROWS"},
		"misspelt file":         {environment: []string{"GOHUB_AGENT_TOKEN_FLIE=/x"}, text: "GOHUB_AGENT_TOKEN_FLIE is not known; the nearest are GOHUB_AGENT_TOKEN_FILE"},
		"compose's port":        {environment: []string{"GOHUB_HTTP_PORT=80"}, text: "GOHUB_HTTP_PORT is for docker compose, which publishes the server there; the server's own is GOHUB_HTTP_LISTEN"},
		"no duration":           {environment: []string{"GOHUB_FLUSH_AGE=fast"}, text: `GOHUB_FLUSH_AGE is "fast", which is no duration such as "10s"`},
		"out of range":          {environment: []string{"GOHUB_FLUSH_ROWS=0"}, text: "flush_rows is 0; allowed is 1 to 1000000"},
		"unknown key":           {file: "http_lisen: x\n", text: "line 1: field http_lisen is no key here"},
		"no YAML":               {file: "a: [", text: "read the configuration"},
		"bad level":             {file: "log_level: loud\n", text: `log_level is "loud"; allowed are debug, info, warn, error`},
		"bad address":           {file: "http_listen: nowhere\n", text: `http_listen is "nowhere"`},
		"bad link":              {file: "public_url: ftp://x\n", text: `public_url is "ftp://x"`},
		"half of TLS":           {file: "tls_cert_file: x\n", text: "TLS needs both"},
		"HSTS without TLS":      {environment: []string{"GOHUB_HSTS=true"}, text: "hsts is true without tls_cert_file"},
		"no proxy":              {environment: []string{"GOHUB_TRUSTED_PROXIES=10.0.0.1,proxy"}, text: `trusted_proxies has "proxy"`},
		"secret twice":          {environment: []string{"GOHUB_PASSWORD=x", "GOHUB_PASSWORD_FILE=/dev/null"}, text: "password and password_file are both set"},
		"empty secret":          {environment: []string{"GOHUB_PASSWORD_FILE=/dev/null"}, text: "which is empty"},
		"missing secret":        {environment: []string{"GOHUB_PASSWORD_FILE=/nowhere"}, text: "read password_file"},
		"password and hash":     {environment: []string{"GOHUB_PASSWORD=x", "GOHUB_PASSWORD_HASH=y"}, text: "set one"},
		"missing file":          {args: []string{"--config", "/nowhere"}, text: "/nowhere"},
		"two kinds of cluster":  {environment: []string{"GOHUB_CLUSTER_URL=nats://x", "GOHUB_CLUSTER_LISTEN=127.0.0.1:7702"}, text: "cluster_url and cluster_listen are both set"},
		"peers of no cluster":   {environment: []string{"GOHUB_CLUSTER_PEERS=127.0.0.1:7702"}, text: "without cluster_listen"},
		"bad peer":              {environment: []string{"GOHUB_CLUSTER_LISTEN=127.0.0.1:7702", "GOHUB_CLUSTER_PEERS=a:1, b"}, text: `cluster_peers has "b"`},
		"bad cluster address":   {environment: []string{"GOHUB_CLUSTER_LISTEN=here"}, text: `cluster_listen is "here"`},
		"unknown alert key":     {file: "alerts:\n  rule: []\n", text: "field rule is no key here"},
		"duration with no unit": {file: "flush_age: 5\n", text: `"5" is no duration such as "10s"`},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(args, "--config", writeFile(t, c.file))
			}
			_, err := loadConfig(args, c.environment, &bytes.Buffer{})
			require.ErrorContains(t, err, c.text)
		})
	}
}

// TestListOfVariablesIsComplete: settings lists the server's variables, so that the agent knows them too.
func TestListOfVariablesIsComplete(t *testing.T) {
	variables := []string{configVariable}
	for _, field := range (&Config{}).fields() {
		variables = append(variables, field.variable())
	}
	require.ElementsMatch(t, variables, settings.Server)
}

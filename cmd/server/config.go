package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/gohub-io/gohub/alert"
	"github.com/gohub-io/gohub/auth"
	"github.com/gohub-io/gohub/cmd/settings"
	"github.com/gohub-io/gohub/live"
)

// Config is everything that can be set. A flag goes over an environment variable, that over config.yaml, and that over
// the default. The yaml tag names the key everywhere: the flag has dashes for its underscores, the variable is in
// capitals after GOHUB_.
type Config struct {
	HTTPListen string `yaml:"http_listen" env:"HTTP_LISTEN" help:"address of the dashboard, REST, WebSocket and /metrics"`
	GRPCListen string `yaml:"grpc_listen" env:"GRPC_LISTEN" help:"address for agents and gRPC queries"`

	PublicURL string `yaml:"public_url" env:"PUBLIC_URL" help:"address at which people reach the dashboard, for links in notifications"`
	ReadyFile string `yaml:"ready_file" env:"READY_FILE" help:"file that tells scripts, once the server serves, where"`

	DataDir         string `yaml:"data_dir" env:"DATA_DIR" help:"directory of the SQLite file, used when there is no database URL"`
	DatabaseURL     string `yaml:"database_url" env:"DATABASE_URL" help:"PostgreSQL URL of a TimescaleDB; empty stores into SQLite" secret:"true"`
	DatabaseURLFile string `yaml:"database_url_file" env:"DATABASE_URL_FILE" help:"file that holds the database URL"`

	ClusterURL     string `yaml:"cluster_url" env:"CLUSTER_URL" help:"NATS URLs, with commas, over which several servers on one TimescaleDB show each other's hosts" secret:"true"`
	ClusterURLFile string `yaml:"cluster_url_file" env:"CLUSTER_URL_FILE" help:"file that holds the NATS URLs"`
	// ClusterListen and those below it are for servers that link the NATS in their processes.
	ClusterListen     string `yaml:"cluster_listen" env:"CLUSTER_LISTEN" help:"without a NATS of its own: address for the other servers of the cluster, each of which runs a NATS in its process"`
	ClusterPeers      string `yaml:"cluster_peers" env:"CLUSTER_PEERS" help:"with cluster_listen: addresses of the other servers' cluster_listen, with commas"`
	ClusterSecret     string `yaml:"cluster_secret" env:"CLUSTER_SECRET" help:"secret that the servers with cluster_listen have in common" secret:"true"`
	ClusterSecretFile string `yaml:"cluster_secret_file" env:"CLUSTER_SECRET_FILE" help:"file that holds the cluster's secret"`
	ClusterTLSCAFile  string `yaml:"cluster_tls_ca_file" env:"CLUSTER_TLS_CA_FILE" help:"PEM file with the certificates to hold those of NATS or of the other servers against; the system's if empty"`

	AgentToken       string `yaml:"agent_token" env:"AGENT_TOKEN" help:"token that agents must show" secret:"true"`
	AgentTokenFile   string `yaml:"agent_token_file" env:"AGENT_TOKEN_FILE" help:"file that holds the agents' token"`
	APIToken         string `yaml:"api_token" env:"API_TOKEN" help:"token for programs that query, and for Prometheus" secret:"true"`
	APITokenFile     string `yaml:"api_token_file" env:"API_TOKEN_FILE" help:"file that holds the API token"`
	Password         string `yaml:"password" env:"PASSWORD" help:"password of the dashboard" secret:"true"`
	PasswordFile     string `yaml:"password_file" env:"PASSWORD_FILE" help:"file that holds the dashboard's password"`
	PasswordHash     string `yaml:"password_hash" env:"PASSWORD_HASH" help:"instead of a password, its hash as hash-password prints it" secret:"true"`
	PasswordHashFile string `yaml:"password_hash_file" env:"PASSWORD_HASH_FILE" help:"file that holds the password's hash"`

	TLSCertFile       string `yaml:"tls_cert_file" env:"TLS_CERT_FILE" help:"PEM file with the server's certificate chain"`
	TLSKeyFile        string `yaml:"tls_key_file" env:"TLS_KEY_FILE" help:"PEM file with the certificate's key"`
	HSTS              bool   `yaml:"hsts" env:"HSTS" help:"tell browsers to come by TLS only for a year; not with a self-signed certificate"`
	TrustedProxies    string `yaml:"trusted_proxies" env:"TRUSTED_PROXIES" help:"addresses and networks, with commas, of reverse proxies whose X-Forwarded-For says which client tries to log in or looks on"`
	InsecurePlaintext bool   `yaml:"insecure_plaintext" env:"INSECURE_PLAINTEXT" help:"allow plain text on addresses that other machines reach"`

	FlushAge  time.Duration `yaml:"flush_age" env:"FLUSH_AGE" help:"how long samples wait to be stored together, 1ms to 10s"`
	FlushRows int           `yaml:"flush_rows" env:"FLUSH_ROWS" help:"rows that are stored together at most, 1 to 1000000"`
	RingSlots int           `yaml:"ring_slots" env:"RING_SLOTS" help:"batches that each ring buffer holds, 16 to 1048576"`
	// IngestBufferBytes bounds what is on its way to storage.
	IngestBufferBytes int `yaml:"ingest_buffer_bytes" env:"INGEST_BUFFER_BYTES" help:"memory for samples that wait to be stored, 16777216 to 68719476736; an agent may use a sixteenth"`
	// RecentWindow and RecentMemoryBytes bound the samples that ranges are answered from without the database.
	RecentWindow      time.Duration `yaml:"recent_window" env:"RECENT_WINDOW" help:"how far back the hosts' own metrics are kept in memory too, up to 24h; 0 keeps none"`
	RecentMemoryBytes int           `yaml:"recent_memory_bytes" env:"RECENT_MEMORY_BYTES" help:"memory for the recent window, over which the oldest go first, up to 68719476736; 0 keeps none"`
	// LiveMemoryBytes bounds what agents can have the server keep of their instances.
	LiveMemoryBytes       int `yaml:"live_memory_bytes" env:"LIVE_MEMORY_BYTES" help:"memory for the newest values of all hosts' instances, over which hosts that have most show only their own metrics live, 1048576 to 68719476736"`
	ConnectionsPerAddress int `yaml:"connections_per_address" env:"CONNECTIONS_PER_ADDRESS" help:"gRPC connections that one address may have open, 1 to 1000000"`
	// HTTPConnectionsPerAddress is by the address of the connection too, which behind a proxy is the proxy's.
	HTTPConnectionsPerAddress int `yaml:"http_connections_per_address" env:"HTTP_CONNECTIONS_PER_ADDRESS" help:"HTTP connections, live viewers among them, that one address may have open, 1 to 1000000"`
	// MaxHosts bounds what whoever has the agents' token can leave in the database for good.
	MaxHosts int `yaml:"max_hosts" env:"MAX_HOSTS" help:"hosts that there may be before new agents are refused, 1 to 1000000"`
	// MaxViewersPerAddress is by the address of the connection, which of viewers behind a proxy is the proxy's unless it is trusted.
	MaxViewersPerAddress int `yaml:"max_viewers_per_address" env:"MAX_VIEWERS_PER_ADDRESS" help:"live viewers that one address may have, of 2000 in all, 1 to 1000000"`

	RetentionRaw    string `yaml:"retention_raw" env:"RETENTION_RAW" help:"how long samples are kept, as 48h, 7d, 2y or forever"`
	RetentionMinute string `yaml:"retention_minute" env:"RETENTION_MINUTE" help:"how long the rollups of a minute are kept"`
	RetentionHour   string `yaml:"retention_hour" env:"RETENTION_HOUR" help:"how long the rollups of an hour are kept"`
	RetentionDay    string `yaml:"retention_day" env:"RETENTION_DAY" help:"how long the rollups of a day are kept"`

	MetricsHosts        string `yaml:"metrics_hosts" env:"METRICS_HOSTS" help:"together: /metrics has the hosts too; separate: only /metrics/hosts has them"`
	MetricsNodeExporter bool   `yaml:"metrics_node_exporter" env:"METRICS_NODE_EXPORTER" help:"show the hosts under node_exporter's metric names too"`

	LogLevel        string        `yaml:"log_level" env:"LOG_LEVEL" help:"debug, info, warn or error"`
	LogFormat       string        `yaml:"log_format" env:"LOG_FORMAT" help:"text or json"`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" env:"SHUTDOWN_TIMEOUT" help:"how long a stop may take to store what was received, 1s to 10m"`

	Alerts alert.Config `yaml:"alerts"`
}

// The values of metrics_hosts.
const (
	metricsTogether = "together"
	metricsSeparate = "separate"
)

func defaultConfig() Config {
	return Config{
		HTTPListen: "127.0.0.1:7700", GRPCListen: "127.0.0.1:7701", DataDir: defaultDataDir(),
		FlushAge: 200 * time.Millisecond, FlushRows: 20_000, RingSlots: 16_384,
		IngestBufferBytes: 64 << 20, ConnectionsPerAddress: 8192, HTTPConnectionsPerAddress: 1024, MaxHosts: 50_000, MaxViewersPerAddress: 500,
		RecentWindow: time.Hour + 5*time.Minute, RecentMemoryBytes: 256 << 20, LiveMemoryBytes: live.DefaultBytes, // an hour, in whole buckets and with what comes meanwhile
		RetentionRaw: "7d", RetentionMinute: "90d", RetentionHour: "2y", RetentionDay: forever,
		MetricsHosts: metricsTogether,
		LogLevel:     "info", LogFormat: "text", ShutdownTimeout: 20 * time.Second,
	}
}

// defaultDataDir is where a service keeps its state, or, for an ordinary user, where their programs do.
func defaultDataDir() string {
	if os.Getuid() == 0 {
		return "/var/lib/gohub"
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "gohub")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "gohub")
	}
	return "gohub-data"
}

// configVariable names the variable that holds the configuration file's path.
const configVariable = settings.Prefix + "CONFIG"

// loadConfig merges defaults, config.yaml, environment and flags, and checks the result. Its errors name the key, the
// value (unless it is a secret) and what is allowed. It returns pflag.ErrHelp when help was asked for and printed.
func loadConfig(args, environ []string, output io.Writer) (Config, error) {
	config := defaultConfig()
	environment := env.ToMap(environ)

	flags, path := newFlags(&config, output)
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	if flags.NArg() > 0 {
		return config, fmt.Errorf("unexpected argument %q; settings are flags, see --help", flags.Arg(0))
	}
	// The flags' values must win, so read them last: start again from the defaults.
	config = defaultConfig()
	if file := cmp.Or(*path, environment[configVariable]); file != "" {
		if err := config.readFile(file); err != nil {
			return config, err
		}
	}
	if err := config.readEnvironment(environment); err != nil {
		return config, err
	}
	flags, _ = newFlags(&config, output)
	if err := flags.Parse(args); err != nil {
		return config, err
	}
	if err := config.readSecrets(); err != nil {
		return config, err
	}
	return config, config.check()
}

// newFlags binds a flag to every field with a help text; the field's present value is the flag's default. The second
// result is the path of the configuration file.
func newFlags(config *Config, output io.Writer) (*pflag.FlagSet, *string) {
	flags := pflag.NewFlagSet("gohub-server", pflag.ContinueOnError)
	flags.SetOutput(output)
	flags.SortFlags = false
	flags.Usage = func() {
		fmt.Fprintf(output, "%s\nFlags (each is also a GOHUB_ variable and a key of the configuration file):\n%s", usage, flags.FlagUsages())
	}
	path := flags.String("config", "", "configuration file (YAML)")
	for _, field := range config.fields() {
		if field.secret {
			continue // arguments are visible to every user of the machine
		}
		switch value := field.value.Addr().Interface().(type) {
		case *string:
			flags.StringVar(value, field.flag(), *value, field.help)
		case *bool:
			flags.BoolVar(value, field.flag(), *value, field.help)
		case *int:
			flags.IntVar(value, field.flag(), *value, field.help)
		case *time.Duration:
			flags.DurationVar(value, field.flag(), *value, field.help)
		}
	}
	return flags, path
}

type configField struct {
	key, help string
	secret    bool
	value     reflect.Value
}

func (f configField) flag() string     { return strings.ReplaceAll(f.key, "_", "-") }
func (f configField) variable() string { return settings.Prefix + strings.ToUpper(f.key) }

// fields lists the settings that have a flag or a variable.
func (c *Config) fields() []configField {
	var fields []configField
	structure := reflect.ValueOf(c).Elem()
	for i := range structure.NumField() {
		tag := structure.Type().Field(i).Tag
		if help := tag.Get("help"); help != "" {
			fields = append(fields, configField{key: tag.Get("yaml"), help: help, secret: tag.Get("secret") != "", value: structure.Field(i)})
		}
	}
	return fields
}

func (c *Config) readFile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the configuration %s: %s", path, settings.InWords(err, "is no key here; docs/configuration.md lists them"))
	}
	return nil
}

func (c *Config) readEnvironment(environment map[string]string) error {
	if err := settings.CheckEnvironment(environment, settings.Server); err != nil {
		return err
	}
	err := env.ParseWithOptions(c, env.Options{Environment: environment, Prefix: settings.Prefix})
	var several env.AggregateError
	if errors.As(err, &several) {
		var parse env.ParseError
		if errors.As(several.Errors[0], &parse) {
			field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
			name := settings.Prefix + field.Tag.Get("env")
			return fmt.Errorf("the environment variable %s is %q, which is no %s: %s", name, environment[name], settings.TypeName(parse.Type), field.Tag.Get("help"))
		}
	}
	return err
}

// readSecrets takes secrets from the files that stand for them.
func (c *Config) readSecrets() error {
	for _, secret := range []struct {
		key   string
		value *string
		file  string
	}{
		{"database_url", &c.DatabaseURL, c.DatabaseURLFile},
		{"cluster_url", &c.ClusterURL, c.ClusterURLFile},
		{"cluster_secret", &c.ClusterSecret, c.ClusterSecretFile},
		{"agent_token", &c.AgentToken, c.AgentTokenFile},
		{"api_token", &c.APIToken, c.APITokenFile},
		{"password", &c.Password, c.PasswordFile},
		{"password_hash", &c.PasswordHash, c.PasswordHashFile},
	} {
		if secret.file == "" {
			continue
		}
		if *secret.value != "" {
			return fmt.Errorf("%s and %s_file are both set; set one", secret.key, secret.key)
		}
		content, err := os.ReadFile(secret.file)
		if err != nil {
			return fmt.Errorf("read %s_file: %w", secret.key, err)
		}
		if *secret.value = strings.TrimSpace(string(content)); *secret.value == "" {
			return fmt.Errorf("%s_file names the file %s, which is empty", secret.key, secret.file)
		}
	}
	if c.Password != "" && c.PasswordHash != "" {
		return errors.New("password and password_hash are both set; set one")
	}
	return nil
}

// check refuses values out of range.
func (c *Config) check() error {
	for key, address := range map[string]string{"http_listen": c.HTTPListen, "grpc_listen": c.GRPCListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s is %q, which is no address like 127.0.0.1:7700: %w", key, address, err)
		}
	}
	for key, allowed := range map[string]struct {
		value  string
		values []string
	}{
		"log_level":     {c.LogLevel, []string{"debug", "info", "warn", "error"}},
		"log_format":    {c.LogFormat, []string{"text", "json"}},
		"metrics_hosts": {c.MetricsHosts, []string{metricsTogether, metricsSeparate}},
	} {
		if !slices.Contains(allowed.values, allowed.value) {
			return fmt.Errorf("%s is %q; allowed are %s", key, allowed.value, strings.Join(allowed.values, ", "))
		}
	}
	if _, err := c.retention(); err != nil {
		return err
	}
	if err := between("flush_age", c.FlushAge, time.Millisecond, 10*time.Second); err != nil {
		return err
	}
	if err := between("flush_rows", c.FlushRows, 1, 1_000_000); err != nil {
		return err
	}
	if err := between("ring_slots", c.RingSlots, 16, 1<<20); err != nil {
		return err
	}
	if err := between("ingest_buffer_bytes", c.IngestBufferBytes, 16<<20, 64<<30); err != nil {
		return err
	}
	if err := between("recent_window", c.RecentWindow, 0, 24*time.Hour); err != nil {
		return err
	}
	if err := between("recent_memory_bytes", c.RecentMemoryBytes, 0, 64<<30); err != nil {
		return err
	}
	if err := between("live_memory_bytes", c.LiveMemoryBytes, 1<<20, 64<<30); err != nil {
		return err
	}
	if err := between("connections_per_address", c.ConnectionsPerAddress, 1, 1_000_000); err != nil {
		return err
	}
	if err := between("http_connections_per_address", c.HTTPConnectionsPerAddress, 1, 1_000_000); err != nil {
		return err
	}
	if err := between("max_hosts", c.MaxHosts, 1, 1_000_000); err != nil {
		return err
	}
	if err := between("max_viewers_per_address", c.MaxViewersPerAddress, 1, 1_000_000); err != nil {
		return err
	}
	if err := between("shutdown_timeout", c.ShutdownTimeout, time.Second, 10*time.Minute); err != nil {
		return err
	}
	if link, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || link.Host == "" || (link.Scheme != "http" && link.Scheme != "https")) {
		return fmt.Errorf("public_url is %q, which is no address like https://gohub.example.org", c.PublicURL)
	}
	if _, err := auth.ParseProxies(c.TrustedProxies); err != nil {
		return err
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		return errors.New("only one of tls_cert_file and tls_key_file is set; TLS needs both")
	}
	if c.HSTS && c.TLSCertFile == "" {
		return errors.New("hsts is true without tls_cert_file and tls_key_file: browsers heed it over TLS only; where a proxy ends the TLS, set it there")
	}
	return nil
}

func between[T cmp.Ordered](key string, value, low, high T) error {
	if value < low || value > high {
		return fmt.Errorf("%s is %v; allowed is %v to %v", key, value, low, high)
	}
	return nil
}

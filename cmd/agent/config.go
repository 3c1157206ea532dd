package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
	"go.yaml.in/yaml/v3"

	"github.com/gohub-io/gohub/agent"
	"github.com/gohub-io/gohub/cmd/settings"
	"github.com/gohub-io/gohub/proto/label"
)

// configVariable names the variable that holds the configuration file's path.
const configVariable = "GOHUB_AGENT_CONFIG"

// config is everything that can be set, each by flag, environment or file.
type config struct {
	Server            string        `yaml:"server" env:"GOHUB_SERVER"`
	Token             string        `yaml:"token" env:"GOHUB_TOKEN"`
	TokenFile         string        `yaml:"token_file" env:"GOHUB_TOKEN_FILE"`
	Interval          time.Duration `yaml:"interval" env:"GOHUB_INTERVAL"`
	Labels            string        `yaml:"labels" env:"GOHUB_LABELS"`
	TLSCAFile         string        `yaml:"tls_ca_file" env:"GOHUB_TLS_CA_FILE"`
	TLSServerName     string        `yaml:"tls_server_name" env:"GOHUB_TLS_SERVER_NAME"`
	InsecurePlaintext *bool         `yaml:"insecure_plaintext" env:"GOHUB_AGENT_INSECURE_PLAINTEXT"`
	StateDir          string        `yaml:"state_dir" env:"GOHUB_STATE_DIR"`
	SpoolMaxBytes     int64         `yaml:"spool_max_bytes" env:"GOHUB_SPOOL_MAX_BYTES"`
	BufferBytes       int64         `yaml:"buffer_bytes" env:"GOHUB_BUFFER_BYTES"`
	LogLevel          string        `yaml:"log_level" env:"GOHUB_LOG_LEVEL"`
	LogFormat         string        `yaml:"log_format" env:"GOHUB_LOG_FORMAT"`
	TopProcesses      int           `yaml:"top_processes" env:"GOHUB_TOP_PROCESSES"`
	ProcessInterval   time.Duration `yaml:"process_interval" env:"GOHUB_PROCESS_INTERVAL"`

	TextfileDir  string `yaml:"textfile_dir" env:"GOHUB_AGENT_TEXTFILE_DIR"`
	CustomSocket string `yaml:"custom_socket" env:"GOHUB_AGENT_CUSTOM_SOCKET"`
	CustomSeries int    `yaml:"custom_series" env:"GOHUB_AGENT_CUSTOM_SERIES"`

	FilesystemInclude     string `yaml:"filesystem_include" env:"GOHUB_FILESYSTEM_INCLUDE"`
	FilesystemExclude     string `yaml:"filesystem_exclude" env:"GOHUB_FILESYSTEM_EXCLUDE"`
	FilesystemTypeInclude string `yaml:"filesystem_type_include" env:"GOHUB_FILESYSTEM_TYPE_INCLUDE"`
	FilesystemTypeExclude string `yaml:"filesystem_type_exclude" env:"GOHUB_FILESYSTEM_TYPE_EXCLUDE"`
	InterfaceInclude      string `yaml:"interface_include" env:"GOHUB_INTERFACE_INCLUDE"`
	InterfaceExclude      string `yaml:"interface_exclude" env:"GOHUB_INTERFACE_EXCLUDE"`
	DiskInclude           string `yaml:"disk_include" env:"GOHUB_DISK_INCLUDE"`
	DiskExclude           string `yaml:"disk_exclude" env:"GOHUB_DISK_EXCLUDE"`

	// Where the machine's trees are mounted in the agent's container, by the names that gopsutil has made usual.
	ProcDir string `yaml:"proc_dir" env:"HOST_PROC"`
	SysDir  string `yaml:"sys_dir" env:"HOST_SYS"`
	RootDir string `yaml:"root_dir" env:"HOST_ROOT"`

	json bool // of the command once
	// othersPlaintext: the server's variable for plain text is set, which does nothing here.
	othersPlaintext bool
}

func defaults(environment map[string]string) config {
	return config{
		Server:                "127.0.0.1:7701",
		Interval:              agent.DefaultInterval,
		StateDir:              defaultStateDir(runtime.GOOS, os.Getuid(), environment),
		SpoolMaxBytes:         agent.DefaultSpoolBytes,
		BufferBytes:           agent.DefaultBufferBytes,
		LogLevel:              "info",
		LogFormat:             "text",
		TopProcesses:          agent.DefaultTopProcesses,
		ProcessInterval:       agent.DefaultProcessInterval,
		CustomSeries:          agent.DefaultCustomSeries,
		FilesystemExclude:     agent.DefaultMountpointExclude,
		FilesystemTypeExclude: agent.DefaultFilesystemTypeExclude,
		InterfaceExclude:      agent.DefaultInterfaceExclude,
		DiskExclude:           agent.DefaultDiskExclude,
	}
}

// defaultStateDir is where an agent keeps its identity and its spool: the system's place if it runs as root or as a service, else the
// user's. It is "" where the environment does not tell.
func defaultStateDir(goos string, uid int, environment map[string]string) string {
	home := environment["HOME"]
	switch {
	case goos == "windows":
		return cmp.Or(environment["ProgramData"], environment["PROGRAMDATA"], `C:\ProgramData`) + `\GoHub\Agent`
	case goos == "darwin" && uid == 0:
		return "/usr/local/var/gohub-agent"
	case uid == 0:
		return "/var/lib/gohub-agent"
	case goos == "darwin" && home != "":
		return filepath.Join(home, "Library/Application Support/GoHub")
	case environment["XDG_STATE_HOME"] != "":
		return filepath.Join(environment["XDG_STATE_HOME"], "gohub-agent")
	case home != "":
		return filepath.Join(home, ".local/state/gohub-agent")
	default:
		return ""
	}
}

// bind makes the flags of c. Their defaults are what c holds already.
func bind(flags *flag.FlagSet, c *config) (path *string) {
	path = flags.String("config", "", "`file` with the configuration, in YAML ("+configVariable+")")
	flags.StringVar(&c.Server, "server", c.Server, "`host:port` of the server (GOHUB_SERVER)")
	flags.StringVar(&c.TokenFile, "token-file", c.TokenFile, "`file` that holds the agent's token (GOHUB_TOKEN_FILE; the token itself: GOHUB_TOKEN)")
	flags.DurationVar(&c.Interval, "interval", c.Interval, "`time` from sample to sample, 1s to 1h (GOHUB_INTERVAL)")
	flags.StringVar(&c.Labels, "labels", c.Labels, "`labels` of this machine, by which it is found on the server, as site=ams,role=db (GOHUB_LABELS)")
	flags.StringVar(&c.TLSCAFile, "tls-ca-file", c.TLSCAFile, "PEM `file` of the authority to trust instead of the system's (GOHUB_TLS_CA_FILE)")
	flags.StringVar(&c.TLSServerName, "tls-server-name", c.TLSServerName, "`name` that the server's certificate must hold, if not the address (GOHUB_TLS_SERVER_NAME)")
	flags.BoolFunc("insecure-plaintext", "true: send everything, the token too, without TLS; false: never; default only to this machine itself (GOHUB_AGENT_INSECURE_PLAINTEXT)", func(text string) error {
		value, err := strconv.ParseBool(text)
		c.InsecurePlaintext = &value
		return err
	})
	flags.StringVar(&c.StateDir, "state-dir", c.StateDir, "`directory` of the agent's identity and its spool of unsent samples (GOHUB_STATE_DIR)")
	flags.Int64Var(&c.SpoolMaxBytes, "spool-max-bytes", c.SpoolMaxBytes, "`bytes` of disk for samples that the server has not stored yet, 1 MiB to 64 GiB; the oldest go when it is full (GOHUB_SPOOL_MAX_BYTES)")
	flags.Int64Var(&c.BufferBytes, "buffer-bytes", c.BufferBytes, "`bytes` of memory for samples that the disk does not take, as when it is full (GOHUB_BUFFER_BYTES)")
	flags.StringVar(&c.LogLevel, "log-level", c.LogLevel, "`level`: debug, info, warn or error (GOHUB_LOG_LEVEL)")
	flags.StringVar(&c.LogFormat, "log-format", c.LogFormat, "`format`: text or json (GOHUB_LOG_FORMAT)")
	flags.IntVar(&c.TopProcesses, "top-processes", c.TopProcesses, "`number` of processes to report by CPU, and by memory, 0 to 100 (GOHUB_TOP_PROCESSES)")
	flags.DurationVar(&c.ProcessInterval, "process-interval", c.ProcessInterval, "`time` from one list of processes to the next, 0 (in each sample) to 2m (GOHUB_PROCESS_INTERVAL)")
	flags.StringVar(&c.TextfileDir, "textfile-dir", c.TextfileDir, "`directory` of *.prom files in Prometheus' text format, whose series become custom metrics (GOHUB_AGENT_TEXTFILE_DIR)")
	flags.StringVar(&c.CustomSocket, "custom-socket", c.CustomSocket, "`path` of a unix socket that takes custom metrics in the same format (GOHUB_AGENT_CUSTOM_SOCKET)")
	flags.IntVar(&c.CustomSeries, "custom-series", c.CustomSeries, "`number` of series of custom metrics at most, 1 to 3500 (GOHUB_AGENT_CUSTOM_SERIES)")
	const keep = "; what include matches is kept whatever exclude says"
	flags.StringVar(&c.FilesystemInclude, "filesystem-include", c.FilesystemInclude, "`regexp` of mountpoints to keep (GOHUB_FILESYSTEM_INCLUDE)"+keep)
	flags.StringVar(&c.FilesystemExclude, "filesystem-exclude", c.FilesystemExclude, "`regexp` of mountpoints to leave out (GOHUB_FILESYSTEM_EXCLUDE)")
	flags.StringVar(&c.FilesystemTypeInclude, "filesystem-type-include", c.FilesystemTypeInclude, "`regexp` of kinds of filesystem to keep, as ^nfs4$ (GOHUB_FILESYSTEM_TYPE_INCLUDE)")
	flags.StringVar(&c.FilesystemTypeExclude, "filesystem-type-exclude", c.FilesystemTypeExclude, "`regexp` of kinds of filesystem to leave out (GOHUB_FILESYSTEM_TYPE_EXCLUDE)")
	flags.StringVar(&c.InterfaceInclude, "interface-include", c.InterfaceInclude, "`regexp` of network interfaces to keep (GOHUB_INTERFACE_INCLUDE)")
	flags.StringVar(&c.InterfaceExclude, "interface-exclude", c.InterfaceExclude, "`regexp` of network interfaces to leave out (GOHUB_INTERFACE_EXCLUDE)")
	flags.StringVar(&c.DiskInclude, "disk-include", c.DiskInclude, "`regexp` of block devices to keep, partitions too (GOHUB_DISK_INCLUDE)")
	flags.StringVar(&c.DiskExclude, "disk-exclude", c.DiskExclude, "`regexp` of block devices to leave out (GOHUB_DISK_EXCLUDE)")
	flags.StringVar(&c.ProcDir, "proc-dir", c.ProcDir, "`directory` where the machine's /proc is mounted (HOST_PROC)")
	flags.StringVar(&c.SysDir, "sys-dir", c.SysDir, "`directory` where the machine's /sys is mounted (HOST_SYS)")
	flags.StringVar(&c.RootDir, "root-dir", c.RootDir, "`directory` where the machine's / is mounted (HOST_ROOT)")
	flags.BoolVar(&c.json, "json", c.json, "with once: print the sample as JSON")
	return path
}

func newFlags(c *config) (flags *flag.FlagSet, path *string) {
	flags = flag.NewFlagSet("gohub-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints errors and help
	return flags, bind(flags, c)
}

func printFlags(w io.Writer) {
	c := defaults(nil)
	flags, _ := newFlags(&c)
	flags.VisitAll(func(f *flag.Flag) {
		argument, usage := flag.UnquoteUsage(f)
		if argument != "" {
			argument = " " + argument
		}
		fmt.Fprintf(w, "  --%s%s\n        %s", f.Name, argument, usage)
		if f.DefValue != "" && f.DefValue != "false" && len(f.DefValue) < 40 {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
}

// load reads the configuration and checks it. Its errors name the setting, its value and what is allowed.
func load(args, environ []string) (*config, error) {
	environment := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		environment[name] = value
	}
	scratch := defaults(environment)
	flags, path := newFlags(&scratch)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q (see gohub-agent --help)", flags.Arg(0))
	}
	c := defaults(environment)
	if file := cmp.Or(*path, environment[configVariable]); file != "" {
		if err := c.readFile(file); err != nil {
			return nil, err
		}
	}
	if err := c.readEnvironment(environment); err != nil {
		return nil, err
	}
	flags, _ = newFlags(&c)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *config) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err = decoder.Decode(c)
	if err == nil || errors.Is(err, io.EOF) { // an empty file
		return nil
	}
	return fmt.Errorf("configuration file %s: %s", path, settings.InWords(err, "is not a known key; the keys are "+strings.Join(tagsOf("yaml"), ", ")))
}

func (c *config) readEnvironment(environment map[string]string) error {
	if err := settings.CheckEnvironment(environment, settings.Agent); err != nil {
		return err
	}
	c.othersPlaintext, _ = strconv.ParseBool(environment["GOHUB_INSECURE_PLAINTEXT"]) // the server checks it
	err := env.ParseWithOptions(c, env.Options{Environment: environment})
	var all env.AggregateError
	if errors.As(err, &all) {
		var problems []error
		for _, one := range all.Errors {
			var parse env.ParseError
			if !errors.As(one, &parse) {
				problems = append(problems, one)
				continue
			}
			field, _ := reflect.TypeFor[config]().FieldByName(parse.Name)
			variable := field.Tag.Get("env")
			problems = append(problems, fmt.Errorf("environment variable %s: %q is no %s", variable, environment[variable], settings.TypeName(field.Type)))
		}
		return errors.Join(problems...)
	}
	if err != nil {
		return fmt.Errorf("read environment: %w", err)
	}
	return nil
}

func tagsOf(key string) []string {
	var tags []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[config]()) {
		if tag := field.Tag.Get(key); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// check looks at the values, whatever set them.
func (c *config) check() error {
	var problems []error
	refuse := func(key string, value any, allowed string) {
		problems = append(problems, fmt.Errorf("%s: %v is not allowed: %s", key, value, allowed))
	}
	host, port, err := net.SplitHostPort(c.Server)
	if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || portErr != nil || number == 0 {
		refuse("server", strconv.Quote(c.Server), "it must be host:port, as monitor.example.com:7701")
	}
	if c.Interval < agent.MinInterval || c.Interval > agent.MaxInterval || c.Interval%time.Millisecond != 0 {
		refuse("interval", c.Interval, fmt.Sprintf("it must be from %s to %s, in whole milliseconds", agent.MinInterval, agent.MaxInterval))
	}
	if _, err := label.Parse(c.Labels); err != nil {
		refuse("labels", strconv.Quote(c.Labels), err.Error())
	}
	if c.TopProcesses < 0 || c.TopProcesses > agent.MaxTopProcesses {
		refuse("top_processes", c.TopProcesses, fmt.Sprintf("it must be from 0 to %d", agent.MaxTopProcesses))
	}
	if c.ProcessInterval < 0 || c.ProcessInterval > agent.MaxProcessInterval {
		refuse("process_interval", c.ProcessInterval, fmt.Sprintf("it must be from 0 (in each sample) to %s", agent.MaxProcessInterval))
	}
	if c.CustomSeries < 1 || c.CustomSeries > agent.MaxCustomSeries {
		refuse("custom_series", c.CustomSeries, fmt.Sprintf("it must be from 1 to %d", agent.MaxCustomSeries))
	}
	if c.SpoolMaxBytes < agent.MinSpoolBytes || c.SpoolMaxBytes > agent.MaxSpoolBytes {
		refuse("spool_max_bytes", c.SpoolMaxBytes, fmt.Sprintf("it must be from %d to %d", agent.MinSpoolBytes, int64(agent.MaxSpoolBytes)))
	}
	const maxBuffer = 1 << 30
	if c.BufferBytes < agent.MinBufferBytes || c.BufferBytes > maxBuffer {
		refuse("buffer_bytes", c.BufferBytes, fmt.Sprintf("it must be from %d to %d", agent.MinBufferBytes, maxBuffer))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		refuse("log_level", strconv.Quote(c.LogLevel), "it must be debug, info, warn or error")
	}
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		refuse("log_format", strconv.Quote(c.LogFormat), "it must be text or json")
	}
	if c.Token != "" && c.TokenFile != "" {
		problems = append(problems, errors.New("token and token_file are both set: only one is allowed"))
	}
	if c.Token != "" && !fitsHeader(c.Token) {
		problems = append(problems, errors.New("token: its value (not shown) holds a blank or a character that is not ASCII"))
	}
	if c.InsecurePlaintext != nil && *c.InsecurePlaintext && (c.TLSCAFile != "" || c.TLSServerName != "") {
		problems = append(problems, errors.New("insecure_plaintext is true, but tls_ca_file or tls_server_name is set: only one is allowed"))
	}
	if c.StateDir == "" {
		problems = append(problems, errors.New("state_dir: there is no default for this user; set it with --state-dir or GOHUB_STATE_DIR"))
	}
	for _, expression := range c.expressions() {
		if _, err := regexp.Compile(expression.text); err != nil {
			refuse(expression.key, strconv.Quote(expression.text), "it must be a regular expression: "+err.Error())
		}
	}
	return errors.Join(problems...)
}

type expression struct{ key, text string }

func (c *config) expressions() []expression {
	return []expression{
		{"filesystem_include", c.FilesystemInclude},
		{"filesystem_exclude", c.FilesystemExclude},
		{"filesystem_type_include", c.FilesystemTypeInclude},
		{"filesystem_type_exclude", c.FilesystemTypeExclude},
		{"interface_include", c.InterfaceInclude},
		{"interface_exclude", c.InterfaceExclude},
		{"disk_include", c.DiskInclude},
		{"disk_exclude", c.DiskExclude},
	}
}

// filter compiles checked expressions; an empty one matches nothing.
func filter(include, exclude string) (f agent.Filter) {
	if include != "" {
		f.Include = regexp.MustCompile(include)
	}
	if exclude != "" {
		f.Exclude = regexp.MustCompile(exclude)
	}
	return f
}

func (c *config) sampling() agent.SamplerOptions {
	return agent.SamplerOptions{
		ProcDir:         c.ProcDir,
		SysDir:          c.SysDir,
		RootDir:         c.RootDir,
		Mountpoints:     filter(c.FilesystemInclude, c.FilesystemExclude),
		FilesystemTypes: filter(c.FilesystemTypeInclude, c.FilesystemTypeExclude),
		Interfaces:      filter(c.InterfaceInclude, c.InterfaceExclude),
		Disks:           filter(c.DiskInclude, c.DiskExclude),
		TopProcesses:    c.TopProcesses,
		ProcessInterval: c.ProcessInterval,
		TextfileDir:     c.TextfileDir,
		CustomSeries:    c.CustomSeries,
	}
}

// transport decides between TLS and plaintext (nil). Plaintext goes to this machine itself by default, elsewhere only if
// it is asked for, and never where something about TLS is set.
func (c *config) transport(log *slog.Logger) (*tls.Config, error) {
	asked := c.InsecurePlaintext != nil
	local := isLoopback(c.Server)
	switch {
	case asked && *c.InsecurePlaintext:
		if !local {
			log.Warn("plaintext: the token and all samples cross the network unencrypted", "server", c.Server, "setting", "insecure_plaintext")
		}
		return nil, nil
	case !asked && local && c.TLSCAFile == "" && c.TLSServerName == "":
		return nil, nil
	case !asked && c.othersPlaintext && c.TLSCAFile == "" && c.TLSServerName == "":
		log.Warn("GOHUB_INSECURE_PLAINTEXT is the server's and does nothing here; the agent uses TLS unless GOHUB_AGENT_INSECURE_PLAINTEXT is true", "server", c.Server)
	}
	return agent.ClientTLS(c.TLSCAFile, c.TLSServerName)
}

func isLoopback(server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tokenSource returns what gives the token at each connect. A file is read once here, so that a wrong path stops the start.
func (c *config) tokenSource() (func() (string, error), error) {
	if c.TokenFile == "" {
		token := c.Token
		return func() (string, error) { return token, nil }, nil
	}
	path := c.TokenFile
	read := func() (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(text))
		if token == "" || !fitsHeader(token) {
			return "", &fs.PathError{Op: "read token", Path: path, Err: errors.New("it holds no token: one line of ASCII without blanks is expected")}
		}
		return token, nil
	}
	if _, err := read(); err != nil {
		return nil, fmt.Errorf("token_file: %w", err)
	}
	return read, nil
}

func fitsHeader(token string) bool {
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}

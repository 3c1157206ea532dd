package notify

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// DefaultRepeatInterval is how often a firing alert is told again: often enough that a missed message costs half a
// shift, seldom enough that nobody mutes the channel.
const DefaultRepeatInterval = Duration(4 * time.Hour)

// defaultTimeout bounds one attempt to deliver.
const defaultTimeout = Duration(15 * time.Second)

// Config is the part `alerts.notify` of the server's configuration: who is told of alerts.
type Config struct {
	// RepeatInterval is the time between reminders of an alert that goes on firing; absent is DefaultRepeatInterval,
	// "0s" is never.
	RepeatInterval *Duration  `yaml:"repeat_interval"`
	Email          []Email    `yaml:"email"`
	Telegram       []Telegram `yaml:"telegram"`
	Webhooks       []Webhook  `yaml:"webhooks"`
}

// Receiver is what every kind of receiver has.
type Receiver struct {
	// Name is unique among all receivers. It is in logs and in metrics.
	Name string `yaml:"name"`
	// MinSeverity is the least severity that is sent: "warning" (default: everything) or "critical".
	MinSeverity Severity `yaml:"min_severity"`
	// Timeout bounds one attempt, default 15s.
	Timeout Duration `yaml:"timeout"`
	// CAFile holds certificates (PEM) that are trusted beside the system's.
	CAFile string `yaml:"ca_file"`
}

// TLSMode is how an SMTP connection is encrypted.
type TLSMode string

// The modes.
const (
	// StartTLS begins in the clear and insists on STARTTLS, usually on port 587. The default.
	StartTLS TLSMode = "starttls"
	// ImplicitTLS is encrypted from the first byte, usually on port 465.
	ImplicitTLS TLSMode = "tls"
	// NoTLS is not encrypted: for a relay on the same machine.
	NoTLS TLSMode = "none"
)

// Email sends through an SMTP server, one message a recipient.
type Email struct {
	Receiver `yaml:",inline"`
	Host     string `yaml:"host"`
	// Port is 587, 465 or 25 by default, as TLS says.
	Port int     `yaml:"port"`
	TLS  TLSMode `yaml:"tls"`
	// Username switches authentication on. The password never goes over an unencrypted connection in the clear.
	Username     string `yaml:"username"`
	Password     Secret `yaml:"password"`
	PasswordFile string `yaml:"password_file"`
	// From and To are addresses as in a message: ops@example.com or "Ops <ops@example.com>".
	From string   `yaml:"from"`
	To   []string `yaml:"to"`
}

// Telegram sends as a bot.
type Telegram struct {
	Receiver  `yaml:",inline"`
	Token     Secret `yaml:"token"`
	TokenFile string `yaml:"token_file"`
	// ChatIDs are numbers as -1001234567890, or names of public channels as "@example".
	ChatIDs []string `yaml:"chat_ids"`
	// APIURL is the Bot API server, default https://api.telegram.org.
	APIURL string `yaml:"api_url"`
}

// Webhook posts JSON (Payload).
type Webhook struct {
	Receiver `yaml:",inline"`
	// URL is a secret, for many services put a key into it.
	URL     Secret `yaml:"url"`
	URLFile string `yaml:"url_file"`
	// Secret signs every request, if there is one (see Sign).
	Secret     Secret `yaml:"secret"`
	SecretFile string `yaml:"secret_file"`
	// Headers are added to every request. Their values are taken for secrets.
	Headers map[string]Secret `yaml:"headers"`
	// AllowPrivate lets the URL lead to loopback, private and other addresses that are not public.
	AllowPrivate bool `yaml:"allow_private"`
}

// Severity is "warning" or "critical".
type Severity string

// The severities.
const (
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// UnmarshalYAML refuses what is not a severity, with the line. An empty text is the default.
func (s *Severity) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.Value == "" {
		return nil
	}
	if err := Severity(node.Value).Validate(); err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*s = Severity(node.Value)
	return nil
}

// Validate tells whether it is one of the severities.
func (s Severity) Validate() error {
	if s != Warning && s != Critical {
		return fmt.Errorf("unknown severity %q; it is warning or critical", string(s))
	}
	return nil
}

// Proto is the severity in the contract; an empty one is a warning.
func (s Severity) Proto() gohubv1.Severity {
	if s == Critical {
		return gohubv1.Severity_SEVERITY_CRITICAL
	}
	return gohubv1.Severity_SEVERITY_WARNING
}

var (
	receiverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	chatID       = regexp.MustCompile(`^(-?[0-9]{1,19}|@[A-Za-z0-9_]{1,64})$`)
	botToken     = regexp.MustCompile(`^[A-Za-z0-9:_-]+$`)
	headerName   = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)
)

// ownHeaders are set by the webhook itself.
var ownHeaders = []string{
	"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent",
	"x-gohub-timestamp", "x-gohub-signature",
}

// Validate returns every mistake in the configuration, without reading a file. No error tells a secret.
func (c Config) Validate() error {
	var errs []error
	if c.RepeatInterval != nil && *c.RepeatInterval < 0 {
		errs = append(errs, fmt.Errorf("notify.repeat_interval: %s is negative", *c.RepeatInterval))
	}
	names := map[string]bool{}
	check := func(kind string, index int, receiver Receiver, own []error) {
		own = append(receiver.check(), own...)
		if names[receiver.Name] && receiver.Name != "" {
			own = append(own, errors.New("the name is taken by another receiver"))
		}
		names[receiver.Name] = true
		for _, err := range own {
			errs = append(errs, fmt.Errorf("notify.%s[%d] %q: %w", kind, index, receiver.Name, err))
		}
	}
	for i, r := range c.Email {
		check("email", i, r.Receiver, r.check())
	}
	for i, r := range c.Telegram {
		check("telegram", i, r.Receiver, r.check())
	}
	for i, r := range c.Webhooks {
		check("webhooks", i, r.Receiver, r.check())
	}
	return errors.Join(errs...)
}

// Repeat returns the time between reminders, 0 for never.
func (c Config) Repeat() time.Duration {
	if c.RepeatInterval == nil {
		return time.Duration(DefaultRepeatInterval)
	}
	return time.Duration(*c.RepeatInterval)
}

func (r Receiver) check() (errs []error) {
	if !receiverName.MatchString(r.Name) {
		errs = append(errs, errors.New("name must be 1 to 63 letters, digits, '.', '_' or '-'"))
	}
	if r.MinSeverity != "" {
		if err := r.MinSeverity.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("min_severity: %w", err))
		}
	}
	if r.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s is negative", r.Timeout))
	}
	return errs
}

// timeout returns the bound of one attempt.
func (r Receiver) timeout() time.Duration {
	if r.Timeout == 0 {
		return time.Duration(defaultTimeout)
	}
	return time.Duration(r.Timeout)
}

// oneOf checks a secret and its file: need says that one of them must be there.
func oneOf(key string, value Secret, file string, need bool) (errs []error) {
	switch {
	case value != "" && file != "":
		errs = append(errs, fmt.Errorf("give %s or %s_file, not both", key, key))
	case value == "" && file == "" && need:
		errs = append(errs, fmt.Errorf("%s or %s_file is missing", key, key))
	}
	return errs
}

func (e Email) check() (errs []error) {
	if e.Host == "" {
		errs = append(errs, errors.New("host is missing"))
	}
	if e.Port < 0 || e.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not a TCP port", e.Port))
	}
	if !slices.Contains([]TLSMode{"", StartTLS, ImplicitTLS, NoTLS}, e.TLS) {
		errs = append(errs, fmt.Errorf("unknown tls %q; it is starttls, tls or none", string(e.TLS)))
	}
	errs = append(errs, oneOf("password", e.Password, e.PasswordFile, e.Username != "")...)
	if e.Username == "" && (e.Password != "" || e.PasswordFile != "") {
		errs = append(errs, errors.New("a password without username"))
	}
	if _, err := mail.ParseAddress(e.From); err != nil {
		errs = append(errs, fmt.Errorf("from: %q is not an e-mail address", e.From))
	}
	if len(e.To) == 0 {
		errs = append(errs, errors.New("to is missing"))
	}
	for _, to := range e.To {
		if _, err := mail.ParseAddress(to); err != nil {
			errs = append(errs, fmt.Errorf("to: %q is not an e-mail address", to))
		}
	}
	return errs
}

func (t Telegram) check() (errs []error) {
	errs = oneOf("token", t.Token, t.TokenFile, true)
	if t.Token != "" && !botToken.MatchString(t.Token.Reveal()) {
		errs = append(errs, errors.New("token is not a bot token such as 123456:ABC-DEF"))
	}
	if len(t.ChatIDs) == 0 {
		errs = append(errs, errors.New("chat_ids is missing"))
	}
	for _, id := range t.ChatIDs {
		if !chatID.MatchString(id) {
			errs = append(errs, fmt.Errorf("chat id %q is neither a number nor a @channel", id))
		}
	}
	if t.APIURL != "" {
		if _, err := parseURL(t.APIURL); err != nil {
			errs = append(errs, fmt.Errorf("api_url: %w", err))
		}
	}
	return errs
}

func (w Webhook) check() (errs []error) {
	errs = append(oneOf("url", w.URL, w.URLFile, true), oneOf("secret", w.Secret, w.SecretFile, false)...)
	if w.URL != "" {
		if _, err := parseURL(w.URL.Reveal()); err != nil {
			errs = append(errs, fmt.Errorf("url: %w", err))
		}
	}
	for name, value := range w.Headers {
		switch {
		case !headerName.MatchString(name):
			errs = append(errs, fmt.Errorf("headers: %q is not a header's name", name))
		case slices.Contains(ownHeaders, strings.ToLower(name)):
			errs = append(errs, fmt.Errorf("headers: %s can not be set", name))
		case strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			errs = append(errs, fmt.Errorf("headers: the value of %s has a control character", name))
		}
	}
	return errs
}

// parseURL accepts absolute http and https URLs. Its errors tell nothing of the URL.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, errors.New("not a URL that begins with https:// or http:// and a host")
	}
	return u, nil
}
